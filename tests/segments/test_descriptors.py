"""Descriptors of regions are those of numpy, and the same to the last bit in any window and with any threads."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from helpers.regions import random_labels
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.recipes import Start
from geoseg.segments.descriptors import region_descriptors

KINDS = get_args(Start)
SHORT = ("uint8", "int8", "uint16", "int16", "bool")
WIDE = ("float16", "float32", "float64", "int32", "uint32", "int64", "uint64")


def scale(dtype: str, bands: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dark and bright ends such that some values of `pixels_of` lie beyond both, and beyond 2 after scaling."""
    high = {"bool": 0.4, "int8": 40.0, "uint8": 90.0}.get(dtype, 1900.0)
    return np.linspace(0.1, 0.3, bands) * high, np.linspace(0.9, 1.2, bands) * high


def pixels_of(random: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Noise whose level differs from place to place."""
    low, high = scale(dtype, 1)
    values = random.normal(0.6, 0.5, size=shape) * np.linspace(0.2, 2, shape[-1]) * (high - low) + low
    if dtype == "bool":
        return values > 0.3
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        values = np.clip(values, max(info.min, -5000), min(info.max, 65000))
    return values.astype(dtype)


def reference(pixels: NDArray[Any], labels: NDArray[Any], count: int, low: Any, high: Any, kind: Start) -> NDArray[Any]:
    """The descriptors as the docstring tells them."""
    scaled = (pixels.astype(np.float64) - low[:, None, None]) / (high - low)[:, None, None]
    found = np.zeros((count, len(pixels) + 1))
    for region in range(1, count + 1):
        inside = np.clip(scaled[:, labels == region], 0, 2)
        if inside.size:
            found[region - 1, :-1] = (np.log(inside + 0.15) if kind == "hue" else inside).mean(axis=1)
        found[region - 1, -1] = np.log((inside.mean(axis=0).std() if inside.size else 0) + 0.02)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", SHORT + WIDE)
@pytest.mark.parametrize("bands", [1, 3, 17])
def test_descriptors_are_those_of_numpy(kind: Start, dtype: str, bands: int) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        count = int(random.integers(1, 40))
        labels = random_labels(random, 30, 27, count)
        pixels = pixels_of(random, dtype, (bands, 30, 27))
        low, high = scale(dtype, bands)
        found = region_descriptors(pixels, labels, count + 1, low, high, kind)
        assert (found.shape, found.dtype) == ((count + 1, bands + 1), np.float32)
        assert np.allclose(found, reference(pixels, labels, count + 1, low, high, kind), rtol=0, atol=1e-5)
        assert found[-1].tolist() == [0] * bands + [np.log(np.float32(0.02))]


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    top=st.integers(0, 20),
    left=st.integers(0, 20),
    threads=st.integers(1, 5),
)
def test_law_2_descriptors_are_the_same_in_any_window_and_with_any_threads(
    kind: Start, seed: int, dtype: str, top: int, left: int, threads: int
) -> None:
    """A window, which is no array of its own, that holds all of a region; in another one, regions are cut or absent."""
    random = np.random.default_rng(seed)
    labels = random_labels(random, 40, 40, 150, cell=4)
    pixels = pixels_of(random, dtype, (3, 40, 40))
    whole = region_descriptors(pixels, labels, 150, *scale(dtype, 3), kind)
    rows, cols = slice(top, top + 30), slice(left, 40)
    part = region_descriptors(pixels[:, rows, cols], labels[rows, cols], 150, *scale(dtype, 3), kind, threads)
    outside = np.ones(labels.shape, bool)
    outside[rows, cols] = False
    inside = sorted(set(range(1, 151)) - set(np.unique(labels[outside]).tolist()))
    assert inside
    assert np.array_equal(part[np.array(inside) - 1], whole[np.array(inside) - 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_law_5_descriptors_are_of_pixels_with_a_label_only(kind: Start, value: float) -> None:
    random = np.random.default_rng(0)
    pixels = random.random((3, 16, 16), np.float32)
    labels = random.integers(0, 4, size=(16, 16)).astype(np.int32)
    other = np.where(labels == 0, np.float32(value), pixels)
    found = region_descriptors(other, labels, 4, [0] * 3, [1] * 3, kind)
    assert np.array_equal(found, region_descriptors(pixels, labels, 4, [0] * 3, [1] * 3, kind))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16", "uint16"])
def test_the_widest_values_are_clipped(dtype: str) -> None:
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    pixels = np.array([[[info.min, info.max]]], dtype)
    labels = np.array([[1, 2]], np.int32)
    found = region_descriptors(pixels, labels, 2, [100], [200], "brightness")
    assert found[:, 0].tolist() == [0, 2]


def test_nan_in_a_region_counts_as_the_dark_end() -> None:
    pixels = np.array([[[np.nan, 1.0]]], np.float32)
    assert region_descriptors(pixels, np.ones((1, 2), np.int32), 1, [0], [1], "brightness")[0, 0] == 0.5


def test_hue_is_the_same_in_light_and_in_shade() -> None:
    """What is far brighter than the offset against the dark differs by one number in all bands."""
    pixels = np.array([1.9, 1.0, 1.5], np.float32)[:, None, None] * np.array([1, 0.5], np.float32).repeat(8)
    labels = np.array([[1] * 8 + [2] * 8], np.int32)
    for kind in KINDS:
        light, shade = region_descriptors(pixels, labels, 2, [0] * 3, [1] * 3, kind)[:, :3]
        assert (np.ptp(light - shade) < 0.1) == (kind == "hue")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 200])
def test_a_large_even_region_has_no_contrast(dtype: str, bands: int) -> None:
    """The largest superpixels have 3 x 3 cells of 255 x 255 pixels; their sums fit, and squares do not cancel."""
    side = 765 if bands == 1 else 100
    pixels = np.broadcast_to(np.array(251, dtype), (bands, side, side))
    found = region_descriptors(pixels, np.ones((side, side), np.int32), 1, [0] * bands, [140] * bands, "brightness")
    assert found[0, :-1] == pytest.approx(251 / 140, abs=3e-6)
    assert found[0, -1] == np.log(np.float32(0.02))


def test_the_contrast_of_a_large_region_is_exact() -> None:
    """Half of it is dark, half of it at the upper limit; the standard deviation is 1."""
    pixels = np.zeros((1, 765, 766), np.uint8)
    pixels[:, :, ::2] = 255
    found = region_descriptors(pixels, np.ones((765, 766), np.int32), 1, [0], [127.5], "brightness")
    assert found[0].tolist() == pytest.approx([1, np.log(1.02)], abs=1e-6)


def test_the_smallest_contrast_is_exact() -> None:
    """Half of the region is one fixed-point step brighter, so the standard deviation is half a step."""
    pixels = np.array([[[7, 8]]], np.uint16)
    found = region_descriptors(pixels, np.ones((1, 2), np.int32), 1, [0], [2**20], "brightness")
    assert found[0, 1] == pytest.approx(np.log(0.02 + 2**-21), abs=1e-6)


def test_there_may_be_no_regions_and_no_pixels() -> None:
    for shape in ((0, 0), (0, 4), (4, 0), (4, 4)):
        for dtype in ("uint8", "float32"):
            pixels, labels = np.zeros((2, *shape), dtype), np.zeros(shape, np.int32)
            assert region_descriptors(pixels, labels, 0, [0] * 2, [1] * 2, "hue", threads=2).shape == (0, 3)
            found = region_descriptors(pixels, labels, 2, [0] * 2, [1] * 2, "hue")
            assert found.tolist() == [[0, 0, np.log(np.float32(0.02))]] * 2
