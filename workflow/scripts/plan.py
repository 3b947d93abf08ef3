"""List the samples that a data set should have, split by split, before any of them is read."""

from pathlib import Path

from bandbridge import job
from bandbridge.catalogue import load_dataset
from bandbridge.plan import make_plan, save_plan
from bandbridge.readers import reader


def main(dataset: str, overrides: dict, archives: Path, plan: Path) -> None:
    facts = load_dataset(dataset, overrides)
    save_plan(plan, make_plan(facts, reader(facts).plan(facts, archives)))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
