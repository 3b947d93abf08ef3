"""Fine-tune CLIP's image encoder on one data set's RGB pictures, under its frozen zero-shot head."""

from pathlib import Path

from bandbridge.clip import WEIGHTS_FILE, load_clip
from bandbridge.device import set_up
from bandbridge.heads import load_head
from bandbridge.store import Store
from bandbridge.training import distributed
from bandbridge.training.checkpoints import new_saving, remove_checkpoints
from bandbridge.training.finetune import finetune
from bandbridge.training.loop import write_history
from bandbridge.training.recipes import FinetuneRecipe
from bandbridge.weights import save_weights


def main(
    clip: Path,
    head: Path,
    store: Path,
    nomenclature: str,
    recipe: dict,
    weights: Path,
    history: Path,
    seed: int,
    threads: int,
    checkpoints: Path | None = None,
    monitor: Path | None = None,
    train: dict | None = None,
    processes: int = 1,
    nodes: int = 1,
) -> None:
    if distributed.to_launch(processes, nodes):
        distributed.launch(Path(__file__), locals(), processes, nodes, Path(checkpoints or history.parent))
        return
    with distributed.world_from_environment() as world:
        device = set_up(threads, seed)
        model, how = load_clip(clip.parent), FinetuneRecipe.from_config(recipe)
        data = Store(store.parent, nomenclature)
        given = {"recipe": recipe, "seed": seed, "data": data.digest, "nomenclature": nomenclature, "head": head}
        saving = new_saving(train, checkpoints, monitor, clip=clip.parent / WEIGHTS_FILE, **given)
        records = finetune(model, load_head(head), data, how, seed, device, saving=saving, world=world)
        if world.is_first:
            write_history(history, records)
            save_weights(weights, model.visual.state_dict(), {"clip": model.name})
        remove_checkpoints(saving, world)


if __name__ == "__main__":
    distributed.run(main, globals().get("snakemake"))
