"""Weights in files from here and from elsewhere."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from tiny import same_weights
from torch import nn

from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.torchscript import read_torchscript
from bandbridge.models.weights import list_some

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


class Block(nn.Module):
    """What TorchScript may keep beside weights: lists, numbers, an empty name, a tensor seen in part."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.attn = nn.MultiheadAttention(4, 2)
        self.proj = nn.Parameter(torch.randn(6, 4).t())
        self.register_buffer("part", torch.arange(12.0).reshape(3, 4)[1:, ::2])
        self.register_buffer("count", torch.tensor(7))
        self.names = ["a", "b"]
        self.sizes = [1, 2]
        self.scales = {"x": 1.5}

    def forward(self, x):
        return self.layers(x).mean((2, 3)) @ self.proj


def archive(path, module):
    torch.jit.save(module, str(path))
    return path


def test_a_scripted_module_gives_its_state_dict(tmp_path):
    module = torch.jit.script(Block())
    path = archive(tmp_path / "block.pt", module)
    assert weights_format(path) == "torchscript"
    assert same_weights(read_torchscript(path), module.state_dict())


def test_tensors_of_every_type_and_shape_are_read(tmp_path):
    holder = Block()
    for number, dtype in enumerate(
        (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    ):
        for shape in ((), (0,), (3,), (2, 0, 3), (2, 1, 3)):
            holder.register_buffer(f"b{number}_{'x'.join(map(str, shape))}", (torch.randn(shape) * 9).to(dtype))
    module = torch.jit.script(holder)
    assert same_weights(read_torchscript(archive(tmp_path / "holder.pt", module)), module.state_dict())


def with_description(path, description):
    """A copy of a valid archive whose description is other than torch wrote it."""
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(Block()), content)
    with zipfile.ZipFile(content) as valid, zipfile.ZipFile(path, "w") as forged:
        for name in valid.namelist():
            forged.writestr(name, description if name.endswith("/data.pkl") else valid.read(name))
    return path


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.system, "touch {}"), (eval, "open({!r}, 'w')"), (getattr, "{}"), (torch.load, "{}")],
    ids=["os.system", "eval", "getattr", "torch.load"],
)
def test_an_archive_that_asks_for_a_function_is_refused_and_nothing_is_run(tmp_path, function, arguments):
    mark = tmp_path / "run"
    call = (arguments.format(str(mark)),) if function is not getattr else (Block, "forward")
    path = with_description(tmp_path / "evil.pt", pickle.dumps(Payload(function, *call), protocol=2))
    with pytest.raises(UserError, match=r"evil\.pt: this TorchScript archive asks for .*only modules and tensors"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_tensor_past_the_end_of_its_storage_is_refused(tmp_path):
    # GLOBAL and REDUCE by hand: 100 numbers out of a storage of the 48 bytes that layers.0.weight has
    description = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQK\x00(K\x64t(K\x01t\x89NtR."
    )
    with pytest.raises(UserError, match="out of bounds"):
        read_checkpoint(with_description(tmp_path / "short.pt", description))


def test_a_module_that_holds_itself_is_refused(tmp_path):
    description = b"\x80\x02c__torch__\nA\n)\x81q\x00}(X\x04\x00\x00\x00selfh\x00ub."
    with pytest.raises(UserError, match="contains itself"):
        read_checkpoint(with_description(tmp_path / "loop.pt", description))


@pytest.mark.parametrize("description", [b"", b"\x80\x02", b"\x80\x02N.", b"\x80\x02K\x01Q.", b"garbage"])
def test_a_damaged_archive_is_refused(tmp_path, description):
    with pytest.raises(UserError, match=r"damaged\.pt"):
        read_checkpoint(with_description(tmp_path / "damaged.pt", description))


def test_long_lists_end_in_a_count():
    assert list_some(["a", "b"]) == "a, b"
    assert list_some(list("abcd"), most=2) == "a, b and 2 more"
