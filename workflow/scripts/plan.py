"""List the samples that a data set should have, split by split, before any of them is read."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.plan import make_plan, save_plan
from bandbridge.ingest.readers import reader


def main(dataset: str, overrides: dict, archives: Path, plan: Path) -> None:
    facts = load_dataset(dataset, overrides)
    save_plan(plan, make_plan(facts, reader(facts).plan(facts, archives)))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
