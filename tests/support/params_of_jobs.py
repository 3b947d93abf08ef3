"""Print, for every job that a configuration plans, the params that Snakemake cannot record: run in a clone's root.

    python params_of_jobs.py [CONFIGFILE ...]

Snakemake compares params by their text and passes over every value that is not of a built-in type, so that a change of
it would be a change that nobody notices.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake.api import OutputSettings, SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, ResourceSettings

# How a job runs, and what its outputs are: no change of these may rerun a job.
UNRECORDED = {"models", "name", "nodes", "processes", "splits", "train"}
PLAIN = (type(None), bool, int, float, str)


def unrecorded(value: Any, where: str) -> Iterator[str]:
    """Places within a value that are not plain data; a subclass's text may hide what it holds, so types are exact."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from unrecorded(key, f"a key of {where}")
            yield from unrecorded(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from unrecorded(item, f"{where}[{number}]")
    elif type(value) not in PLAIN:
        yield f"{where}: {type(value).__name__}"


def main(configfiles: list[str]) -> None:
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[Path(path) for path in configfiles]),
            snakefile=Path("Snakefile"),
        )
        workflow.dag().execute_workflow(executor="dryrun")
        jobs = list(workflow._workflow.dag.jobs)
    recorded = 0
    for job in jobs:
        for name, value in job.params.items():
            for fault in unrecorded(value, name):
                print(f"{job.rule.name}: {fault}")
        for name, value in job.rule.params.items():
            if job.rule._is_deriving_function(value) and name not in UNRECORDED:
                print(f"{job.rule.name}: {name} is made of inputs, outputs, threads or resources")
        recorded += len(job.non_derived_params)
    print(f"{len(jobs)} jobs, {recorded} params", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
