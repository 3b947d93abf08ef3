"""Score one encoder's zero-shot classification of a data set with one prompt set."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.draws import save_draws
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled, zero_shot
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head


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
    draws: Path | None = None,
    threads: int = 1,
) -> None:
    source, resamples = Store(store.parent, nomenclature), Draws(**bootstrap, seed=seed, threads=threads)
    parts = [labelled(marker.parent, source) for marker in embeddings]
    rows, headline = zero_shot(parts, load_head(head), run, nomenclature, prompts, resamples)
    if draws is not None:
        save_draws(draws, headline)
    write_rows(metrics, rows)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
