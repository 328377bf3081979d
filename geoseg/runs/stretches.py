"""Stretches of numbers of blocks, as text in a manifest and in messages: "7" or "4-7"."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_MAX_TEXT = 16 << 20
"""Characters; a manifest has to stay far below the largest file that is read of a run."""


@dataclass(frozen=True)
class Stretches:
    """A set of numbers of blocks, which takes memory for its stretches only.

    Attributes:
        starts: First number of each stretch, ascending.
        stops: The number after its last.
    """

    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, marks: NDArray[np.bool_]) -> Stretches:
        """Return the numbers whose mark is set; none if they are scattered so much that their text would be long."""
        edges = np.flatnonzero(np.diff(marks, prepend=False, append=False))
        found = cls(edges[::2].tolist(), edges[1::2].tolist())
        return found if len(found.starts) * 2 * (len(str(len(marks))) + 1) <= _MAX_TEXT else cls()

    @classmethod
    def parse(cls, text: object) -> Stretches:
        """Return what `str` made of stretches; none of anything else."""
        if not isinstance(text, str) or not text:
            return cls()
        try:
            pairs = [each.partition("-") for each in text.split(",")]
            starts, stops = [int(first) for first, _, _ in pairs], [int(last or first) + 1 for first, _, last in pairs]
        except ValueError:
            return cls()
        edges = [edge for pair in zip(starts, stops, strict=True) for edge in pair]
        return cls(starts, stops) if edges == sorted(set(edges)) and starts[0] >= 0 else cls()

    def __str__(self) -> str:
        return ",".join(shown(map(range, self.starts, self.stops)))

    def __contains__(self, index: int) -> bool:
        place = bisect_right(self.starts, index) - 1
        return place >= 0 and index < self.stops[place]

    def __len__(self) -> int:
        return sum(self.stops) - sum(self.starts)

    def __iter__(self) -> Iterator[int]:
        for start, stop in zip(self.starts, self.stops, strict=True):
            yield from range(start, stop)


def gaps(indices: Iterable[int], total: int) -> Iterator[range]:
    """Yield the stretches of [0, total) that have none of these ascending indices."""
    first = 0
    for index in indices:
        if index > first:
            yield range(first, index)
        first = index + 1
    if total > first:
        yield range(first, total)


def shown(ranges: Iterable[range]) -> Iterator[str]:
    """Yield ranges as text: "7", "4-7"."""
    return (f"{each[0]}-{each[-1]}" if len(each) > 1 else str(each[0]) for each in ranges)
