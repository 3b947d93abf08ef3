"""Parts of a split read by threads while the caller uses earlier ones."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from bandbridge.store.order import Indices

PREFETCH = 3
READERS = 2

T = TypeVar("T")


def read_ahead(
    read: Callable[[Indices], T], parts: Sequence[Indices], prefetch: int = PREFETCH, readers: int = READERS
) -> Iterator[T]:
    """`read` of each part, in order, while threads read the next `prefetch` parts.

    An error of `read` is raised in place of its part. A caller that stops early waits for the parts being read at that
    moment, and no further ones are read.
    """
    coming: deque[Future[T]] = deque()
    left = iter(parts)
    with ThreadPoolExecutor(max_workers=readers, thread_name_prefix="read-ahead") as pool:
        try:
            coming.extend(pool.submit(read, part) for part in islice(left, max(1, prefetch)))
            while coming:
                # No reference to it is kept while the caller uses it: one batch less in memory.
                yield _next(coming, pool, read, left)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _next(
    coming: deque[Future[T]], pool: ThreadPoolExecutor, read: Callable[[Indices], T], left: Iterator[Indices]
) -> T:
    result = coming.popleft().result()
    coming.extend(pool.submit(read, part) for part in islice(left, 1))
    return result
