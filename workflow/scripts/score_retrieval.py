"""Score retrieval between the RGB embeddings of CLIP and the multispectral ones of a student, both ways."""

from pathlib import Path

from bandbridge import job
from bandbridge.embeddings import load_embeddings
from bandbridge.metrics.rows import write_rows
from bandbridge.scoring import Draws, labelled
from bandbridge.scoring_retrieval import label_retrieval_rows, retrieval_rows
from bandbridge.store import Store


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
    rows = retrieval_rows(*map(load_embeddings, paths), ks, run, draws)
    if store is not None and label_map_k is not None:
        source = Store(store.parent, nomenclature)
        sides = [labelled(path, source) for path in paths]
        rows += label_retrieval_rows(*sides, label_map_k, run, nomenclature, draws)
    write_rows(metrics, rows)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
