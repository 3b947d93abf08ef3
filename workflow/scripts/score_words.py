"""Score how well words that are no class retrieve the images of the class that they stand for."""

from pathlib import Path

from bandbridge import job
from bandbridge.heads import load_words
from bandbridge.metrics.rows import write_rows
from bandbridge.scoring import labelled
from bandbridge.scoring_retrieval import words_rows
from bandbridge.store import Store


def main(
    embeddings: Path,
    head: Path,
    store: Path,
    nomenclature: str,
    prompts: str,
    words: dict,
    k: int,
    run: str,
    seed: int,
    metrics: Path,
) -> None:
    part = labelled(embeddings.parent, Store(store.parent, nomenclature))
    write_rows(metrics, words_rows(part, load_words(head, words), k, run, nomenclature, prompts, seed))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
