"""Fetch a data set's files, check them, and list them with their checksums."""

from pathlib import Path

from bandbridge import job
from bandbridge.catalogue import load_dataset
from bandbridge.download import fetch_all
from bandbridge.files import write_json


def main(dataset: str, overrides: dict, archives: Path, files: Path) -> None:
    write_json(files, fetch_all(load_dataset(dataset, overrides), archives))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
