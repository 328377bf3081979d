"""Which blocks of a run make a shard.

Neighbouring blocks need the same windows of the network. A shard that is as wide as high has the fewest neighbours in
other shards, and so the fewest windows are computed twice. Therefore the blocks are numbered along bands of several
rows, column by column, and a shard is a stretch of these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator


def band_height(blocks: float) -> int:
    """Return the number of block rows in a band, for shards of that many blocks."""
    return max(1, round(math.sqrt(blocks)))


def share(stretch: range, total: int, columns: int, band: int) -> list[int]:
    """Return the indices of the blocks of a shard, in ascending order.

    Args:
        stretch: Numbers along the bands, within [0, total).
        total: Number of blocks.
        columns: Number of blocks in a row. Blocks after the last full row, such as those of a margin, come at the end.
        band: Rows in a band, as `band_height` says.
    """
    rows = total // columns
    return sorted(_index(number, rows, columns, band) for number in stretch)


def along_bands(total: int, columns: int, band: int) -> Iterator[int]:
    """Yield the indices of all blocks in the order of their numbers along the bands; see `share`."""
    rows = total // columns
    return (_index(number, rows, columns, band) for number in range(total))


def _index(number: int, rows: int, columns: int, band: int) -> int:
    """The index in raster order of a block, from its number along the bands."""
    if number >= rows * columns:
        return number
    first = number // (band * columns) * band
    column, row = divmod(number - first * columns, min(band, rows - first))
    return (first + row) * columns + column
