"""Every output has the permissions that the user's umask leaves, whichever library wrote it."""

import os
from contextlib import contextmanager

import pytest
import torch
from bit_flips import kinds
from tiny import tiny_clip

from bandbridge.base.files import whole_directory, whole_file
from bandbridge.models.clip import save_clip
from bandbridge.models.external.load import MODEL_FILE
from bandbridge.models.students import StudentSpec, new_student, save_student
from bandbridge.models.weights import save_weights
from bandbridge.training.checkpoints import Checkpoints, Saving
from bandbridge.training.distributed import ALONE
from bandbridge.training.history import write_history


@contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder):
    """Path -> permissions of everything below a folder."""
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in sorted(folder.rglob("*"))}


def write_everything(folder):
    kinds(folder)
    write_history(folder / "history.jsonl", [{"step": 1, "loss": 0.5}])
    Checkpoints(Saving(folder / "checkpoints", 0, 2, "a run"), ALONE).save({"step": 1, "weights": torch.ones(3)})
    spec = StudentSpec(
        "vit_tiny_patch16_224", {"img_size": 16, "patch_size": 8, "depth": 1}, ("B02",), "reflectance", 16
    )
    save_student(folder / "align" / "model.safetensors", new_student(spec, 8), "demo", "float32")
    with whole_directory(folder / "encoders" / "one") as part:
        save_weights(part / MODEL_FILE, {"a": torch.ones(2)}, {})
    save_clip(tiny_clip(), folder / "clip" / "demo")


@pytest.mark.parametrize("value", [0o002, 0o077])
def test_every_writer_leaves_what_the_umask_leaves(tmp_path, value):
    folder = tmp_path / "run"
    with umask(value):
        folder.mkdir()
        write_everything(folder)
    created_modes = modes(folder)
    assert len(created_modes) > 100
    files = {name: mode for name, mode in created_modes.items() if (folder / name).is_file()}
    assert {name: oct(mode) for name, mode in files.items() if mode != 0o666 & ~value} == {}
    assert {name for name in created_modes if name not in files and created_modes[name] != 0o777 & ~value} == set()


@pytest.mark.parametrize("value", [0o002, 0o077])
def test_a_file_that_a_library_made_for_its_owner_alone_is_opened_up(tmp_path, value):
    """safetensors writes to a temporary file of mode 0600 and renames that."""
    with umask(value):
        with whole_file(tmp_path / "file") as part:
            part.unlink()
            part.touch(0o600)
        with whole_directory(tmp_path / "folder") as part:
            (part / "inner").mkdir(0o700)
            (part / "inner" / "file").touch(0o600)
    assert modes(tmp_path) == {
        "file": 0o666 & ~value,
        "folder": 0o777 & ~value,
        "folder/inner": 0o777 & ~value,
        "folder/inner/file": 0o666 & ~value,
    }
