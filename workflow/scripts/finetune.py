"""Fine-tune CLIP's image encoder on RGB images under the frozen zero-shot head, of one task or of several jointly."""

from pathlib import Path

from bandbridge.config.clip_support import CONFIG_FILE
from bandbridge.models.clip import load_clip
from bandbridge.models.device import set_up
from bandbridge.models.weights import save_weights
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head
from bandbridge.training import distributed
from bandbridge.training.checkpoints import new_saving, remove_checkpoints
from bandbridge.training.finetune import finetune
from bandbridge.training.history import precisions, write_history
from bandbridge.training.recipes import FinetuneRecipe


def main(
    clip: Path,
    heads: list[Path],
    stores: list[Path],
    nomenclatures: list,
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
        data = [Store(path.parent, name) for path, name in zip(stores, nomenclatures, strict=True)]
        decisive = {"recipe": recipe, "seed": seed, "data": [store.identity for store in data], "tasks": nomenclatures}
        decisive |= {f"head {number}": path for number, path in enumerate(heads)}
        saving = new_saving(train, checkpoints, monitor, clip=clip.parent / CONFIG_FILE, **decisive)
        classifiers = [load_head(path) for path in heads]
        records = finetune(model, classifiers, data, how, seed, device, saving=saving, world=world)
        if world.is_first:
            write_history(history, records)
            metadata = {"clip": model.name, "precision": "; ".join(precisions(records))}
            save_weights(weights, model.visual.state_dict(), metadata)
        remove_checkpoints(saving, world)


if __name__ == "__main__":
    distributed.run(main, globals().get("snakemake"))
