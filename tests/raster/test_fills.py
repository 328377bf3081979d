"""Fill values that nobody declared: found whatever the value and type, and never in what is only dark or bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.rasters import landscape, make_raster
from numpy.typing import NDArray

from geoseg.raster.fills import Fill, undeclared_fill
from geoseg.raster.sample import SIDE, sample
from geoseg.raster.scene import Scene


def found(pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Fill | None:
    return undeclared_fill(pixels, np.ones(pixels.shape[1:], bool) if valid is None else valid)


def scaled(dtype: str, gain: float = 1) -> NDArray[Any]:
    return (landscape(120, 150) * gain).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "gain", "value", "told"),
    [
        ("uint8", 1, 0, "0"),
        ("uint8", 1, 255, "255"),
        ("uint16", 30, 0, "0"),
        ("uint16", 30, 65535, "65535"),
        ("int16", 30, -9999, "-9999"),
        ("int16", 30, -32768, "-32768"),
        ("float32", 1 / 255, 9.96921e36, "9.96921e+36"),
        ("float64", 1, -9999.5, "-9999.5"),
    ],
)
def test_a_collar_is_found(dtype: str, gain: float, value: float, told: str) -> None:
    pixels = scaled(dtype, gain)
    assert found(pixels) is None
    pixels[:, :, :40] = value
    fill = found(pixels)
    assert fill is not None
    assert (fill.value, fill.share) == (told, pytest.approx(40 / 150, abs=0.02))
    assert pixels.dtype.type(fill.value) == pixels[0, 0, 0]
    assert fill.message().endswith(f"give --nodata {told}")


@pytest.mark.parametrize("value", [9.96921e36, 1e20, -10000, -32767, 65535, 3.4e38])
def test_a_value_far_off_is_found_inside_as_well(value: float) -> None:
    pixels = scaled("float32", 1 / 255)
    pixels[:, 40:60, 50:90] = value
    pixels[:, 3, 3] = 1e6
    fill = found(pixels)
    assert fill is not None
    assert not fill.at_edge
    assert np.float32(fill.value) == np.float32(value)


def test_what_is_not_a_fill() -> None:
    pixels = scaled("uint8")
    ramp = np.clip((np.arange(150) - 50) * 1.5, 0, 255)[None, None].astype(np.uint8)
    dark, bright = np.minimum(pixels, ramp), np.maximum(pixels, 255 - ramp)
    assert (dark == 0).all(axis=0).mean() > 0.3
    assert found(dark) is None
    assert found(bright) is None
    hole = pixels.copy()
    hole[:, 40:60, 50:90] = 0
    assert found(hole) is None
    thin = pixels.copy()
    thin[:, 0] = 0
    assert found(thin) is None
    one_band = pixels.copy()
    one_band[0, :, :40] = 0
    assert found(one_band) is None
    hot = scaled("float32")
    hot[:, 5, 5:10] = 1e9
    assert found(hot) is None
    assert found(np.full((3, 40, 50), 7, np.uint8)) is None
    saturated = scaled("uint16")
    saturated[:, ::9, ::9] = np.linspace(300, 80_000, 238).reshape(14, 17).clip(0, 65_535)
    assert (saturated == 65_535).mean() > 0.002
    assert found(saturated) is None


def test_invalid_pixels_are_no_fill() -> None:
    pixels = scaled("uint8")
    pixels[:, :, :40] = 0
    assert found(pixels, np.arange(150)[None].repeat(120, 0) >= 40) is None


@pytest.mark.parametrize("shape", [(90, 110), (2000, 90), (500, 700)])
def test_a_sample_holds_the_edges_of_the_scene(shape: tuple[int, int], tmp_path: Path) -> None:
    index = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(1, *shape)
    with Scene(make_raster(tmp_path / "scene.tif", index)) as scene:
        pixels, valid = sample(scene, 6)
    assert pixels.shape[1:] == valid.shape == tuple(min(length, 6 * SIDE) for length in shape)
    for edge, whole in ((pixels[0, 0], index[0, 0]), (pixels[0, :, -1], index[0, :, -1])):
        assert set(edge) <= set(whole)
    assert pixels[0, 0, 0] == 0
    assert pixels[0, -1, -1] == index.max()
    assert len(np.unique(pixels)) == pixels.size
