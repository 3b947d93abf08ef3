"""Train a small CLIP from scratch, image by caption, on a data set of labelled pictures."""

from pathlib import Path

from bandbridge import job
from bandbridge.catalogue import load_nomenclature
from bandbridge.clip import new_clip, save_clip
from bandbridge.device import set_up
from bandbridge.store import Store
from bandbridge.training.contrastive import pretrain
from bandbridge.training.loop import write_history
from bandbridge.training.recipes import ScratchRecipe


def main(
    store: Path,
    name: str,
    recipe: dict,
    templates: list,
    nomenclature: str,
    directory: Path,
    history: Path,
    seed: int,
    threads: int,
) -> None:
    device = set_up(threads, seed)
    clip = new_clip(name)
    how = ScratchRecipe.from_config(recipe)
    records = pretrain(clip, load_nomenclature(nomenclature), templates, Store(store.parent), how, seed, device)
    save_clip(clip, directory.parent)
    write_history(history, records)  # last, because it may lie in the directory


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
