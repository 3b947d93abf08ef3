"""Score retrieval between the RGB embeddings of CLIP and the multispectral ones of a student, both ways."""

from pathlib import Path

from bandbridge import job
from bandbridge.embeddings import load_embeddings
from bandbridge.metrics.rows import write_rows
from bandbridge.scoring import Draws
from bandbridge.scoring_retrieval import retrieval_rows


def main(rgb: Path, multispectral: Path, ks: list, bootstrap: dict, run: str, seed: int, metrics: Path) -> None:
    sides = load_embeddings(rgb.parent), load_embeddings(multispectral.parent)
    write_rows(metrics, retrieval_rows(*sides, ks, run, Draws(**bootstrap, seed=seed)))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
