"""Classify the test split by the nearest training samples of one encoder's frozen embeddings, and score it."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.knn import knn_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled
from bandbridge.store.dataset import Store


def main(
    train: Path,
    test: Path,
    store: Path,
    recipe: dict,
    run: str,
    nomenclatures: list,
    bootstrap: dict,
    seed: int,
    metrics: list[Path],
    threads: int = 1,
) -> None:
    draws = Draws(**bootstrap, seed=seed, threads=threads)
    for nomenclature, table in zip(nomenclatures, metrics, strict=True):
        source = Store(store.parent, nomenclature)
        parts = [labelled(marker.parent, source) for marker in (train, test)]
        write_rows(table, knn_rows(*parts, recipe, run, nomenclature, draws))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
