"""Score how well words that are not class names retrieve the images of their class."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.retrieval import words_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import labelled
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_words


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
