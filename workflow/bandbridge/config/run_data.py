"""What the rules ask of a configuration's data sets."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from bandbridge.base.paths import Paths
from bandbridge.catalogue.datasets import Dataset, load_dataset, load_nomenclature
from bandbridge.config.lines import all_tasks
from bandbridge.config.networks import uses_scratch
from bandbridge.config.scored import evaluated, main_prompts, open_words, scored_nomenclatures


class RunData:
    """The data sets of a run, and what they are scored in and with; for its models see `Run`.

    Args:
        config: a valid configuration.

    Attributes:
        evaluated: data set -> prompt sets that it is scored with.
        words: data set -> class -> words that should find its images.
        scratch: the data set that the CLIP is trained on, None where it is loaded.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.paths = Paths(config)
        self.evaluated = evaluated(config)
        self.words = open_words(config)
        self.scratch: str | None = config["clip"]["scratch"]["dataset"] if uses_scratch(config) else None
        self._datasets: dict[str, Dataset] = {}
        self._nomenclatures: dict[str, tuple[str, ...]] = {}

    @cached_property
    def datasets(self) -> list[str]:
        """Every data set that the run needs, sorted."""
        names = {*self.evaluated, *(task["dataset"] for task in all_tasks(self.config))}
        return sorted({*names, self.scratch} if self.scratch else names)

    def dataset(self, dataset: str) -> Dataset:
        """A data set with the run's options."""
        if dataset not in self._datasets:
            self._datasets[dataset] = load_dataset(dataset, self.options(dataset))
        return self._datasets[dataset]

    def options(self, dataset: str) -> dict[str, Any]:
        """The values of the configuration that override a data set's own."""
        return dict(self.config["datasets"].get(dataset, {}))

    def conversion_options(self, dataset: str) -> dict[str, Any]:
        """The options that change what is converted, not by how many jobs."""
        return {key: value for key, value in self.options(dataset).items() if key != "convert_jobs"}

    def download_options(self, dataset: str) -> dict[str, Any]:
        """The options that decide which files are downloaded."""
        keys = ("archive", "modalities", "table")
        return {key: value for key, value in self.options(dataset).items() if key in keys}

    def archives(self, dataset: str) -> str:
        """The folder of a data set's downloads."""
        return self.paths.archives(self.dataset(dataset).archives)

    def converted(self, dataset: str) -> list[str]:
        """The outputs of the jobs that together convert a data set."""
        facts = self.dataset(dataset)
        shares = facts.convert_jobs
        return [
            self.paths.converted(dataset, stream, share, shares) for stream in facts.streams for share in range(shares)
        ]

    def class_names_and_maps(self, dataset: str) -> dict[str, list[Any]]:
        """Nomenclature of a data set -> what decides its labels: class names and label maps."""
        loaded = [load_nomenclature(name) for name in self.dataset(dataset).nomenclatures]
        return {facts.name: [list(facts.classes), dict(facts.maps)] for facts in loaded}

    def nomenclatures(self, dataset: str) -> list[str]:
        """The nomenclatures that a data set is scored in, the main one first."""
        if dataset not in self._nomenclatures:
            self._nomenclatures[dataset] = scored_nomenclatures(self.config, dataset)
        return list(self._nomenclatures[dataset])

    def nomenclature(self, dataset: str) -> str:
        """The main nomenclature of a data set."""
        return self.nomenclatures(dataset)[0]

    def main_prompts(self, dataset: str) -> str:
        """The main prompt set of a data set."""
        return main_prompts(self.config, dataset)

    def words_of(self, dataset: str) -> dict[str, list[str]] | None:
        """Class -> words that should find its images in a data set; None for no words."""
        return self.words.get(dataset)

    def scored_splits(self, dataset: str) -> list[str]:
        """The splits that every encoder is scored on: alpha is chosen on val, figures are reported on test."""
        return [split for split in self.splits(dataset) if split != "train"]

    def splits(self, dataset: str) -> list[str]:
        return list(self.dataset(dataset).splits)

    def datasets_by_splits(self, datasets: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
        """Data sets that have the same splits, in their order."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for dataset in datasets:
            splits = tuple(split for split in ("train", "val", "test") if split in self.splits(dataset))
            groups.setdefault(splits, []).append(dataset)
        return groups
