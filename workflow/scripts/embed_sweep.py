"""Encode splits of a data set, as RGB composites, with models of a PAINT line."""

import shutil
from itertools import product
from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.base.paths import EncoderName
from bandbridge.models.embed import sweep
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import partial_folder, save_embeddings


def main(
    clip: Path,
    finetuned: list[Path],
    store: Path,
    recipe: dict,
    models: list,
    splits: list,
    embeddings: list[Path],
    threads: int,
    space: str = "",
) -> None:
    torch.set_num_threads(threads)
    names = [EncoderName.parse(model) for model in models]
    folders = [marker.parent for marker in embeddings]
    # The outputs are those of the first model, split by split, then those of the next.
    paths = dict(zip(product(models, splits), folders, strict=True))
    named = {"line": names[0].line, "space": space or names[0].line, "partial": partial_folder(folders)}
    alphas, ends = [name.alpha for name in names], next(iter(finetuned), None)
    for result in sweep(clip.parent, ends, alphas, Store(store.parent), splits, **recipe, **named):
        save_embeddings(paths[result.attrs["encoder"], result.attrs["split"]], result)
    shutil.rmtree(named["partial"])


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
