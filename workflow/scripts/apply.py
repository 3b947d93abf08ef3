"""Apply one of a run's models to a scene or to images: a map, or an archive of embeddings."""

from pathlib import Path
from typing import Any

import torch

from bandbridge.base import script as job
from bandbridge.use.apply import apply_archive, apply_map


def main(
    weights: Path,
    entry: dict[str, Any],
    settings: dict[str, Any],
    embed: dict[str, Any],
    threads: int,
    cover: Path | None = None,
    summary: Path | None = None,
    archive: Path | None = None,
    store: Path | None = None,
) -> None:
    torch.set_num_threads(threads)
    if archive is not None:
        apply_archive(weights.parent, settings, entry, embed, archive)
    else:
        apply_map(weights.parent, settings, entry, embed, cover, summary, store)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
