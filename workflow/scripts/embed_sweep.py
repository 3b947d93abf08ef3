"""Encode splits of a data set, as RGB pictures, with CLIP at alphas; the outputs' names say which splits and alphas."""

from pathlib import Path

import torch

from bandbridge import job
from bandbridge.embed import sweep
from bandbridge.embeddings import place_of, save_embeddings
from bandbridge.store import Store


def main(clip: Path, finetuned: Path, store: Path, recipe: dict, embeddings: list[Path], threads: int) -> None:
    torch.set_num_threads(threads)
    paths = {place_of(marker.parent): marker.parent for marker in embeddings}
    alphas = sorted({place.alpha for place in paths})
    splits = sorted({place.split for place in paths})
    for result in sweep(clip.parent, finetuned, alphas, Store(store.parent), splits, **recipe):
        save_embeddings(paths[result.place], result)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
