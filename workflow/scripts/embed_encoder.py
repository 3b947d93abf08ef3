"""Encode a data set with an encoder that the run does not train."""

import shutil
from pathlib import Path

import torch

from bandbridge.base import script as job
from bandbridge.models.external.embed import embed_encoder
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import partial_folder, save_embeddings


def main(encoder: Path, store: Path, recipe: dict, splits: list, embeddings: list[Path], threads: int) -> None:
    torch.set_num_threads(threads)
    paths = {split: marker.parent for split, marker in zip(splits, embeddings, strict=True)}
    partial = partial_folder(list(paths.values()))
    for result in embed_encoder(encoder.parent, Store(store.parent), splits, **recipe, partial=partial):
        save_embeddings(paths[result.attrs["split"]], result)
    shutil.rmtree(partial)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
