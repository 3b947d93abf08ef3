"""Score retrieval between the RGB embeddings of CLIP and the multispectral ones of a student, both ways."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.retrieval import label_retrieval_rows, retrieval_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled, units_of
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import load_embeddings


def main(
    rgb: Path,
    multispectral: Path,
    ks: list,
    bootstrap: dict,
    run: str,
    seed: int,
    metrics: Path,
    store: Path | None = None,
    nomenclature: str = "",
    label_map_k: int | None = None,
    threads: int = 1,
) -> None:
    paths, draws = (rgb.parent, multispectral.parent), Draws(**bootstrap, seed=seed, threads=threads)
    sides = [load_embeddings(path) for path in paths]
    units = units_of(Store(store.parent).split(sides[0].attrs["split"])) if store is not None else None
    rows = retrieval_rows(*sides, ks, run, draws, units)
    if store is not None and label_map_k is not None:
        source = Store(store.parent, nomenclature)
        rows += label_retrieval_rows(*(labelled(path, source) for path in paths), label_map_k, run, nomenclature, draws)
    write_rows(metrics, rows)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
