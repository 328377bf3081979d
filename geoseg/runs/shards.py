"""Which blocks of a run make a shard.

Neighbouring blocks need the same windows of the network. A shard that is as wide as high has the fewest neighbours in
other shards, and so the fewest windows are computed twice. Therefore the blocks are numbered along bands of several
rows, column by column, and a shard is a stretch of these numbers. All shards have the same number of pixels, as far as
blocks are whole: those of the last row and column are smaller than others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Shard
from geoseg.grid import Block


@dataclass(frozen=True)
class Layout:
    """How the blocks of a run lie: a grid, and possibly more blocks, such as those of a margin, with higher numbers.

    Attributes:
        total: Number of blocks.
        rows, columns: Of the grid, in blocks.
        bottom: Height of its last row, of that of the others, in (0, 1].
        right: Width of its last column, likewise.
    """

    total: int
    rows: int
    columns: int
    bottom: float = 1.0
    right: float = 1.0

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Layout:
        """Return the layout of all blocks of a run, which are in raster order."""
        first = blocks[0].window
        columns = sum(1 for _ in takewhile(lambda block: block.window.rows == first.rows, blocks))
        rows, below = 1, first.rows
        # Below a row that is cut off, only other blocks can follow.
        while rows * columns < len(blocks) and len(below) == len(first.rows):
            following = blocks[rows * columns].window.rows
            if following.start != below.stop:
                break
            rows, below = rows + 1, following
        last = blocks[rows * columns - 1].window
        bottom, right = (len(a) / len(b) for a, b in ((last.rows, first.rows), (last.cols, first.cols)))
        return cls(len(blocks), rows, columns, bottom, right)

    @classmethod
    def from_json(cls, content: Any, total: int) -> Layout:
        """Return the layout that `to_json` returned; one row of equal blocks in place of anything else.

        Which shard a block belongs to decides no pixel.
        """
        try:
            rows, columns, bottom, right = (content[name] for name in ("rows", "columns", "bottom", "right"))
            if rows >= 1 and columns >= 1 and rows * columns <= total and 0 < bottom <= 1 and 0 < right <= 1:
                return cls(total, int(rows), int(columns), float(bottom), float(right))
        except (KeyError, TypeError, ValueError, OverflowError):
            pass
        return cls(total, 1, total)

    def to_json(self) -> Mapping[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def order(self, shards: float) -> NDArray[np.int64]:
        """Return the indices of all blocks, (total,), in the order of their numbers along bands for so many shards."""
        # Bands of equal height, about that of a square shard.
        side = math.sqrt(self.total / shards)
        band = -(-self.rows // max(1, round(self.rows / max(1.0, side))))
        numbers = np.arange(self.rows * self.columns)
        first = numbers // (band * self.columns) * band
        columns, rows = np.divmod(numbers - first * self.columns, np.minimum(band, self.rows - first))
        rest = np.arange(self.rows * self.columns, self.total)
        return np.concatenate([(first + rows) * self.columns + columns, rest])

    def share(self, shard: Shard) -> list[int]:
        """Return the indices of the blocks of a shard, in ascending order."""
        order = self.order(shard.count)
        areas = np.ones(self.total)
        grid = areas[: self.rows * self.columns].reshape(self.rows, self.columns)
        grid[-1] *= self.bottom
        grid[:, -1] *= self.right
        sizes = areas[order]
        # A block belongs to the shard in which its middle lies.
        middles = np.cumsum(sizes) - sizes / 2
        begin, end = np.searchsorted(middles, sizes.sum() * np.array([shard.number - 1, shard.number]) / shard.count)
        return sorted(order[begin:end].tolist())
