"""Score how well the class vectors of a zero-shot head retrieve the images of their classes."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.retrieval import text_retrieval_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head


def main(
    embeddings: Path,
    head: Path,
    store: Path,
    nomenclature: str,
    prompts: str,
    ks: list,
    run: str,
    bootstrap: dict,
    seed: int,
    metrics: Path,
    threads: int = 1,
) -> None:
    part = labelled(embeddings.parent, Store(store.parent, nomenclature))
    draws = Draws(**bootstrap, seed=seed, threads=threads)
    write_rows(metrics, text_retrieval_rows(part, load_head(head), ks, run, nomenclature, prompts, draws))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
