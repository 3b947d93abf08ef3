"""Fetch a data set's files, check them, and list them with their checksums."""

from pathlib import Path

from bandbridge import job
from bandbridge.catalogue import load_dataset
from bandbridge.download import fetch_all
from bandbridge.files import write_json


def main(dataset: str, files: Path, archive: str = "") -> None:
    facts = load_dataset(dataset, {"archive": archive} if archive else {})
    write_json(files, fetch_all(facts, files.parent))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
