"""Training that is killed, stopped or shared by processes ends as if nothing had happened."""

import json
import random

import pytest
import torch

pytestmark = pytest.mark.slow


def weights(path):
    return torch.load(path, weights_only=True)


def losses(path, key="loss"):
    return [record[key] for record in map(json.loads, path.read_text().splitlines()) if key in record]


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_killed_at_ten_random_steps_ends_as_if_it_had_never_been(tmp_path, train, world):
    draws = random.Random(world)
    kills = [draws.randint(1, 6) for _ in range(10)]
    output = train(tmp_path / "run", world=world, kills=kills)
    assert "resumes after step" in output
    whole, killed = weights(tmp_path / "run" / "whole.pt"), weights(tmp_path / "run" / "killed.pt")
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert (tmp_path / "run" / "whole.jsonl").read_bytes() == (tmp_path / "run" / "killed.jsonl").read_bytes()
    # What was written as training went is the history as well.
    live = tmp_path / "run" / "checkpoints-killed" / "history.jsonl"
    assert live.read_bytes() == (tmp_path / "run" / "killed.jsonl").read_bytes()


@pytest.mark.parametrize("stage", ["finetuning", "pretraining", "infonce"])
def test_any_number_of_processes_trains_as_one_does(tmp_path, train, stage):
    for world, name in enumerate(("one", "two", "three"), start=1):
        train(tmp_path / name, stage=stage, world=world)
    for other in ("two", "three"):
        must_be_alike(tmp_path / other, tmp_path / "one")


@pytest.mark.parametrize("stage", ["finetuning", "infonce"])
def test_micro_batches_are_the_same_on_any_number_of_processes(tmp_path, train, stage):
    train(tmp_path / "one", stage=stage, accumulate=3)
    train(tmp_path / "two", stage=stage, accumulate=3, world=2)
    must_be_alike(tmp_path / "two", tmp_path / "one")
    if stage == "finetuning":  # whose loss is a mean over samples
        train(tmp_path / "whole", stage=stage)
        must_be_alike(tmp_path / "two", tmp_path / "whole")


def must_be_alike(folder, expected):
    for key, tolerance in (("loss", 1e-5), ("gradient_norm", 1e-4), ("val_loss", 1e-5)):
        values = losses(expected / "whole.jsonl", key)
        assert len(values) >= 2
        assert losses(folder / "whole.jsonl", key) == pytest.approx(values, rel=tolerance), key
