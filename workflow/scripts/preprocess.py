"""Read a data set from its archives into one Zarr store; what cannot be used goes to the quarantine list."""

from pathlib import Path

from bandbridge import job
from bandbridge.catalogue import load_dataset
from bandbridge.files import read_json
from bandbridge.progress import progress
from bandbridge.readers import read_samples
from bandbridge.store import write_store


def main(files: Path, dataset: str, overrides: dict, store: Path, quarantine: Path) -> None:
    facts = load_dataset(dataset, overrides)
    samples = progress(read_samples(facts, files.parent), f"Reading {facts.title}", unit="samples")
    write_store(store.parent, facts, samples, {"sources": read_json(files)}, quarantine)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
