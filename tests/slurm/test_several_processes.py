"""Trainings in several processes, and on several nodes, learn what one process learns."""

import json
from pathlib import Path

import pytest
from runs import FINETUNED, Run, finished, sacct, shared

PRECISE = {"finetune": {"epochs": 2, "precision": "float32"}}


def losses(run: Run) -> list[float]:
    lines = (run.root / FINETUNED / "history.jsonl").read_text().splitlines()
    return [record[key] for record in map(json.loads, lines) for key in ("loss", "val_loss") if key in record]


@pytest.fixture(scope="module")
def one_process(local_run: Run) -> Run:
    def make(folder: Path) -> Run:
        run = local_run.copy(folder).without("finetune", "paint", "align")
        run.configure(PRECISE)
        return finished(run, "--cores", "2", "--", f"{FINETUNED}/model.safetensors")

    return shared("one_process", make)


@pytest.mark.parametrize(("gpus", "nodes"), [(2, 1), (1, 2), (2, 2)])
def test_the_same_loss_curve(heads_done: Run, one_process: Run, gpus: int, nodes: int):
    heads_done.configure(PRECISE | {"train": {"gpus": gpus, "nodes": nodes}})
    finished(heads_done, "--profile", "slurm", "--", f"{FINETUNED}/model.safetensors")
    assert losses(heads_done) == pytest.approx(losses(one_process), rel=1e-5)
    (job,) = sacct(*heads_done.submitted())
    granted = dict(item.split("=", 1) for item in job["ReqTRES"].split(","))
    assert (granted["gres/gpu"], granted["node"]) == (str(gpus * nodes), str(nodes))
    assert len(job["NodeList"].split(",")) == 1
    assert (job["NodeList"] == "node[1-2]") == (nodes == 2)
