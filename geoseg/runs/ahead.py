"""Loading ahead: what is asked for in order from a place that answers slowly is asked for several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def each(load: Callable[[Item], Found], items: Iterable[Item], width: int) -> Iterator[tuple[Item, Found]]:
    """Yield the items in order, each with what `load` returns of it, loading up to `width` of them at a time."""
    if width <= 1:
        yield from ((item, load(item)) for item in items)
        return
    coming = iter(items)
    with ThreadPoolExecutor(width) as pool:
        pending = [(item, pool.submit(load, item)) for item in islice(coming, 2 * width)]
        while pending:
            item, future = pending.pop(0)
            pending += [(other, pool.submit(load, other)) for other in islice(coming, 1)]
            yield item, future.result()


class Ahead(Generic[Found]):
    """Loads what will be asked for next, if the caller can name it.

    Args:
        load: Loads what has a name.
        width: How many are loaded at a time.
    """

    def __init__(self, load: Callable[[str], Found], width: int) -> None:
        self._load, self._width = load, width
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[str, Future[Found]] = {}

    def get(self, name: str, following: Iterable[str]) -> Found:
        """Return what has that name, and begin to load the first ones of `following`."""
        self._pool = self._pool or ThreadPoolExecutor(self._width)
        future = self._pending.pop(name, None) or self._pool.submit(self._load, name)
        for other in islice(following, self._width):
            if other not in self._pending:
                self._pending[other] = self._pool.submit(self._load, other)
        while len(self._pending) > 2 * self._width:
            self._pending.pop(next(iter(self._pending))).cancel()
        return future.result()

    def close(self) -> None:
        """Give up what is still to be loaded, and wait for what is being loaded."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._pending = None, {}
