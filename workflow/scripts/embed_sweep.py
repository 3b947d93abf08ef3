"""Encode splits of a data set, as RGB pictures, with CLIP at alphas; the outputs' names say which splits and alphas."""

import shutil
from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.models.embed import sweep
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import partial_folder, place_of, save_embeddings


def main(
    clip: Path, finetuned: list[Path], store: Path, recipe: dict, embeddings: list[Path], threads: int, space: str = ""
) -> None:
    torch.set_num_threads(threads)
    paths = {place_of(marker.parent): marker.parent for marker in embeddings}
    alphas = sorted({place.alpha for place in paths})
    splits = sorted({place.split for place in paths})
    line = next(iter(paths)).encoder.rpartition("@")[0]
    partial = partial_folder(list(paths.values()))
    named = {"line": line, "space": space or line, "partial": partial}
    for result in sweep(
        clip.parent, next(iter(finetuned), None), alphas, Store(store.parent), splits, **recipe, **named
    ):
        save_embeddings(paths[result.place], result)
    shutil.rmtree(partial)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
