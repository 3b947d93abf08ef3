"""Fetch the weights of an encoder that the run does not train, and store it as `models.external.load` reads it."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.models.external.fetch import fetch_encoder


def main(facts: dict, archives: Path, encoder: Path, checkpoint: Path | None = None) -> None:
    fetch_encoder(facts, archives, encoder.parent, None if checkpoint is None else str(checkpoint))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
