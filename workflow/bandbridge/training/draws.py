"""Random draws that do not depend on how a batch is shared: each sample has those of its place in the whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode


class _Rows(TorchFunctionMode):
    def __init__(self, generator: Generator, begin: int, end: int, total: int) -> None:
        super().__init__()
        self._generator = generator
        self._begin, self._end, self._total = begin, end, total

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function not in (torch.rand, torch.randn, torch.randint) or kwargs.get("generator") is not self._generator:
            return function(*args, **kwargs)
        before, shape = _shape(function, args)
        if not shape or shape[0] != self._end - self._begin:
            return function(*args, **kwargs)
        drawn: Tensor = function(*before, (self._total, *shape[1:]), **kwargs)
        return drawn[self._begin : self._end]


def _shape(function: Any, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The arguments before the shape, and the shape."""
    if function is torch.randint:
        return args[:-1], tuple(args[-1])
    return (), tuple(args) if args and isinstance(args[0], int) else tuple(*args)


@contextmanager
def rows_of_a_batch(generator: Generator, begin: int, end: int, total: int) -> Iterator[None]:
    """Within it, what `generator` draws for `end - begin` samples is drawn for `total`; rows `begin` to `end` count.

    A stage draws for the samples it is given, first axis first, with torch.rand, randn or randint. So a share of a
    batch changes as it would within the whole, and the generator moves on as far.
    """
    if end - begin == total:
        yield
        return
    with _Rows(generator, begin, end, total):
        yield
