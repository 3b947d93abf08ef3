"""Convert one job's share of one stream of a data set to shard files."""

from collections.abc import Collection, Iterator
from pathlib import Path

from bandbridge.base import script as job
from bandbridge.base.files import read_json
from bandbridge.base.progress import progress
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.convert import convert_share
from bandbridge.ingest.plan import load_plan
from bandbridge.ingest.readers import Rejected, Sample, looked_in, reader


def main(
    files: Path,
    plan: Path,
    dataset: str,
    overrides: dict,
    archives: Path,
    stream: str,
    share: int,
    shares: int,
    records: Path,
    listing: list = (),
) -> None:
    facts = load_dataset(dataset, overrides)
    shards = load_plan(plan, facts).share(share, shares)

    def samples(missing: Collection[str]) -> Iterator[Sample | Rejected]:
        label = f"Converting {facts.title}, {stream}, part {share + 1} of {shares}"
        return progress(reader(facts).read(facts, archives, stream, missing), label, len(missing), "samples")

    sources = [read_json(files), list(listing)]
    convert_share(facts, stream, shards, samples, records.parent, sources, looked_in(facts, archives, stream))


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
