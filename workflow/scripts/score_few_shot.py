"""Fit linear probes on a few samples per class of one encoder's frozen embeddings, several times, and score them."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.probes import few_shot_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled
from bandbridge.store.dataset import Store


def main(
    train: Path,
    val: Path,
    test: Path,
    store: Path,
    recipe: dict,
    run: str,
    nomenclatures: list,
    bootstrap: dict,
    seed: int,
    metrics: list[Path],
) -> None:
    draws = Draws(**bootstrap, seed=seed)
    for nomenclature, table in zip(nomenclatures, metrics, strict=True):
        source = Store(store.parent, nomenclature)
        parts = [labelled(marker.parent, source) for marker in (train, val, test)]
        write_rows(table, few_shot_rows(*parts, recipe, run, nomenclature, draws))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
