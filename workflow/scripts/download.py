"""Fetch a data set's files, check them, and list them with their checksums."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import write_json
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.fetch import fetch_all


def main(dataset: str, overrides: dict, archives: Path, files: Path) -> None:
    write_json(files, fetch_all(load_dataset(dataset, overrides), archives))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
