"""Texture of superpixels: that of the formula, the same in any block, and nothing of invalid pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.rasters import landscape
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.recipes import SuperpixelConfig
from geoseg.segments.superpixels import halo, reach
from geoseg.segments.texture import MARGIN, SIGMAS, TEXTURES, region_textures

LOW, HIGH = (10.0, 20.0, 30.0), (200.0, 220.0, 240.0)


def cells(rows: int, cols: int, size: int = 8) -> NDArray[np.int32]:
    y, x = np.mgrid[:rows, :cols] // size
    return (y * -(-cols // size) + x + 1).astype(np.int32)


def textures(pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None, threads: int = 1) -> NDArray[np.float32]:
    labels = cells(*pixels.shape[1:])
    valid = np.ones(labels.shape, np.bool_) if valid is None else valid
    return region_textures(
        pixels, valid, np.where(valid, labels, 0).astype(np.int32), int(labels.max()), LOW, HIGH, threads
    )


def test_textures_are_those_of_the_formula() -> None:
    # Differences of pixels stand for derivatives, so what is as fine as a pixel is smoothed away.
    pixels = ndimage.gaussian_filter(landscape(96, 104).astype(np.float64), (0, 1.5, 1.5))
    low, high = (np.array(each)[:, None, None] for each in (LOW, HIGH))
    grey = np.clip((pixels - low) / (high - low), 0, 2).mean(axis=0)
    expected = []
    for sigma in SIGMAS:
        order = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 1)]
        x, y, xx, yy, xy = (
            ndimage.gaussian_filter(grey, sigma, order=o, mode="nearest", truncate=6) * sigma ** sum(o) for o in order
        )
        root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
        expected += [np.hypot(x, y), abs(xx + yy), abs(xx + yy + root) / 2, abs(xx + yy - root) / 2]
    labels, found = cells(96, 104), textures(pixels)
    means = np.stack([ndimage.mean(each, labels, np.arange(1, labels.max() + 1)) for each in expected], axis=1)
    assert found.shape == means.shape == (156, TEXTURES)
    inner = [label - 1 for label in np.unique(labels[24:72, 24:80])]
    for column in range(TEXTURES):
        assert np.corrcoef(found[inner, column], means[inner, column])[0, 1] > 0.99
        assert found[inner, column].mean() == pytest.approx(means[inner, column].mean(), rel=0.15)


def test_law_2_block_independence_of_textures() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (3, 120, 136), np.uint8)
    valid = random.random((120, 136)) > 0.1
    labels = np.where(valid, cells(120, 136), 0).astype(np.int32)
    whole = textures(pixels, valid)
    assert np.array_equal(textures(pixels, valid, threads=3), whole)
    rows, cols = slice(40, 80), slice(48, 88)
    inside = np.unique(cells(120, 136)[rows, cols])

    def part(margin: int) -> NDArray[np.float32]:
        area = slice(40 - margin, 80 + margin), slice(48 - margin, 88 + margin)
        inner = np.where(np.isin(labels, inside), labels, 0).astype(np.int32)
        return region_textures(pixels[(slice(None), *area)], valid[area], inner[area], int(labels.max()), LOW, HIGH)

    assert np.array_equal(part(MARGIN)[inside - 1], whole[inside - 1])
    assert not np.array_equal(part(MARGIN - 1)[inside - 1], whole[inside - 1])


def test_law_5_invalid_pixels_enter_no_texture() -> None:
    pixels = landscape(64, 64)
    valid = np.ones((64, 64), np.bool_)
    valid[20:40, 10:50] = False
    other = pixels.copy()
    other[:, ~valid] = 255 - other[:, ~valid]
    assert np.array_equal(textures(pixels, valid), textures(other, valid))
    flat = np.where(valid, 100, 0).astype(np.uint8)[None].repeat(3, axis=0)
    assert textures(flat, valid).max() == 0, "the edge of nodata is no edge"


def test_a_turned_image_has_the_same_textures() -> None:
    pixels = landscape(64, 64)
    turned = textures(np.ascontiguousarray(np.rot90(pixels, axes=(1, 2))))
    back = np.rot90(turned.reshape(8, 8, TEXTURES), -1).reshape(64, TEXTURES)
    assert back == pytest.approx(textures(pixels), abs=1e-5)


@pytest.mark.parametrize("bands", [1, 4])
def test_any_type_and_number_of_bands(bands: int) -> None:
    pixels, labels = landscape(40, 40, bands), cells(40, 40)
    ends, valid = ((0.0,) * bands, (255.0,) * bands), np.ones((40, 40), np.bool_)
    whole = region_textures(pixels, valid, labels, 25, *ends)
    for dtype in (np.uint16, np.int32, np.float32, np.float64):
        assert np.array_equal(region_textures(pixels.astype(dtype), valid, labels, 25, *ends), whole)


@pytest.mark.parametrize(("size", "iterations"), [(4, 1), (8, 3), (255, 50)])
def test_the_halo_of_superpixels_holds_the_margin(size: int, iterations: int) -> None:
    """So that texture needs no pixel that is not read anyway."""
    SuperpixelConfig(size, iterations=iterations)
    assert halo(size, iterations) - reach(size) >= MARGIN
