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
    heads: list[Path],
    store: Path,
    nomenclatures: list,
    prompts: list,
    ks: list,
    run: str,
    bootstrap: dict,
    seed: int,
    metrics: list[Path],
    threads: int = 1,
) -> None:
    draws = Draws(**bootstrap, seed=seed, threads=threads)
    for head, nomenclature, name, table in zip(heads, nomenclatures, prompts, metrics, strict=True):
        part = labelled(embeddings.parent, Store(store.parent, nomenclature))
        write_rows(table, text_retrieval_rows(part, load_head(head), ks, run, nomenclature, name, draws))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
