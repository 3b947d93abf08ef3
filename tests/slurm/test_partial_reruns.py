"""After a change of the configuration a cluster is given the jobs that use what was changed, and no others."""

import re
from pathlib import Path

import pytest
from changes import ALPHA, CHANGES, SEVERAL
from runs import Run, finished

CHANGED = {
    "nothing": CHANGES["nothing"],
    "a title, a k and a word": SEVERAL,
    "a template": CHANGES["a template"],
    "the alignment's learning rate": CHANGES["the alignment's learning rate"],
    "an evaluation data set": CHANGES["an evaluation data set"],
    "an alpha": ALPHA,
}


@pytest.mark.parametrize("name", CHANGED)
def test_submits_what_uses_the_change_and_nothing_else(local_run: Run, tmp_path: Path, name: str):
    run = local_run.copy(tmp_path / "clone", warm=True)
    CHANGED[name].make(run)
    finished(run, "--profile", "slurm")
    ran = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", run.output, re.MULTILINE)
    assert sorted(rule for rule in ran if rule != "all") == CHANGED[name].jobs
    # All but downloads are submitted, scores many in one job of SLURM.
    on_the_cluster = [rule for rule in CHANGED[name].jobs if rule != "download"]
    assert min(1, len(on_the_cluster)) <= len(run.submitted()) <= len(on_the_cluster)
