"""Adding up gradients over processes while the backward pass still runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bandbridge.training.distributed import World

BUCKET_BYTES = 25 * 1024**2


class Gradients:
    """The sum over all processes of the parameters' gradients.

    Parameters are sent in buckets, those of the last layers first, as soon as a bucket's gradients are there. Buckets
    leave in the same order everywhere. Stages call several methods of their models, so DistributedDataParallel, which
    must wrap the one that is called, does not serve here.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], world: World) -> None:
        self._parameters = list(parameters)
        self._world = world
        self._buckets = _buckets(self._parameters)
        self._bucket_of = {id(p): number for number, bucket in enumerate(self._buckets) for p in bucket}
        self._missing: list[int] = []
        self._sent: list[tuple[Tensor, Any]] = []
        self._sending = False
        if world.world_size > 1:
            self._hooks = [p.register_post_accumulate_grad_hook(self._arrived) for p in self._parameters]
        else:
            self._hooks = []

    def __enter__(self) -> "Gradients":
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def summed(self, last: bool) -> Iterator[None]:
        """Around a backward pass; after the `last` one of a step the gradients are the sums."""
        self._sending = last and self._world.world_size > 1
        self._missing = [len(bucket) for bucket in self._buckets]
        yield
        if self._sending:
            self._send_up_to(len(self._buckets))
            for bucket, (flat, work) in zip(self._buckets, self._sent, strict=True):
                work.wait()
                _take(flat, bucket)
            self._sent.clear()
            self._sending = False

    def _arrived(self, parameter: Tensor) -> None:
        if not self._sending:
            return
        self._missing[self._bucket_of[id(parameter)]] -= 1
        ready = len(self._sent)
        while ready < len(self._buckets) and not self._missing[ready]:
            ready += 1
        self._send_up_to(ready)

    def _send_up_to(self, number: int) -> None:
        for bucket in self._buckets[len(self._sent) : number]:
            # A parameter that took no part has zeros here, so that buckets are alike everywhere.
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            self._sent.append((flat, dist.all_reduce(flat, async_op=True)))


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    size = 0
    for parameter in reversed(parameters):
        alike = buckets and (buckets[-1][0].dtype, buckets[-1][0].device) == (parameter.dtype, parameter.device)
        if not alike or size >= BUCKET_BYTES:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.numel() * parameter.element_size()
    return buckets


def _take(flat: Tensor, bucket: list[nn.Parameter]) -> None:
    at = 0
    for parameter in bucket:
        if parameter.grad is not None:
            parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()
