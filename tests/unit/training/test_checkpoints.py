"""Checkpoints: whole, checked, of this run alone; a run that is told to stop."""

import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from disks import disk
from regression import CPU, Regression, recipe, split, watched, weights

from bandbridge.base.errors import UserError
from bandbridge.training.checkpoints import (
    Checkpoints,
    Requeue,
    Saving,
    identity,
    new_saving,
    remove_checkpoints,
)
from bandbridge.training.distributed import ALONE
from bandbridge.training.loop import fit


def saving(folder, **changes):
    return Saving(**({"directory": folder, "minutes": 0, "keep": 2, "identity": "a run"} | changes))


def train(how, stop_at=None, epochs=4, send=signal.SIGTERM, stage=None):
    """Train; where asked to, send a signal in the midst of that step."""
    stage = stage or Regression(noise=0.5)
    torch.manual_seed(0)

    def stop(batch):
        if len(stage.seen) + 1 == stop_at:
            os.kill(os.getpid(), send)

    watched(stage, stop)
    history = fit(stage, split(), None, recipe(epochs=epochs), 5, CPU, saving=how)
    return stage, history


def files(folder):
    return sorted(folder.glob("*.pt"))


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_told_to_stop_finishes_its_step_saves_and_goes_on_from_there(tmp_path, send):
    whole, history = train(None)
    how = saving(tmp_path / "run", minutes=60)
    with pytest.raises(Requeue) as stopped:
        train(how, stop_at=5, send=send)
    assert stopped.value.code == 85
    (path,) = files(tmp_path / "run")
    assert torch.load(path, weights_only=True)["step"] == 5
    assert signal.getsignal(send) == signal.SIG_DFL
    resumed, resumed_history = train(how)
    assert len(resumed.seen) == len(whole.seen) - 5
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed_history == history


def test_the_last_ones_are_kept_and_a_finished_run_removes_them(tmp_path):
    how = saving(tmp_path / "run", keep=3)
    train(how)
    steps = [torch.load(path, weights_only=True)["step"] for path in files(tmp_path / "run")]
    assert steps == [9, 10, 11]  # of 12; the last step needs none
    remove_checkpoints(how, ALONE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage, capsys):
    whole, history = train(None)
    how = saving(tmp_path / "run")
    with pytest.raises(Requeue):
        train(how, stop_at=7)
    last = files(tmp_path / "run")[-1]
    content = bytearray(last.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    last.write_bytes(content)
    resumed, resumed_history = train(how)
    assert f"{last} is damaged" in capsys.readouterr().err
    assert len(resumed.seen) == len(whole.seen) - 6
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed_history == history


def test_another_runs_checkpoint_is_not_continued(tmp_path, capsys):
    whole, _ = train(None)
    with pytest.raises(Requeue):
        train(saving(tmp_path / "run", identity="another"), stop_at=7)
    anew, _ = train(saving(tmp_path / "run"))
    assert "checkpoints of another run" in capsys.readouterr().out
    assert len(anew.seen) == len(whole.seen)
    assert torch.equal(weights(anew), weights(whole))


def test_a_checkpoint_of_an_earlier_version_is_not_continued_and_the_message_says_why(tmp_path, capsys, monkeypatch):
    whole, history = train(None)
    how = saving(tmp_path / "run")
    with monkeypatch.context() as earlier:
        earlier.setattr(Checkpoints, "_mark", Checkpoints._first_mark)
        with pytest.raises(Requeue):
            train(how, stop_at=7)
    (last, *_) = sorted(files(tmp_path / "run"), reverse=True)
    resumed, resumed_history = train(how, stop_at=None)
    assert f"{last} was written by an earlier version of BandBridge" in capsys.readouterr().out
    assert len(resumed.seen) == len(whole.seen)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed_history == history
    assert last not in files(tmp_path / "run")


def test_a_checkpoint_holds_no_state_of_a_generator(tmp_path):
    train(saving(tmp_path / "run"))
    content = torch.load(files(tmp_path / "run")[-1], weights_only=True)
    expected = {"step", "epoch", "done", "module", "optimiser", "scaler", "guard", "history", "recent", "identity"}
    assert set(content) == expected


def test_what_a_kill_left_half_written_is_swept_away(tmp_path):
    for name in (".new.pt.123.part", "new.pt"):
        (tmp_path / name).write_bytes(b"half")
    assert Checkpoints(saving(tmp_path), ALONE).load() is None
    assert not list(tmp_path.iterdir())


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(tmp_path, capsys):
    whole, history = train(None)
    with disk(tmp_path / "small", "size=64k") as small:
        how = saving(small / "run")
        with pytest.raises(Requeue):
            train(how, stop_at=3)
        kept = files(small / "run")
        assert kept
        with pytest.raises(OSError, match="No space"):
            (small / "filler").write_bytes(bytes(64 * 1024))
        resumed, resumed_history = train(how)
        assert files(small / "run") == kept
        assert not list((small / "run").glob(".*"))
    assert "no checkpoint at step 4" in capsys.readouterr().err
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed_history == history


def test_the_identity_is_of_every_part_and_of_the_files_content(tmp_path):
    assert identity(recipe={"a": 1, "b": 2}, seed=0) == identity(seed=0, recipe={"b": 2, "a": 1})
    assert identity(seed=0) != identity(seed=1)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = new_saving(None, tmp_path, None, weights=file)
    file.write_bytes(b"two")
    assert first.identity != new_saving(None, tmp_path, None, weights=file).identity
    assert first.minutes == 10
    assert new_saving(None, None, None, weights=file) is None


def test_speed_is_written_apart_from_the_history_and_goes_on_after_a_stop(tmp_path):
    how = saving(tmp_path / "run", monitor=tmp_path / "monitor")
    with pytest.raises(Requeue):
        train(how, stop_at=5)
    train(how)
    records = [json.loads(line) for line in (tmp_path / "monitor" / "speed.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 6, 9, 10, 12]
    assert set(records[0]) == {"step", "epoch", "samples_per_second", "waiting", "memory_mb"}
    assert all(0 <= record["waiting"] <= 1 and record["samples_per_second"] > 0 for record in records)


def test_a_loss_that_is_no_number_names_samples_and_the_last_good_checkpoint(tmp_path):
    stage = Regression()
    data = split()
    data = replace(data, ids=np.array([f"sample-{number}" for number in range(len(data))]))
    watched(stage, after=lambda terms: terms | {"loss": terms["loss"] * (math.nan if len(stage.seen) == 5 else 1)})
    with pytest.raises(UserError, match=r"step 5 \(epoch 2\), learning rate .*, samples sample-\d+, .*") as error:
        fit(stage, data, None, recipe(), 0, CPU, saving=saving(tmp_path))
    last = files(tmp_path)[-1]
    assert str(last) in str(error.value)
    assert torch.load(last, weights_only=True)["step"] == 4


def test_a_diverging_loss_stops_the_run(tmp_path):
    stage = Regression()
    watched(stage, after=lambda terms: terms | {"loss": terms["loss"] * (30 if len(stage.seen) > 100 else 1)})
    with pytest.raises(UserError, match="training diverges"):
        fit(stage, split(), None, recipe(epochs=80), 0, CPU)
    assert 100 < len(stage.seen) < 160
