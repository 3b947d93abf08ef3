"""Train a small CLIP from scratch, image by caption, on a data set of labelled images."""

from pathlib import Path

from bandbridge.catalogue.datasets import nomenclature_of_spoken
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.ingest.text_tower_fetch import verify_text_tower
from bandbridge.models.clip import new_clip, save_clip
from bandbridge.models.device import set_up
from bandbridge.store.dataset import Store
from bandbridge.training import distributed
from bandbridge.training.checkpoints import new_saving, remove_checkpoints
from bandbridge.training.contrastive import pretrain
from bandbridge.training.history import precisions, write_history
from bandbridge.training.recipes import ScratchRecipe


def main(
    store: Path,
    name: str,
    recipe: dict,
    templates: list,
    nomenclature: str,
    classes: dict,
    directory: Path,
    history: Path,
    seed: int,
    threads: int,
    checkpoints: Path | None = None,
    monitor: Path | None = None,
    tower: list[Path] = (),
    text: str | None = None,
    train: dict | None = None,
    processes: int = 1,
    nodes: int = 1,
) -> None:
    if distributed.to_launch(processes, nodes):
        distributed.launch(Path(__file__), locals(), processes, nodes, Path(checkpoints or history.parent))
        return
    with distributed.world_from_environment() as world:
        device = set_up(threads, seed)
        folder = _tower(text, tower)
        clip, how = new_clip(name, folder), ScratchRecipe.from_config(recipe)
        data, named = Store(store.parent), nomenclature_of_spoken(nomenclature, classes)
        decisive = {"recipe": recipe, "seed": seed, "data": data.identity, "name": name, "templates": list(templates)}
        decisive |= {"classes": classes, "architecture": clip.model_cfg}
        decisive |= {"text": text} if text else {}
        saving = new_saving(train, checkpoints, monitor, **decisive)
        records = pretrain(clip, named, templates, data, how, seed, device, saving=saving, world=world)
        if world.is_first:
            save_clip(clip, directory.parent, {"precision": "; ".join(precisions(records))})
            write_history(history, records)  # last, because it may lie in the directory
        remove_checkpoints(saving, world)


def _tower(text: str | None, files: list[Path]) -> Path | None:
    """The folder of the text tower that stays locked, once its files were found to be the right ones."""
    if text is None:
        return None
    verify_text_tower(load_text_tower(text), files[0].parent)
    return files[0].parent


if __name__ == "__main__":
    distributed.run(main, globals().get("snakemake"))
