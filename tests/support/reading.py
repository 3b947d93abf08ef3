"""Runs a reader as the conversion does: plan, then read what is planned."""

from pathlib import Path

from bandbridge.catalogue.datasets import Dataset
from bandbridge.ingest.readers import Rejected, Sample, reader


def read_all(
    dataset: Dataset, archives: Path, stream: str | None = None
) -> tuple[dict[str, str], dict[str, Sample | Rejected]]:
    """Id -> split of all that is planned, and id -> what one stream (the first, unless named) holds of it."""
    module = reader(dataset)
    splits = {planned.id: planned.split for planned in module.plan(dataset, archives)}
    items = list(module.read(dataset, archives, stream or dataset.primary.name, frozenset(splits)))
    by_id = {item.id: item for item in items}
    assert len(by_id) == len(items)
    assert by_id.keys() <= splits.keys()
    return splits, by_id
