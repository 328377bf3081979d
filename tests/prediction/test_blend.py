"""Laws of the blend: windows that agree come back bit for bit, in any mode, for any area."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.config import Blend
from geoseg.grid import Grid, Span, Window
from geoseg.prediction.blend import blend_windows, ramp

MODES: tuple[Blend, ...] = get_args(Blend)
modes = st.sampled_from(MODES)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Grid, Window, int, int]:
    """A grid, an area within its scene, a stride, and a seed."""
    stride = draw(st.sampled_from([1, 2, 4]))
    tile = draw(st.integers(1, 12))
    overlap = draw(st.integers(0, tile // 2))
    rows, cols = (draw(st.integers(1, 30 * stride)) for _ in range(2))
    grid = Grid((rows, cols), tile * stride, overlap * stride)
    row, col = draw(st.integers(0, rows - 1)), draw(st.integers(0, cols - 1))
    area = Window.of(row, col, draw(st.integers(1, rows - row)), draw(st.integers(1, cols - col)))
    return grid, area, stride, draw(st.integers(0, 1000))


def cells(window: Window, stride: int) -> Window:
    """The cells that the pixels of `window` touch."""
    return Window(*(Span(s.start // stride, -(-s.stop // stride)) for s in (window.rows, window.cols)))


def disagreeing(grid: Grid, stride: int, seed: int) -> dict[tuple[int, int], NDArray[np.float32]]:
    """A random field for every window of the grid, each unlike its neighbours."""
    random = np.random.default_rng(seed)
    return {
        position: random.uniform(-1, 1, size=(*cells(grid.window(position), stride).shape, 2)).astype(np.float32)
        for position in grid.windows_touching(grid.extent)
    }


@given(cases(), modes)
def test_law_3_identity_comes_back_bit_for_bit(case: tuple[Grid, Window, int, int], mode: Blend) -> None:
    grid, area, stride, seed = case
    whole = cells(grid.extent, stride)
    truth = np.random.default_rng(seed).normal(0, 100, size=(*whole.shape, 2)).astype(np.float32)
    field, covered = blend_windows(
        grid, area, stride, mode, lambda position: truth[cells(grid.window(position), stride).within(whole)]
    )
    assert covered == cells(area, stride)
    assert field.dtype == np.float32
    assert np.array_equal(field, truth[covered.within(whole)])


@given(cases(), modes)
def test_every_window_that_touches_the_area_is_asked_for_once_in_raster_order(
    case: tuple[Grid, Window, int, int], mode: Blend
) -> None:
    grid, area, stride, seed = case
    fields = disagreeing(grid, stride, seed)
    asked = []

    def logits(position: tuple[int, int]) -> NDArray[np.float32]:
        asked.append(position)
        return fields[position]

    blend_windows(grid, area, stride, mode, logits)
    assert asked == grid.windows_touching(area)


@given(cases(), modes)
def test_blend_of_an_area_is_the_cut_of_the_whole(case: tuple[Grid, Window, int, int], mode: Blend) -> None:
    grid, area, stride, seed = case
    fields = disagreeing(grid, stride, seed)
    whole, everywhere = blend_windows(grid, grid.extent, stride, mode, fields.__getitem__)
    part, covered = blend_windows(grid, area, stride, mode, fields.__getitem__)
    assert np.array_equal(part, whole[covered.within(everywhere)])


@given(cases(), modes)
def test_blend_is_the_mean_weighted_by_separable_ramps(case: tuple[Grid, Window, int, int], mode: Blend) -> None:
    grid, _, stride, seed = case
    fields = disagreeing(grid, stride, seed)
    whole = cells(grid.extent, stride)
    total, weight = np.zeros((*whole.shape, 2)), np.zeros(whole.shape)
    rows = _weights([cells(Window(span, span), stride).rows for span in grid.row_spans], mode)
    cols = _weights([cells(Window(span, span), stride).rows for span in grid.col_spans], mode)
    for position, field in fields.items():
        own = rows[position[0]][:, None] * cols[position[1]][None, :]
        at = cells(grid.window(position), stride).within(whole)
        total[at] += own[..., None] * field
        weight[at] += own
    assert np.abs(weight - 1).max() < 1e-6
    blended, _ = blend_windows(grid, grid.extent, stride, mode, fields.__getitem__)
    assert np.abs(blended - total / weight[..., None]).max() < 1e-5


@settings(max_examples=50)
@given(st.integers(0, 300), modes)
def test_ramp_rises_and_is_symmetric(length: int, mode: Blend) -> None:
    t = ramp(length, mode).astype(np.float64)
    assert t.shape == (length,)
    assert ((t >= 0) & (t <= 1)).all()
    assert (np.diff(t) >= 0).all()
    if mode != "crop" or length % 2 == 0:
        assert np.abs(t + t[::-1] - 1).max(initial=0) < 1e-6


def test_the_modes_differ_where_windows_disagree() -> None:
    grid = Grid((8, 24), 16, 8)
    fields = {(0, 0): np.zeros((8, 16, 1), np.float32), (0, 1): np.ones((8, 16, 1), np.float32)}
    found = {mode: blend_windows(grid, grid.extent, 1, mode, fields.__getitem__)[0][0, :, 0] for mode in MODES}
    for mode in MODES:
        assert (found[mode][:8] == 0).all()
        assert (found[mode][16:] == 1).all()
    assert found["crop"][8:16].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found["linear"][8:16] == pytest.approx((np.arange(8) + 0.5) / 8)
    assert found["hann"][8:16] == pytest.approx(np.sin(np.pi / 2 * (np.arange(8) + 0.5) / 8) ** 2)


def _weights(spans: list[Span], mode: Blend) -> list[NDArray[np.float64]]:
    """Each span's share of its own cells: rising over the overlap before it, falling over the one after it."""
    found = []
    for i, span in enumerate(spans):
        share = np.ones(len(span))
        if i:
            shared = spans[i - 1].intersect(span)
            share[shared.within(span)] *= ramp(len(shared), mode)
        if i + 1 < len(spans):
            shared = span.intersect(spans[i + 1])
            share[shared.within(span)] *= 1 - ramp(len(shared), mode).astype(np.float64)
        found.append(share)
    return found
