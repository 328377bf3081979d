"""The order in which a process computes blocks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import overload

from geoseg.grid import Block, Partition


class Ranked(Sequence[Block]):
    """Blocks of a partition in the order in which they are best computed; each is made when it is asked for.

    Args:
        partition: The partition.
        indices: Numbers of the blocks; None for all.
    """

    def __init__(self, partition: Partition, indices: Iterable[int] | None = None) -> None:
        self._partition = partition
        self._ranks: Sequence[int] = range(len(partition))
        if indices is not None and indices != self._ranks:
            self._ranks = sorted(map(partition.rank, indices))

    def __len__(self) -> int:
        return len(self._ranks)

    @overload
    def __getitem__(self, item: int) -> Block: ...

    @overload
    def __getitem__(self, item: slice) -> list[Block]: ...

    def __getitem__(self, item: int | slice) -> Block | list[Block]:
        if isinstance(item, slice):
            return [self._partition.at_rank(rank) for rank in self._ranks[item]]
        return self._partition.at_rank(self._ranks[item])

    def index(self, value: Block, *_: int) -> int:
        """Return the place of one of the blocks."""
        return bisect_left(self._ranks, self._partition.rank(value.index))
