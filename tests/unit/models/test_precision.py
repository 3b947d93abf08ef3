"""What `precision: auto` becomes on the hardware at hand, and what is said where a precision is slow."""

import contextlib
import json

import pytest
import torch
from tiny import FINETUNE, MemoryStore, tiny_clip, tiny_head

from bandbridge.base import cpu
from bandbridge.base.cpu import bfloat16_instructions, slow_precision, slow_without_gpu
from bandbridge.base.errors import UserError
from bandbridge.models import device
from bandbridge.models.device import announce_precision, settle_precision
from bandbridge.training import loop
from bandbridge.training.checkpoints import Requeue, Saving
from bandbridge.training.finetune import finetune
from bandbridge.training.history import precisions
from bandbridge.training.recipes import FinetuneRecipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def with_flags(monkeypatch, tmp_path):
    def pretend(flags: str, name: str = "flags", vendor: str = "AuthenticAMD") -> None:
        path = tmp_path / "cpuinfo"
        one = f"vendor_id\t: {vendor}\n{name}\t\t: {flags}\nbugs\t\t: bf16\n"
        path.write_text(f"processor\t: 0\n{one}\nprocessor\t: 1\n{one}")
        for function in (cpu.bfloat16_instructions, cpu.slower_in_bfloat16):
            monkeypatch.setattr(function, "__defaults__", (path,))

    return pretend


def with_gpu(monkeypatch, name, capability):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("flags", "name", "instructions"),
    [
        ("fpu sse2 avx2 fma", "flags", None),
        ("fpu avx2 avx512f avx512bw avx512_vnni", "flags", None),
        ("fpu avx2 avx512f avx512_bf16", "flags", "AVX512-BF16"),
        ("fpu avx512_bf16 amx_bf16 amx_tile amx_int8", "flags", "AMX"),
        ("fp asimd sve i8mm bf16", "Features", "Arm BF16"),
        ("fp asimd aes crc32", "Features", None),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(with_flags, flags, name, instructions):
    with_flags(flags, name)
    assert bfloat16_instructions() == instructions
    precision = settle_precision("auto", CPU)
    assert precision.name == ("bfloat16" if instructions else "float32")
    assert (instructions or "no bfloat16 instructions") in precision.reason


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512f avx512_bf16 avx512_fp16", "float32"),  # an Intel Xeon whose virtual machine hides AMX
        ("avx512f avx512_bf16 avx512_fp16 amx_bf16", "bfloat16"),
        ("avx512f avx512_bf16", "bfloat16"),  # Cooper Lake
    ],
)
def test_intels_bfloat16_is_fast_by_amx(with_flags, flags, expected):
    with_flags(flags, vendor="GenuineIntel")
    precision = settle_precision("auto", CPU)
    assert precision.name == expected
    assert ("without AMX, at half the speed of float32" in precision.reason) == (expected == "float32")
    assert (slow_precision({"bfloat16"}) is not None) == (expected == "float32")


def test_a_system_that_tells_nothing_counts_as_without(monkeypatch, tmp_path):
    for function in (cpu.bfloat16_instructions, cpu.slower_in_bfloat16):
        monkeypatch.setattr(function, "__defaults__", (tmp_path / "missing",))
    assert settle_precision("auto", CPU).name == "float32"


def test_the_flags_of_this_machine_agree_with_torch():
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("architecture") != "x86_64":
        pytest.skip("torch names the instructions of x86 alone")
    assert (bfloat16_instructions() is not None) == (capabilities["avx512_bf16"] or capabilities["amx_bf16"])


@pytest.mark.parametrize(
    ("name", "capability", "expected"),
    [
        ("Tesla P100", (6, 0), "float32"),
        ("Tesla V100", (7, 0), "float16"),
        ("Tesla T4", (7, 5), "float16"),
        ("NVIDIA A100", (8, 0), "bfloat16"),
        ("NVIDIA H100", (9, 0), "bfloat16"),
    ],
)
def test_a_gpu_computes_in_what_its_generation_is_fast_in(monkeypatch, name, capability, expected):
    with_gpu(monkeypatch, name, capability)
    precision = settle_precision("auto", GPU)
    assert precision.name == expected
    assert name in precision.reason
    assert f"{capability[0]}.{capability[1]}" in precision.reason


@pytest.mark.parametrize("configured", ["bfloat16", "float32"])
def test_a_configured_precision_is_kept(with_flags, configured):
    with_flags("avx2")
    assert settle_precision(configured, CPU) == device.Precision(configured, "as configured")


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match=r"float16.*needs a GPU.*'auto'"):
        settle_precision("float16", CPU)


def test_a_configured_precision_that_is_slow_here_warns_once(with_flags, capsys):
    with_flags("avx2")
    announce_precision("Fine-tuning", "bfloat16", CPU)
    output = capsys.readouterr()
    assert output.out == "Fine-tuning: computes in bfloat16 (as configured).\n"
    assert output.err.count("Warning") == 1
    assert "no bfloat16 instructions" in output.err
    announce_precision("Fine-tuning", "float32", CPU)
    announce_precision("Fine-tuning", "auto", CPU)
    assert not capsys.readouterr().err


def test_a_run_warns_of_precisions_that_this_cpu_only_emulates(with_flags, tmp_path):
    with_flags("avx2")
    assert "'auto' chooses what is fast" in slow_precision({"float32", "bfloat16"})
    assert slow_precision({"auto", "float32"}) is None
    assert "no bfloat16" in slow_without_gpu({"bfloat16"}, driver=tmp_path / "missing")
    assert slow_without_gpu({"bfloat16"}, driver=tmp_path) is None
    with_flags("avx2 avx512_bf16")
    assert slow_precision({"bfloat16"}) is None


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["avx2", "avx2 avx512_bf16"])
def test_auto_trains_exactly_as_what_it_stands_for(with_flags, flags):
    with_flags(flags)
    settled = settle_precision("auto", CPU)
    store, trained = MemoryStore(), {}
    for precision in ("auto", settled.name):
        recipe = FinetuneRecipe.from_config(FINETUNE | {"precision": precision})
        clip = tiny_clip()
        history = finetune(clip, [tiny_head()], [store], recipe, 0, CPU)
        trained[precision] = clip.visual.state_dict()
        reason = settled.reason if precision == "auto" else "as configured"
        assert precisions(history) == [f"{settled.name} ({reason})"]
    for name, weights in trained["auto"].items():
        assert torch.equal(weights, trained[settled.name][name]), name
    assert json.dumps(history)


@pytest.mark.slow
def test_a_training_resumes_on_hardware_of_another_precision_and_says_so(with_flags, tmp_path, capsys, monkeypatch):
    def train():
        recipe = FinetuneRecipe.from_config(FINETUNE | {"precision": "auto"})
        saving = Saving(tmp_path, 60, 2, "a run")
        return finetune(tiny_clip(), [tiny_head()], [MemoryStore()], recipe, 0, CPU, saving=saving)

    with_flags("avx2 avx512_bf16")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "stop_signals", lambda active: contextlib.nullcontext(lambda: True))
        with pytest.raises(Requeue):
            train()
    with_flags("avx2")
    history = train()
    output = capsys.readouterr().out
    assert "resumes after step 1 of" in output
    assert "until step 1 it computed in bfloat16" in output
    assert "continues in float32 (auto: this CPU has no bfloat16 instructions)" in output
    assert [text.partition(" ")[0] for text in precisions(history)] == ["bfloat16", "float32"]
