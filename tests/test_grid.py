"""Laws of the pixel geometry: windows cover, blocks partition, everything is half-open and integer."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid import Block, Grid, Partition, Span, Window, lattice, partition, touching

tilings = st.integers(1, 40).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile // 2)))
spans = st.tuples(st.integers(-30, 30), st.integers(0, 30)).map(lambda s: Span(s[0], s[0] + s[1]))
windows = st.builds(Window, spans, spans)
small_windows = st.builds(Window.of, *[st.integers(0, 4)] * 2, *[st.integers(1, 9)] * 2)


@given(st.integers(1, 400), tilings)
def test_lattice_covers_and_no_pixel_has_more_than_two_spans(length: int, tiling: tuple[int, int]) -> None:
    tile, overlap = tiling
    times = np.zeros(length, dtype=int)
    for span in lattice(length, tile, overlap):
        times[span.start : span.stop] += 1
    assert times.min() >= 1
    assert times.max() <= 2


@given(st.integers(1, 400), tilings)
def test_last_span_of_a_lattice_is_longer_than_the_overlap(length: int, tiling: tuple[int, int]) -> None:
    tile, overlap = tiling
    found = lattice(length, tile, overlap)
    assert found[-1].stop == length
    assert [span.start for span in found] == [i * (tile - overlap) for i in range(len(found))]
    assert all(len(span) == tile for span in found[:-1])
    assert len(found) == 1 or len(found[-1]) > overlap


@given(st.integers(1, 400), st.integers(1, 400), tilings)
def test_lattice_is_anchored_so_a_longer_scene_only_adds_spans(one: int, two: int, tiling: tuple[int, int]) -> None:
    short, long = (lattice(length, *tiling) for length in sorted((one, two)))
    assert long[: len(short) - 1] == short[:-1]


@given(st.integers(1, 200), tilings, spans)
def test_touching_spans_are_those_that_share_a_pixel(length: int, tiling: tuple[int, int], span: Span) -> None:
    found = lattice(length, *tiling)
    shared = [i for i, candidate in enumerate(found) if set(_pixels(candidate)) & set(_pixels(span))]
    assert list(touching(found, span)) == shared


@given(windows, st.integers(1, 17))
def test_law_1_blocks_partition_the_extent_in_raster_order(extent: Window, block_size: int) -> None:
    blocks = list(partition(extent, block_size))
    times = np.zeros(extent.shape, dtype=int)
    for block in blocks:
        assert block.window.pixels > 0
        assert block.window.intersect(extent) == block.window
        assert max(block.window.shape) <= block_size
        times[block.window.within(extent)] += 1
    assert (times == 1).all()
    assert [block.index for block in blocks] == list(range(len(blocks)))
    firsts = [(block.window.rows.start, block.window.cols.start) for block in blocks]
    assert firsts == sorted(firsts)


@given(st.lists(windows, max_size=3), st.integers(1, 17), st.slices(30))
def test_a_partition_is_the_sequence_of_its_blocks(pieces: list[Window], size: int, cut: slice) -> None:
    made = Partition(pieces, size)
    listed = [block.window for piece in pieces for block in partition(piece, size)]
    blocks = [Block(index, window) for index, window in enumerate(listed)]
    assert (list(made), len(made)) == (blocks, len(blocks))
    assert list(made[cut]) == [made[i] for i in range(len(made))[cut]] == blocks[cut]
    assert made[cut] == Partition(pieces, size)[cut]
    assert [block in made[cut] for block in blocks] == [block in blocks[cut] for block in blocks]
    assert all(rows <= made.block_shape[0] and cols <= made.block_shape[1] for rows, cols in map(_shape, blocks))


small_partitions = st.builds(
    Partition, st.lists(small_windows, min_size=1, max_size=2), st.integers(1, 3), strip=st.none() | st.integers(1, 12)
)


@given(small_partitions, small_windows)
def test_the_blocks_that_touch_an_area(made: Partition, area: Window) -> None:
    expected = sorted(made.rank(block.index) for block in made if block.window.intersect(area).pixels)
    assert made.ranks_touching(area) == expected


@given(small_partitions)
def test_ranks_go_through_strips_of_columns_from_left_to_right(made: Partition) -> None:
    order = [made.at_rank(rank) for rank in range(len(made))]
    assert sorted(block.index for block in order) == list(range(len(made)))
    assert [made.rank(block.index) for block in order] == list(range(len(made)))
    for window in made.windows:
        alone = partition(window, made.block_size, made.strip)
        inside = [alone.at_rank(rank).window for rank in range(len(alone))]
        assert inside == [block.window for block in order][: len(inside)]
        order = order[len(inside) :]
        strips = [[inside[0]]]
        for before, after in pairwise(inside):
            if after.rows.start < before.rows.start:
                strips.append([])
            strips[-1].append(after)
        edges = [(min(each.cols.start for each in strip), max(each.cols.stop for each in strip)) for strip in strips]
        assert [*(start for start, _ in edges), window.cols.stop] == [window.cols.start, *(stop for _, stop in edges)]
        if len(window.rows) > made.block_size:  # The strips of a single row of blocks cannot be told apart.
            assert all(stop - start <= max(made.strip or stop, made.block_size) for start, stop in edges)
            assert all(stop - start <= made.strip_cols for start, stop in edges)
        assert all(sorted(strip) == strip for strip in strips)


@given(windows, st.integers(0, 20), st.integers(1, 16), windows)
def test_expand_grows_to_multiples_and_stays_within(window: Window, margin: int, multiple: int, more: Window) -> None:
    within = Window(_hull(window.rows, more.rows), _hull(window.cols, more.cols))
    grown = window.expand(margin, within, multiple)
    for inner, outer, limit in ((window.rows, grown.rows, within.rows), (window.cols, grown.cols, within.cols)):
        assert limit.start <= outer.start <= max(limit.start, inner.start - margin)
        assert limit.stop >= outer.stop >= min(limit.stop, inner.stop + margin)
        assert outer.start == limit.start or outer.start % multiple == 0
        assert outer.stop == limit.stop or outer.stop % multiple == 0
        assert inner.start - margin - outer.start < multiple
        assert outer.stop - inner.stop - margin < multiple


@given(windows, windows)
def test_intersection_is_the_common_pixels(one: Window, two: Window) -> None:
    common = one.intersect(two)
    assert set(_pixels(common.rows)) == set(_pixels(one.rows)) & set(_pixels(two.rows))
    assert set(_pixels(common.cols)) == set(_pixels(one.cols)) & set(_pixels(two.cols))
    assert common.pixels == common.shape[0] * common.shape[1]


@given(windows, windows)
def test_a_cut_of_a_cut_is_the_cut(outer: Window, other: Window) -> None:
    inner = outer.intersect(other)
    if not inner.pixels:
        return
    rows, cols = np.mgrid[outer.rows.start : outer.rows.stop, outer.cols.start : outer.cols.stop]
    cut = inner.within(outer)
    assert rows[cut][0, 0] == inner.rows.start
    assert cols[cut][-1, -1] == inner.cols.stop - 1
    assert rows[cut].shape == inner.shape


@given(st.integers(1, 150), st.integers(1, 150), tilings, windows)
def test_law_1_windows_touching_an_area_cover_it(rows: int, cols: int, tiling: tuple[int, int], area: Window) -> None:
    grid = Grid((rows, cols), *tiling)
    positions = grid.windows_touching(area)
    assert positions == sorted(positions)
    covered = np.zeros((rows, cols), dtype=bool)
    for position in positions:
        window = grid.window(position)
        assert window.intersect(area).pixels or not area.pixels
        covered[window.within(grid.extent)] = True
    assert covered[area.intersect(grid.extent).within(grid.extent)].all()


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot end at 2 before it starts at 3"):
        Span(3, 2)


@pytest.mark.parametrize("overlap", [-1, 33])
def test_an_overlap_beyond_half_a_tile_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap {overlap}"):
        Grid((10, 10), 64, overlap)


def _shape(block: Block) -> tuple[int, int]:
    return block.window.shape


def _pixels(span: Span) -> range:
    return range(span.start, span.stop)


def _hull(one: Span, two: Span) -> Span:
    return Span(min(one.start, two.start), max(one.stop, two.stop))
