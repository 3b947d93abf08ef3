"""Params of the rules that are the same for several stages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bandbridge.base.by_name import with_signature
from bandbridge.base.code_version import code_version
from bandbridge.config.run import Run
from bandbridge.ingest.listing import data_listing, file_listing

OfWildcards = Callable[[Mapping[str, str]], Any]


def seed_of(config: Mapping[str, Any]) -> OfWildcards:
    """From a job's wildcards to its seed: the wildcard's, or the configuration's."""
    return with_signature(lambda wildcards: int(wildcards.get("seed", config["seed"])))


def config_of(config: Mapping[str, Any]) -> OfWildcards:
    """From a job's wildcards to the configuration of its seed."""
    return with_signature(lambda wildcards: {**config, "seed": seed_of(config)(wildcards)})


def without(values: Mapping[str, Any] | None, *keys: str) -> dict[str, Any]:
    """A section of the configuration without the keys that a stage does not read."""
    return {key: value for key, value in (values or {}).items() if key not in keys}


def shown(dataset: str) -> str:
    """A data set in a message: its name, or that of the wildcard."""
    return "{wildcards.dataset}" if dataset == "{dataset}" else dataset


def users_files(run: Run, watch: str, dataset: str) -> list[str]:
    """The state of the user's own files: a change of them is a change of the data set."""
    return data_listing(run.dataset(dataset), Path(run.archives(dataset)), watch)


def users_weights(run: Run, student: str) -> list[str]:
    """The state of a checkpoint of the user's own that a student starts from."""
    return [] if run.first_weights(student) else file_listing(run.pretrained(student))


def unrecorded(value: Any) -> Callable[..., Any]:
    """A param, or a function of wildcards that returns it, whose changes rerun nothing.

    For how a job runs, or what its outputs are; Snakemake does not compare params that are computed from outputs.
    """
    return with_signature(lambda wildcards, output: value(wildcards) if callable(value) else value)


def how_it_trains(train: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Params for how a training runs, on which its results do not depend."""
    return {
        "train": unrecorded(train),
        "processes": unrecorded(train["gpus"]),
        "nodes": unrecorded(train["nodes"]),
    }


def code_of(script: str, *data: str) -> OfWildcards:
    """The version of a script and of the modules it imports, for the params of jobs that take seconds."""
    return with_signature(lambda wildcards: code_version(script, *data))
