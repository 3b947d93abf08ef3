"""Fetch the files of a text tower, and check them."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.ingest.text_tower_fetch import fetch_text_tower


def main(tower: str, files: list[Path]) -> None:
    fetch_text_tower(load_text_tower(tower), files[0].parent)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
