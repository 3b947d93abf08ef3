"""Score one encoder's zero-shot classification of a data set with one prompt set."""

from pathlib import Path

from bandbridge import job
from bandbridge.heads import load_head
from bandbridge.metrics.rows import write_rows
from bandbridge.scoring import Draws, labelled, zero_shot_rows
from bandbridge.store import Store


def main(
    embeddings: list[Path],
    head: Path,
    store: Path,
    run: str,
    nomenclature: str,
    prompts: str,
    bootstrap: dict,
    seed: int,
    metrics: Path,
) -> None:
    classifier, source, draws = load_head(head), Store(store.parent, nomenclature), Draws(**bootstrap, seed=seed)
    parts = [labelled(marker.parent, source) for marker in embeddings]
    scores = [zero_shot_rows(part, classifier, run, nomenclature, prompts, draws) for part in parts]
    write_rows(metrics, [row for rows in scores for row in rows])


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
