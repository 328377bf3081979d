"""The plan of a prediction is arithmetic: it says of any number of blocks what a list of them would say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Grid, Span, Window
from geoseg.location import Remote
from geoseg.prediction.memo import Logits, WindowMemo
from geoseg.prediction.plan import Plan, plan
from geoseg.recipes import STRIDE, SuperpixelConfig
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
    memo = WindowMemo(todo, max_bytes=4 * fits, blocks=chosen, far_bytes=4 * fits)
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
    kept = Logits.of(field)
    assert kept.nbytes == field.nbytes // (1 + halved)
    back = kept[0:3]
    assert np.array_equal(back.view(np.uint32), field.view(np.uint32))
    some = kept.only(Span(1, 3), Span(0, 3)).only(Span(0, 2), Span(2, 9))
    assert some.nbytes == kept.nbytes // 12
    assert np.array_equal(some[1:3][:1, 2:3].view(np.uint32), field[1:2, 2:3].view(np.uint32))


@pytest.mark.parametrize("strip", [96, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (50, 9)])
def test_the_memo_has_what_a_block_needs_of_a_window_and_less_and_less_of_it(
    tile: int, overlap: int, strip: int
) -> None:
    grid = Grid((205, 310), tile, overlap)
    settings, extent = SuperpixelConfig(size=4, iterations=1), Window.of(10, 3, 190, 300)
    todo = plan(grid, settings, extent, 48, extent.expand(8, grid.extent), strip=strip)
    memo, sizes = WindowMemo(todo), dict[_Position, int]()
    rows, cols = (np.arange(length, dtype=np.float32) for length in todo.grid.shape)
    field = np.stack(np.broadcast_arrays(rows[::STRIDE, None], cols[::STRIDE]), axis=-1)
    for block in Ranked(todo.blocks):
        pooled = _cells(todo.pooled(block))
        for position in todo.windows(block):
            window = _cells(todo.grid.window(position))
            if position not in memo:
                memo.put(position, Logits.of(np.ascontiguousarray(field[window.within(_cells(todo.grid.extent))])))
                sizes.pop(position, None)
            kept, part = memo.get(position)[0 : len(window.rows)], pooled.intersect(window)
            assert kept.shape[:2] == window.shape
            assert np.array_equal(kept[part.within(window)], field[part.within(_cells(todo.grid.extent))])
            assert memo.get(position).nbytes <= sizes.get(position, 1 << 30)
            sizes[position] = memo.get(position).nbytes
        memo.release(block)
    assert min(sizes.values()) < max(sizes.values()) / 2


def _cells(pixels: Window) -> Window:
    """The cells of the logits of some pixels."""
    return Window(*(Span(span.start // STRIDE, -(-span.stop // STRIDE)) for span in (pixels.rows, pixels.cols)))


def test_law_7_what_is_kept_for_the_next_strip_does_not_grow_with_the_height() -> None:
    most = []
    for rows in (512, 2048):
        grid = Grid((rows, 1024), 64, 8)
        todo = plan(grid, SuperpixelConfig(size=4, iterations=1), grid.extent, 128, strip=512)
        memo, kept = WindowMemo(todo, far_bytes=4 * 6 * 1024), list[int]()
        for block in Ranked(todo.blocks):
            for position in todo.windows(block):
                if position not in memo:
                    memo.put(position, Logits(np.zeros((16, 16, 12), np.uint16)))
            memo.release(block)
            found = [(i, j) for i in range(len(grid.row_spans)) for j in range(len(grid.col_spans))]
            kept.append(sum(memo.get(position).nbytes for position in found if position in memo))
        most.append(max(kept))
    assert most[1] <= 1.1 * most[0]


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
