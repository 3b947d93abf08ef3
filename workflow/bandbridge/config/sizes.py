"""The largest number of samples a data set can have, where its file states it."""

import math

from bandbridge.catalogue.datasets import Dataset, load_nomenclature


def most_samples(dataset: Dataset, split: str) -> int | None:
    """The most samples that a split can have; None where that is known only after the conversion.

    A data set's file states its samples as published. They do not apply where the configuration takes another
    archive or divides it differently, unless all samples are divided by shares.
    """
    stated = dataset.samples
    if stated is None:
        return None
    if split in stated:
        return None if dataset.is_divided_otherwise else stated[split]
    if "all" not in stated:
        return None
    shares = {name: float(dataset.options.get(name) or 0) for name in ("val", "test")}
    share = shares[split] if split in shares else 1 - sum(shares.values())
    # Each class is rounded separately.
    return min(stated["all"], math.ceil(stated["all"] * share) + len(load_nomenclature(dataset.nomenclature).classes))
