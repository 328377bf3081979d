"""Shards partition the blocks, and are as wide as high."""

from __future__ import annotations

import pytest

from geoseg.config import Shard
from geoseg.runs.shards import along_bands, band_height, share


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize(
    ("rows", "columns", "more"), [(1, 1, 0), (1, 9, 0), (9, 1, 0), (6, 5, 0), (7, 11, 4), (20, 3, 1)]
)
def test_shards_partition_the_blocks(rows: int, columns: int, more: int, count: int) -> None:
    total = rows * columns + more * (more < columns)
    parts = [
        share(Shard(number, count).stretch(total), total, columns, band_height(total / count))
        for number in range(1, count + 1)
    ]
    assert sorted(index for part in parts for index in part) == list(range(total))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_of_a_wide_raster_is_a_square() -> None:
    part = share(Shard(6, 25).stretch(900), 900, 30, band_height(900 / 25))
    assert part == [row * 30 + column for row in range(6, 12) for column in range(6)]


def test_a_shard_of_all_is_all() -> None:
    assert share(range(900), 900, 30, band_height(900)) == list(range(900))


def test_all_blocks_along_bands_are_those_of_one_share() -> None:
    for total, columns, band in ((1, 1, 1), (12, 4, 2), (35, 7, 3), (38, 7, 3)):
        order = list(along_bands(total, columns, band))
        assert sorted(order) == list(range(total))
        for stretch in (range(0, total // 2), range(total // 2, total)):
            assert sorted(order[stretch.start : stretch.stop]) == share(stretch, total, columns, band)
