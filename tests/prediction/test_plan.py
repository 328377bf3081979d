"""The plan of a prediction is arithmetic: it says of any number of blocks what a list of them would say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Grid, Span, Window
from geoseg.location import Remote
from geoseg.prediction.memo import Halves, WindowMemo
from geoseg.prediction.plan import Plan, plan
from geoseg.recipes import SuperpixelConfig
from geoseg.runs.ranked import Ranked

_Position = tuple[int, int]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of small scenes, with and without a margin around the extent and rounds of smoothing."""
    shape = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    tile = draw(st.integers(1, 30))
    grid = Grid(shape, tile, draw(st.integers(0, tile // 2)))
    spans = [_within(draw, Span(0, length)) for length in shape]
    extent = Window(*spans)
    around = extent.expand(draw(st.integers(0, 12)), grid.extent) if draw(st.booleans()) else None
    size = SuperpixelConfig(size=draw(st.integers(4, 6)), iterations=1)
    strip = draw(st.integers(1, 60))
    return plan(grid, size, extent, draw(st.integers(3, 40)), around, draw(st.integers(0, 1)), strip=strip)


def _within(draw: st.DrawFn, outer: Span) -> Span:
    start = draw(st.integers(outer.start, outer.stop - 1))
    return Span(start, draw(st.integers(start + 1, outer.stop)))


@given(plans())
def test_blocks_partition_what_is_computed_the_extent_first(todo: Plan) -> None:
    times = np.zeros(todo.grid.shape, np.int64)
    for number, block in enumerate(todo.blocks):
        times[block.window.within(todo.grid.extent)] += 1
        assert block.index == number
        assert (block.window.intersect(todo.extent) == block.window) == (number < todo.written)
    hull = todo.blocks.hull.within(todo.grid.extent)
    assert times[hull].min() == times[hull].max() == 1
    assert times.sum() == times[hull].size


@given(plans())
def test_windows_are_counted_once_each(todo: Plan) -> None:
    assert todo.window_count == len({position for block in todo.blocks for position in todo.windows(block)})


@given(plans(), st.data())
@settings(max_examples=60)
def test_the_memo_drops_a_window_after_the_last_block_that_needs_it(todo: Plan, data: st.DataObject) -> None:
    chosen = data.draw(st.none() | st.sets(st.integers(0, len(todo.blocks) - 1)).map(sorted))
    blocks = list(Ranked(todo.blocks, chosen))
    fits = data.draw(st.integers(0, 9))
    memo = WindowMemo(todo, max_bytes=4 * fits, blocks=chosen)
    kept: list[_Position] = []
    last = {position: todo.blocks.rank(block.index) for block in blocks for position in todo.windows(block)}
    for block in blocks:
        for position in todo.windows(block):
            memo.put(position, np.zeros((1, 1, 1), np.float32))
        memo.release(block)
        kept = _kept([*kept, *todo.windows(block)], last, todo.blocks.rank(block.index), fits)
        found = [(i, j) for i in range(len(todo.grid.row_spans)) for j in range(len(todo.grid.col_spans))]
        assert [position for position in found if position in memo] == sorted(kept)


def _kept(positions: Sequence[_Position], last: dict[_Position, int], rank: int, fits: int) -> list[_Position]:
    """What a list of all blocks says that a memo for `fits` windows keeps after a block: those needed soonest."""
    needed = {position for position in positions if last[position] > rank}
    return sorted(needed, key=lambda position: (-last[position], position))[max(0, len(needed) - fits) :]


def test_a_plan_of_a_million_blocks_is_made_without_making_them() -> None:
    grid = Grid((1_024_000, 1_024_000), 1024, 128)
    todo = plan(grid, SuperpixelConfig(), grid.extent, 1024)
    assert (len(todo.blocks), todo.written) == (1_000_000, 1_000_000)
    assert todo.window_count == 1143**2
    assert todo.blocks[999_999].window == Window.of(1_022_976, 1_022_976, 1024, 1024)
    assert todo.blocks[-1] in todo.blocks[500_000:]
    assert todo.blocks[0] not in todo.blocks[500_000:]


@given(st.integers(0, 1 << 30), st.booleans())
def test_logits_of_half_the_bits_take_half_the_memory_and_come_back_exactly(seed: int, halved: bool) -> None:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, (3, 4, 5), np.uint32)
    bits[0, 0, 0] |= 1
    field = (bits & (0xFFFF0000 if halved else 0xFFFFFFFF)).astype(np.uint32).view(np.float32)
    kept = Halves.of(field)
    assert isinstance(kept, Halves) == halved
    assert kept.nbytes == field.nbytes // (1 + halved)
    back = kept[0:3]
    assert np.array_equal(back.view(np.uint32), field.view(np.uint32))


def test_law_7_what_is_kept_for_the_next_row_of_blocks_does_not_grow_with_the_width() -> None:
    most = []
    for cols in (2048, 16_384):
        grid = Grid((1000, cols), 64, 8)
        todo = plan(grid, SuperpixelConfig(size=4, iterations=1), grid.extent, 128, strip=512)
        memo, kept = WindowMemo(todo), set[_Position]()
        counts = []
        for block in Ranked(todo.blocks):
            for position in todo.windows(block):
                memo.put(position, np.zeros((1, 1, 1), np.float32))
                kept.add(position)
            memo.release(block)
            kept = {position for position in kept if position in memo}
            counts.append(len(kept))
        most.append(max(counts))
        assert todo.cached_cols(Path("scene.tif")) == 128 + 2 * todo.halo
        assert todo.cached_cols(Remote("https://host/scene.tif")) == 512 + 2 * todo.halo
    # How the lattice of windows lies on the edges of strips makes a difference of a few.
    assert most[1] <= 1.1 * most[0]
