"""Encode a data set's bands with an aligned student."""

from pathlib import Path

import torch

from bandbridge import job
from bandbridge.embed import embed_student
from bandbridge.embeddings import place_of, save_embeddings
from bandbridge.store import Store


def main(student: Path, store: Path, recipe: dict, embeddings: list[Path], threads: int) -> None:
    torch.set_num_threads(threads)
    paths = {place_of(marker.parent): marker.parent for marker in embeddings}
    name = student.parent.name
    for result in embed_student(student, name, Store(store.parent), [place.split for place in paths], **recipe):
        save_embeddings(paths[result.place], result)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
