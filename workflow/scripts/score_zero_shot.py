"""Score one encoder's zero-shot classification of a data set, in each nomenclature with each prompt set."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.draws import save_draws
from bandbridge.scoring.rows import write_rows
from bandbridge.scoring.zero_shot import Draws, labelled, zero_shot
from bandbridge.store.dataset import Store
from bandbridge.store.heads import load_head


def main(
    embeddings: list[Path],
    heads: list[Path],
    store: Path,
    run: str,
    nomenclatures: list,
    prompts: list,
    bootstrap: dict,
    seed: int,
    metrics: list[Path],
    draws: list[Path],
    threads: int = 1,
) -> None:
    resamples = Draws(**bootstrap, seed=seed, threads=threads)
    for head, nomenclature, name, table, drawn in zip(heads, nomenclatures, prompts, metrics, draws, strict=True):
        parts = [labelled(marker.parent, Store(store.parent, nomenclature)) for marker in embeddings]
        rows, headline = zero_shot(parts, load_head(head), run, nomenclature, name, resamples)
        save_draws(drawn, headline)
        write_rows(table, rows)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
