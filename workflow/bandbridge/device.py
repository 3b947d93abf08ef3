"""Where models run, and how: the device, its threads, its precision, its seeds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}

# Layers of which automatic mixed precision casts all weights at each call. Exactly these: a subclass may compute with
# its weights before it multiplies.
CAST_LAYERS = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear, nn.Conv2d, nn.MultiheadAttention)


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_up(threads: int, seed: int) -> torch.device:
    """Settle how this process computes, and return its device: `threads`, TF32, the same results for the same seed."""
    # cuBLAS reads this when it starts; without it some of its sums come out in another order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    return best_device()


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """The context of a forward pass in 'bfloat16', 'float16' (on a GPU; weights stay float32) or 'float32'."""
    dtype = HALF.get(precision)
    with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None), attention(device):
        yield


def cast_layers(model: nn.Module, precision: str) -> None:
    """Cast once, in place, the weights that `autocast` would cast at each call; for inference alone.

    Without it, on a CPU, an attention layer with biases takes several times as long under autocast: torch spreads its
    weights over the batch before it multiplies.
    """
    dtype = HALF.get(precision)
    for layer in model.modules():
        if dtype is not None and type(layer) in CAST_LAYERS:
            for tensor in layer.parameters(recurse=False):
                tensor.data = tensor.data.to(dtype)


@contextmanager
def attention(device: torch.device) -> Iterator[None]:
    """The context in which attention runs; backward passes need it too, where they compute forward passes again."""
    if device.type == "cuda":
        yield
    else:
        # The backward pass of the CPU's fused attention takes five times as long in bfloat16 on short sequences.
        with sdpa_kernel(SDPBackend.MATH):
            yield
