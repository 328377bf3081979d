"""Laws of band statistics: those of numpy over all valid pixels, whatever lies under the invalid ones."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.rasters import make_raster
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import BandError, InputError
from geoseg.raster.bit_patterns import LIMIT, BitCounts, Percentiles
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats, band_stats

Measure = Callable[..., BandStats]


@pytest.fixture
def measure(tmp_path: Path) -> Measure:
    """Return the statistics of pixel arrays (bands, rows, cols), each written to a raster of its own."""

    def write(*arrays: NDArray[Any], block_size: int = 2048, **profile: Any) -> BandStats:
        with ExitStack() as stack:
            scenes = []
            for pixels in arrays:
                path = make_raster(tmp_path / f"{len(list(tmp_path.iterdir()))}.tif", pixels, **profile)
                scenes.append(stack.enter_context(Scene(path)))
            return band_stats(scenes, block_size)

    return write


def numbers(dtype: str, seed: int = 0, shape: tuple[int, int, int] = (2, 70, 90)) -> NDArray[Any]:
    """Skewed values over a good part of the type's range."""
    random = np.random.default_rng(seed)
    values = random.gamma(2.0, size=shape) / 10
    low, span = {"uint8": (3, 80), "uint16": (5, 9000), "int16": (-9000, 9000), "int32": (-(10**6), 10**6)}.get(
        dtype, (-0.5, 3.0)
    )
    return np.clip(low + values * span, -3e6, 250 if dtype == "uint8" else 3e6).astype(dtype)


def check(stats: BandStats, chosen: NDArray[Any], resolution: NDArray[Any]) -> None:
    """`stats` are those of the values (bands, pixels); mean and deviation as far as `resolution` can tell."""
    chosen = chosen.astype(np.float64)
    assert stats.pixels == chosen.shape[1]
    for band, values in enumerate(chosen):
        slack = 1e-9 * np.abs(values).max() + resolution[band]
        assert stats.mean[band] == pytest.approx(values.mean(), abs=slack)
        assert stats.std[band] == pytest.approx(values.std(), abs=slack)
        for edge, share in ((stats.low[band], 0.02), (stats.high[band], 0.98)):
            assert edge in values.astype(np.float32)
            assert (values <= edge).mean() >= share - 1e-9
            assert (values < edge).mean() <= share + 1e-9


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("nodata", [False, True])
@pytest.mark.parametrize("block_size", [37, 2048])
def test_statistics_are_those_of_numpy(measure: Measure, dtype: str, nodata: bool, block_size: int) -> None:
    pixels = numbers(dtype)
    valid = np.ones(pixels.shape[1:], dtype=bool)
    if nodata:
        missing = np.random.default_rng(9).random(pixels.shape) < 0.2
        void = np.nan if dtype == "float32" else 0
        pixels[missing] = void
        # A pixel is valid where every band is, and a value may be nodata by chance.
        valid = ~(np.isnan(pixels) if dtype == "float32" else pixels == void).any(axis=0)
    stats = measure(pixels, block_size=block_size, nodata=(np.nan if dtype == "float32" else 0) if nodata else None)
    chosen = pixels[:, valid]
    exact = dtype in ("uint8", "int16", "uint16")
    check(stats, chosen, np.zeros(2) if exact else np.ptp(chosen.astype(float), axis=1) / 8192)


WIDE = ["int32", "uint32", "int64", "float32", "float64"]


def values_of(dtype: str, seed: int = 0) -> NDArray[Any]:
    """Values that any type with more than 16 bits can hold, (2, 60, 80)."""
    kind = np.dtype(dtype).kind
    return (numbers("float32", seed, (2, 60, 80)) * (100 if kind != "f" else 1) + (100 if kind == "u" else 0)).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", WIDE)
def test_one_pixel_owns_no_statistic(measure: Measure, dtype: str) -> None:
    pixels = values_of(dtype)
    clean = measure(pixels)
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    for extreme in (info.max, info.min):
        pixels[:, 7, 9] = extreme
        hot = measure(pixels)
        for name in ("mean", "std", "low", "high"):
            assert getattr(hot, name) == pytest.approx(getattr(clean, name), rel=0.03, abs=0.01 * clean.std[0])
        with np.errstate(all="raise"):
            normal = hot.normalise(pixels, np.ones(pixels.shape[1:], bool))
        assert np.abs(normal).max() < 30


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_a_few_saturated_pixels_own_no_moment(measure: Measure, dtype: str) -> None:
    pixels = (200 + numbers("float32", shape=(2, 90, 90)) * 100).astype(dtype)
    clean = measure(pixels)
    check(clean, pixels.reshape(2, -1), np.zeros(2))
    pixels[:, 0, :8] = np.iinfo(dtype).max
    hot = measure(pixels)
    assert hot.mean == pytest.approx(clean.mean, rel=0.02)
    assert hot.std == pytest.approx(clean.std, rel=0.15)


def test_bytes_count_as_they_are_however_far_off(measure: Measure) -> None:
    pixels = np.full((1, 100, 100), 20, np.uint8)
    pixels[:, ::2] = 22
    pixels[:, 0, :50] = 255
    check(measure(pixels), pixels.reshape(1, -1), np.zeros(1))


@pytest.mark.parametrize("dtype", WIDE)
def test_statistics_do_not_depend_on_the_size_of_blocks(measure: Measure, dtype: str) -> None:
    pixels = values_of(dtype, 3)
    assert measure(pixels, block_size=17) == measure(pixels, block_size=2048)


def test_a_band_of_almost_nothing_but_zeros_keeps_what_else_it_tells(measure: Measure) -> None:
    pixels = np.zeros((1, 100, 100), np.float32)
    pixels[0, 0, :80] = np.linspace(-5, 20, 80)
    stats = measure(pixels)
    assert stats.mean[0] == pytest.approx(pixels.mean(), abs=1e-3)
    assert stats.std[0] == pytest.approx(pixels.std(), abs=1e-3)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_percentiles_are_order_statistics_of_any_numbers(drawn: list[float]) -> None:
    pixels = np.array(drawn, np.float32)[None, None]
    valid = np.ones(pixels.shape[1:], bool)
    first = BitCounts(1)
    first.add(pixels, valid)
    second = Percentiles(first.counts, (0.02, 0.98))
    second.add(pixels, valid)
    ordered = np.sort(np.clip(pixels.ravel(), -LIMIT, LIMIT))
    expected = [ordered[max(0, int(np.ceil(share * len(drawn))) - 1)] for share in (0.02, 0.98)]
    assert second.values().tolist() == [expected]
    assert second.histogram.sum() == len(drawn)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_law_5_values_under_invalid_pixels_have_no_influence(measure: Measure, dtype: str) -> None:
    pixels = numbers(dtype)
    valid = np.random.default_rng(1).random(pixels.shape[1:]) < 0.7
    found = []
    for garbage in (0, 111):
        found.append(measure(np.where(valid, pixels, garbage).astype(dtype), mask=valid))
    assert found[0] == found[1]
    assert found[0].pixels == valid.sum()


def test_values_that_are_not_finite_have_no_influence(measure: Measure) -> None:
    found = []
    for garbage in (np.nan, np.inf, -np.inf):
        pixels = numbers("float32")
        pixels[1, 10:20, 10:30] = garbage
        found.append(measure(pixels))
    assert found[0] == found[1] == found[2]
    assert found[0].pixels == 70 * 90 - 10 * 20


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_order_of_scenes_is_irrelevant(measure: Measure, dtype: str) -> None:
    scenes = [numbers(dtype, seed, (2, 30 + 9 * seed, 40)) for seed in range(3)]
    forward, backward = measure(*scenes), measure(*scenes[::-1])
    for name in ("mean", "std", "low", "high"):
        assert getattr(forward, name) == pytest.approx(getattr(backward, name), rel=1e-12)


def test_scenes_of_different_integer_types_are_counted_together(measure: Measure) -> None:
    bytes_, shorts = numbers("uint8"), numbers("int16")
    check(measure(bytes_, shorts), np.concatenate([bytes_.reshape(2, -1), shorts.reshape(2, -1)], 1), np.zeros(2))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_a_constant_band_is_normalised_to_zero(measure: Measure, dtype: str) -> None:
    pixels = np.stack([np.full((20, 20), 7), np.arange(400).reshape(20, 20) % 50]).astype(dtype)
    stats = measure(pixels)
    assert stats.std[0] == 1.0
    assert stats.high[0] > stats.low[0]
    normal = stats.normalise(pixels, np.ones((20, 20), dtype=bool))
    assert np.abs(normal[0]).max() < 1
    assert np.ptp(normal[0]) == 0


def test_wide_integers_whose_bins_are_one_wide(measure: Measure) -> None:
    pixels = np.arange(65537, dtype=np.uint32)[None, None, ::16]
    check(measure(pixels.reshape(1, 1, -1)), pixels.reshape(1, -1), np.full(1, 8.0))


@pytest.mark.parametrize(("dtype", "void"), [("uint8", 0), ("float32", np.nan)])
def test_imagery_of_nothing_but_nodata_is_an_error(measure: Measure, dtype: str, void: float) -> None:
    with pytest.raises(InputError, match="no valid pixel"):
        measure(np.full((3, 20, 20), void, dtype=dtype), nodata=void)


def test_scenes_with_different_numbers_of_bands_are_named(measure: Measure) -> None:
    three, four = numbers("uint8", shape=(3, 20, 20)), numbers("uint8", shape=(4, 20, 20))
    with pytest.raises(BandError, match=r"2 with 3 \(such as 0\.tif\), 1 with 4 \(such as 1\.tif\).*--bands"):
        measure(three, four, three, photometric="minisblack")


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.integers(1, 10**12))
def test_statistics_survive_json(values: list[float], pixels: int) -> None:
    stats = BandStats(*((v, v + 1) for v in values), pixels)  # type: ignore[arg-type]
    assert BandStats.from_json(json.loads(json.dumps(stats.to_json()))) == stats


def test_normalised_imagery_has_mean_0_and_deviation_1_where_it_is_valid(measure: Measure) -> None:
    pixels = numbers("uint16")
    valid = np.random.default_rng(2).random(pixels.shape[1:]) < 0.8
    stats = measure(pixels, mask=valid)
    normal = stats.normalise(pixels, valid)
    assert normal.dtype == np.float32
    assert normal[:, valid].mean(axis=1) == pytest.approx([0, 0], abs=1e-4)
    assert normal[:, valid].std(axis=1) == pytest.approx([1, 1], abs=1e-4)


def test_normalising_replaces_what_is_not_finite_by_the_nearest_valid_pixel() -> None:
    stats = BandStats((1.0,), (2.0,), (0.0,), (3.0,), 4)
    pixels = np.array([[[np.nan, 3.0, np.inf, -np.inf, 5.0]]], dtype=np.float32)
    valid = np.array([[False, True, False, False, True]])
    assert stats.normalise(pixels, valid).tolist() == [[[1.0, 1.0, 1.0, 2.0, 2.0]]]
    assert stats.normalise(pixels, np.zeros((1, 5), bool)).tolist() == [[[0.0] * 5]]
