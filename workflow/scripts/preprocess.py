"""Join a data set's converted shares to one Zarr store; samples that cannot be used are listed in the quarantine."""

from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import read_json
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.assemble import assemble
from bandbridge.ingest.plan import load_plan


def main(
    files: Path,
    plan: Path,
    records: list[Path],
    dataset: str,
    overrides: dict,
    max_quarantined_share: float,
    store: Path,
    quarantine: Path,
) -> None:
    facts = load_dataset(dataset, overrides)
    folders = [path.parent for path in records]
    jobs = len(folders) // len(facts.streams)
    shares = {stream: folders[jobs * at : jobs * (at + 1)] for at, stream in enumerate(facts.streams)}
    provenance = {"sources": read_json(files)}
    assemble(store.parent, facts, load_plan(plan, facts), shares, provenance, quarantine, max_quarantined_share)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
