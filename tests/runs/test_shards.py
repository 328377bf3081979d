"""Shards partition the blocks, have equally many pixels, and are as wide as high."""

from __future__ import annotations

import json
from typing import Any

import pytest

from geoseg.config import Shard
from geoseg.grid import Partition, Window
from geoseg.runs.shards import Layout


def shards(layout: Layout, count: int) -> list[list[int]]:
    """The blocks of each of so many shards."""
    return [layout.share(Shard(number, count)) for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize(
    ("rows", "columns", "more"), [(1, 1, 0), (1, 9, 0), (9, 1, 0), (6, 5, 0), (7, 11, 4), (20, 3, 50), (1, 1, 3)]
)
def test_shards_partition_the_blocks(rows: int, columns: int, more: int, count: int) -> None:
    layout = Layout(rows * columns + more, rows, columns)
    parts = shards(layout, count)
    assert sorted(index for part in parts for index in part) == list(range(layout.total))
    assert sorted(layout.order(count).tolist()) == list(range(layout.total))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shards_have_equally_many_pixels(count: int) -> None:
    blocks = Partition([Window.of(3, 5, 10820, 19024)], 2048)
    parts = shards(Layout.of(blocks), count)
    pixels = [sum(blocks[index].window.pixels for index in part) for part in parts]
    assert sum(pixels) == 10820 * 19024
    assert max(pixels) - min(pixels) <= 2048**2


def test_a_shard_of_a_wide_raster_is_a_square() -> None:
    assert shards(Layout(900, 30, 30), 25)[5] == [row * 30 + column for row in range(6, 12) for column in range(6)]


def test_bands_are_equally_high() -> None:
    # Not one of five rows and one of a single row.
    assert shards(Layout(60, 6, 10), 2)[0] == [row * 10 + column for row in range(6) for column in range(5)]


def test_a_layout_is_that_of_the_blocks() -> None:
    extent, margin = Window.of(0, 0, 1100, 1300), Window.of(1100, 0, 64, 1300)
    found = Layout.of(Partition([extent, margin], 512))
    assert found == Layout(12, 3, 3, 76 / 512, 276 / 512)
    assert Layout.of(Partition([extent], 2048)) == Layout(1, 1, 1)
    assert Layout.from_json(json.loads(json.dumps(found.to_json())), 12) == found


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {"rows": 3}, {"rows": 0, "columns": 1, "bottom": 1, "right": 1},
        {"rows": 9, "columns": 9, "bottom": 1, "right": 1}, {"rows": 1, "columns": 1, "bottom": 0, "right": 1},
        {"rows": "1", "columns": 1, "bottom": 1, "right": 1}, {"rows": 1, "columns": 1, "bottom": [], "right": 1},
    ],
)  # fmt: skip
def test_a_layout_that_is_none_is_one_row(content: Any) -> None:
    assert Layout.from_json(content, 12) == Layout(12, 1, 12)
