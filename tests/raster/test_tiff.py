"""The header of a TIFF, walked by code of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.rasters import landscape, make_raster
from helpers.tiffs import first_directory, make_tiff, set_following
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling

from geoseg.grid import Span, Window
from geoseg.raster.tiff import MAX_BLOCKS, Header, MalformedError, read_header


def header(path: Path) -> Header:
    """The header of a file."""
    with path.open("rb") as file:
        return read_header(file)


@pytest.mark.parametrize("size", ["YES", "NO"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("tiled", [True, False])
def test_a_page_is_what_gdal_says_it_is(size: str, order: str, interleave: str, tiled: bool, tmp_path: Path) -> None:
    layout: dict[str, Any] = {"tiled": tiled, "blockysize": 32, "blockxsize": 48 if tiled else 130}
    path = make_raster(
        tmp_path / "scene.tif", landscape(100, 130).astype(np.uint16), BIGTIFF=size, ENDIANNESS=order,
        interleave=interleave, compress="deflate", **layout,
    )  # fmt: skip
    found = header(path)
    (page,) = found.pages
    assert (page.number, page.is_auxiliary, page.shape, page.tiled) == (1, False, (100, 130), tiled)
    assert page.block_shape == (32, 48 if tiled else 130)
    assert page.planes == (3 if interleave == "band" else 1)
    assert page.block_bytes == 32 * (48 if tiled else 130) * 2 * (1 if interleave == "band" else 3)
    assert page.unwritten is None
    assert (found.circular, found.min_file_size) == (False, path.stat().st_size)
    with rasterio.open(path) as file:
        places = [
            int(file.get_tag_item(f"BLOCK_{kind}_{col}_{row}", "TIFF", bidx=band))
            for kind in ("OFFSET", "SIZE")
            for band in (1, 2, 3)
            for (row, col), _ in file.block_windows(1)
        ]
    half = len(places) // 2
    assert page.data_end == max(a + b for a, b in zip(places[:half], places[half:], strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.data())
def test_missing_blocks_are_found_by_pixel(rows: int, cols: int, high: int, wide: int, data: st.DataObject) -> None:
    down, across = -(-rows // high), -(-cols // wide)
    unwritten = np.array(data.draw(st.lists(st.booleans(), min_size=down * across, max_size=down * across)), bool)
    offsets = np.where(unwritten, 0, 16)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = make_tiff(Path(folder) / "a.tif", (rows, cols), (high, wide), offsets, np.ones_like(offsets), body=b"x")
        page = header(path).pages[0]
    expected = np.kron(unwritten.reshape(down, across), np.ones((high, wide), bool))[:rows, :cols]
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    window = Window.of(
        top, left, data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, cols - left))
    )  # fmt: skip
    found = page.unwritten_pixels(window, (1,))
    part = expected[top : window.rows.stop, left : window.cols.stop]
    if found is None:
        assert not part.any()
    else:
        np.testing.assert_array_equal(found, part)
    side = data.draw(st.integers(1, 25))
    spans = [[Span(i, min(i + side, length)) for i in range(0, length, side)] for length in (rows, cols)]
    empty = page.unwritten_windows(*spans, (1,))
    wanted = [[expected[y.start : y.stop, x.start : x.stop].all() for x in spans[1]] for y in spans[0]]
    assert (None if empty is None else empty.tolist()) == (wanted if unwritten.any() else None)


def test_overviews_and_masks_are_no_images(tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = make_raster(tmp_path / "scene.tif", landscape(600, 600), mask=np.ones((600, 600), bool))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    found = header(path)
    assert len(found.pages) > 3
    assert [page.number for page in found.images] == [1]


def test_pages_that_lead_back_to_each_other(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(40, 50))
    assert not header(path).circular
    set_following(path, 0, first_directory(path))
    assert header(path).circular
    assert len(header(path).pages) == 1


@pytest.mark.parametrize("big", [True, False])
def test_the_end_is_that_of_the_last_block(big: bool, tmp_path: Path) -> None:
    offsets, sizes = np.array([16, 5000, 0, 20]), np.array([4, 1234, 99999, 0])
    path = make_tiff(tmp_path / "a.tif", (32, 32), (16, 16), offsets, sizes, big=big, body=bytes(16))
    found = header(path)
    assert found.pages[0].data_end == found.min_file_size == 6234
    unwritten = found.pages[0].unwritten
    assert unwritten is not None
    assert unwritten.ravel().tolist() == [False, False, True, True]
    huge = make_tiff(tmp_path / "b.tif", (16, 16), (16, 16), np.array([2**64 - 1]), np.array([2**64 - 1]))
    assert header(huge).min_file_size == 2**65 - 2


def test_counts_are_not_believed(tmp_path: Path) -> None:
    few = np.zeros(4, int)
    path = make_tiff(tmp_path / "a.tif", (160, 160), (16, 16), few, few)
    assert header(path).pages[0].unwritten is not None
    with pytest.raises(MalformedError, match="is cut into"):
        header(make_tiff(tmp_path / "b.tif", (2**20, MAX_BLOCKS >> 19), (1, 1), few, few))
    for body in (b"II*\0", b"II+\0\x08\0\0\0", b"II*\0\0\0\0\0" + bytes(50)):
        (tmp_path / "c.tif").write_bytes(body)
        with pytest.raises(MalformedError):
            header(tmp_path / "c.tif")


def test_directories_that_share_their_arrays_are_refused(tmp_path: Path) -> None:
    """Or else a small file could have its whole length read ten thousand times."""
    offsets = np.full(40_000, 16)
    path = make_tiff(tmp_path / "a.tif", (3200, 3200), (16, 16), offsets, offsets, body=b"x", big=False)
    data, start = path.read_bytes(), first_directory(path)
    directory = data[start : start + 2 + 12 * 10]
    at = len(data)
    copies = b"".join(directory + (at + 126 * (i + 1)).to_bytes(4, "little") for i in range(50))
    path.write_bytes(data + copies)
    set_following(path, 0, at)
    with pytest.raises(MalformedError, match="hold more than the file"):
        header(path)
