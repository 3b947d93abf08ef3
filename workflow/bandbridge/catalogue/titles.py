"""What data sets are called in sentences and tables."""

from functools import cache

from bandbridge.catalogue.datasets import dataset_names, load_dataset


@cache
def dataset_title(name: str) -> str:
    """The title of a data set of the catalogue, its name otherwise."""
    return load_dataset(name).title if name in dataset_names() else name


def short_title(name: str) -> str:
    """A data set's title without what it explains in brackets at the end; for sentences and axes."""
    return dataset_title(name).partition(" (")[0]
