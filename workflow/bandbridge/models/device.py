"""Device, threads, precision and seeds of models."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bandbridge.base.cpu import bfloat16_instructions, slow_precision, slower_in_bfloat16
from bandbridge.base.errors import UserError, did_you_mean

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}
AUTO = "auto"

# The first GPUs that compute in bfloat16 (Ampere), and the first that multiply float16 matrices fast (Volta).
BFLOAT16_CAPABILITY = (8, 0)
FLOAT16_CAPABILITY = (7, 0)

# Layers whose weights automatic mixed precision casts at each call. Exactly these: a subclass may compute with
# its weights before it multiplies.
CAST_LAYERS = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear, nn.Conv2d, nn.MultiheadAttention)


def best_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sent(values: Tensor | Sequence[float], device: torch.device) -> Tensor:
    """A few numbers from the CPU as a tensor on `device`, where a GPU is not made to end what it computes first."""
    # From memory that is not pinned, CUDA takes a copy before it returns: the source may change.
    return torch.as_tensor(values).to(device, non_blocking=True)


def set_up(threads: int, seed: int) -> torch.device:
    """Set threads, TF32, determinism and the seed of this process; returns its device."""
    # cuBLAS reads this when it starts; without it, some of its sums are in a different order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    return best_device()


@dataclass(frozen=True)
class Precision:
    """The precision of forward passes.

    Attributes:
        name: 'bfloat16', 'float16' or 'float32'.
        reason: why it was chosen.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def settle_precision(configured: str, device: torch.device) -> Precision:
    """The precision that a configuration's value means on a device.

    'auto' is bfloat16 if the hardware computes fast in it, float16 on GPUs that do not but have float16 tensor cores,
    otherwise float32. Any other value is kept, even if it is slow on this device: `slow_precision` warns about it.

    Raises:
        UserError: no such precision, or 'float16' on a CPU.
    """
    if configured == AUTO:
        return _gpu_precision(device) if device.type == "cuda" else _cpu_precision()
    if configured not in DTYPES:
        allowed = (AUTO, *DTYPES)
        raise UserError(
            f"precision is '{configured}'; allowed: {', '.join(allowed)}.{did_you_mean(configured, allowed)}"
        )
    if configured == "float16" and device.type == "cpu":
        raise UserError("precision is 'float16', which needs a GPU; on a CPU use 'auto', 'bfloat16' or 'float32'.")
    return Precision(configured, "as configured")


def announce_precision(label: str, configured: str, device: torch.device) -> Precision:
    """`settle_precision`, printed to the log, with a warning if the configured precision is slow on this device."""
    precision = settle_precision(configured, device)
    print(f"{label}: computes in {precision}.", flush=True)
    if device.type == "cpu" and (warning := slow_precision([configured])):
        print(f"Warning: {warning}.", file=sys.stderr, flush=True)
    return precision


def _cpu_precision() -> Precision:
    if why := slower_in_bfloat16():
        return Precision("float32", f"auto: this CPU {why}")
    return Precision("bfloat16", f"auto: this CPU computes in it, {bfloat16_instructions()}")


def _gpu_precision(device: torch.device) -> Precision:
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    described = f"{name}, compute capability {'.'.join(map(str, capability))}"
    if capability >= BFLOAT16_CAPABILITY:
        return Precision("bfloat16", f"auto: {described}, computes in it")
    if capability >= FLOAT16_CAPABILITY:
        return Precision("float16", f"auto: {described}, does not compute in bfloat16")
    return Precision("float32", f"auto: {described}, has no tensor cores")


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """The context of a forward pass in 'bfloat16', 'float16' (on a GPU; weights stay float32) or 'float32'."""
    dtype = DTYPES[precision]
    with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None), attention(device):
        yield


def cast_layers(model: nn.Module, precision: str) -> None:
    """Cast once, in place, the weights that `autocast` would cast at each call; for inference only.

    Without it, on a CPU, an attention layer with biases takes several times as long under autocast: torch spreads its
    weights over the batch before it multiplies.
    """
    dtype = DTYPES[precision]
    for layer in model.modules():
        if dtype is not None and type(layer) in CAST_LAYERS:
            for tensor in layer.parameters(recurse=False):
                tensor.data = tensor.data.to(dtype)


@contextmanager
def attention(device: torch.device) -> Iterator[None]:
    """The context in which attention runs; backward passes that recompute forward passes need it too."""
    if device.type == "cuda":
        yield
    else:
        # The backward pass of the CPU's fused attention takes five times as long in bfloat16 on short sequences.
        with sdpa_kernel(SDPBackend.MATH):
            yield
