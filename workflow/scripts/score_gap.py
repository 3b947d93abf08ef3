"""Measure the modality gap between two encoders, or between images and texts.

With `multispectral`, between a student and the patched CLIP `rgb` that taught it; without, between the CLIP `rgb` and
zero-shot CLIP, and between its images and the class vectors of `head`, if these are passed.
"""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.scoring.gap import encoder_gap_rows, student_gap_rows
from bandbridge.scoring.rows import write_rows
from bandbridge.store.embeddings import load_embeddings
from bandbridge.store.heads import load_head


def main(
    rgb: Path,
    run: str,
    seed: int,
    metrics: Path,
    multispectral: Path | None = None,
    zero_shot: Path | None = None,
    head: Path | None = None,
    nomenclature: str = "",
    prompts: str = "",
) -> None:
    encoder = load_embeddings(rgb.parent)
    if multispectral is not None:
        write_rows(metrics, student_gap_rows(encoder, load_embeddings(multispectral.parent), run, seed))
        return
    before = load_embeddings(zero_shot.parent) if zero_shot else None
    classes = load_head(head) if head else None
    write_rows(metrics, encoder_gap_rows(encoder, before, classes, run, seed, nomenclature, prompts))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
