"""The parts of a run that are there, without a list of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geoseg.grid import Block
from geoseg.runs.store import Store

RASTER_PART, VECTOR_PART = ".tif", ".arrow"
"""Suffixes of parts: a raster, and polygons as an Arrow IPC stream."""


def part_name(index: int, layer: str, suffix: str = RASTER_PART) -> str:
    """Return the name of one layer of a part."""
    return f"part-{index:06d}-{layer}{suffix}"


class Parts:
    """The parts of one layer: an iterable of (block, path), in the order of the blocks, each time it is iterated.

    The names in the run are listed once. What is kept of them is a byte for each block.

    Args:
        store: Where the run is kept.
        layer: The layer.
        blocks: The blocks, in the order of their numbers. Those that are all nodata have no part.
        suffix: Of the parts' names.
    """

    def __init__(self, store: Store, layer: str, blocks: Sequence[Block], suffix: str = RASTER_PART) -> None:
        self._store, self._layer, self._blocks, self._suffix = store, layer, blocks, suffix
        self._found = bytearray(blocks[-1].index + 1 if blocks else 0)
        head, tail = "part-", f"-{layer}{suffix}"
        for name in store.names(head):
            number = name[len(head) : -len(tail)]
            if name.endswith(tail) and number.isdecimal() and int(number) < len(self._found):
                self._found[int(number)] = 1

    def __iter__(self) -> Iterator[tuple[Block, Path]]:
        for block in self._blocks:
            if self._found[block.index]:
                yield block, self._store.local(part_name(block.index, self._layer, self._suffix))
