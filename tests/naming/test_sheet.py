"""The class sheet: patches lie in their class, apart from each other, the same every time."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.maps import NASTY, make_map, page_data, quilt
from helpers.rasters import TRANSFORM, landscape, make_raster
from PIL import Image

from geoseg.errors import InputError, InputMissingError, OutputError
from geoseg.naming.origin import find_confidence, open_scene
from geoseg.naming.page import write_sheet
from geoseg.naming.sheet import SheetRow, class_sheet, outline
from geoseg.raster.class_raster import ClassRaster, Confidence


@pytest.fixture
def values() -> np.ndarray:
    """Five classes in squares of 40 px; class 6 has a pixel, and 7 none; a margin without a class."""
    values = quilt(420, 500, 5)
    values[:, :30] = 0
    values[201, 301] = 6
    return values


def sheet_of(path: Path, **settings: object) -> tuple[SheetRow, ...]:
    with ClassRaster(path) as raster:
        scene, part = open_scene(raster)
        with scene:
            return class_sheet(raster, scene, part=part, **settings)  # type: ignore[arg-type]


def test_patches_show_their_class_apart_from_each_other(tmp_path: Path, values: np.ndarray) -> None:
    path, _ = make_map(tmp_path, values, "abcdefg")
    rows = sheet_of(path, side=32)
    assert [row.entry.name for row in rows] == list("abcdefg")
    for row in rows[:5]:
        assert len(row.patches) == 8
        middles = []
        for window, patch in zip(row.windows, row.patches, strict=True):
            shown = values[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop]
            assert patch.shape == (32, 32, 3)
            assert shown.shape == (32, 32)
            # At the edge of the map, the class cannot lie in the middle of a patch.
            if window.rows.stop < 420 and window.cols.stop < 500 and window.rows.start:
                assert (shown[8:24, 8:24] == row.entry.id).all()
            assert (shown == row.entry.id).mean() > 0.35
            middles.append((window.rows.start, window.cols.start))
        assert min(np.hypot(a - c, b - d) for (a, b), (c, d) in combinations(middles, 2)) >= 20
        assert np.ptp(middles, axis=0).min() > 200, "they are spread over the map"
    assert len(rows[5].patches) == 1, "a class of one pixel is found, and shown where it is"
    assert rows[6].area is None
    assert rows[6].note == "not in this map"
    assert not rows[6].patches
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_a_sheet_is_the_same_every_time_and_prefers_what_the_map_is_sure_of(tmp_path: Path, values: np.ndarray) -> None:
    path, _ = make_map(tmp_path, values, "abcdefg")
    first, again = (sheet_of(path, side=32) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.windows == other.windows
        assert all(np.array_equal(a, b) for a, b in zip(one.patches, other.patches, strict=True))
    sure = np.where(values, 25, 0).astype(np.uint8)
    sure[220:, 250:][values[220:, 250:] > 0] = 255
    with rasterio.open(tmp_path / "confidence.tif", "r+") as file:
        file.write(sure, 1)
    with ClassRaster(path) as raster, Confidence(tmp_path / "confidence.tif", raster.scene) as confidence:
        scene, part = open_scene(raster)
        with scene:
            rows = class_sheet(raster, scene, confidence, part=part, side=32, patches=3)
    for row in rows[:5]:
        assert all(window.rows.stop > 220 and window.cols.stop > 250 for window in row.windows)


def test_the_outline_is_white_inside_and_black_outside() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3:, 2:6] = True
    drawn = outline(np.full((9, 9, 3), 120, np.uint8), mask)
    assert (drawn[3, 2:6] == 255).all()
    assert (drawn[2, 2:6] == 0).all()
    assert (drawn[4:9, 1] == 0).all()
    assert (drawn[4:, 3:5] == 120).all(), "no line at the edge of the picture"


def test_a_map_of_a_part_shows_that_part(tmp_path: Path) -> None:
    path, _ = make_map(tmp_path, quilt(200, 240, 3), "abc", part=(70, 90), shape=(400, 420))
    with ClassRaster(path) as raster:
        scene, part = open_scene(raster)
        with scene:
            assert (part.rows.start, part.cols.start, *part.shape) == (70, 90, 200, 240)
            (row, *_) = class_sheet(raster, scene, part=part, side=32)
            pixels, _ = scene.read(scene.extent)
    window, patch = row.windows[0], row.patches[0].astype(float)
    inside = (window.rows.start + 70 + 8, window.cols.start + 90 + 8)
    shown = pixels[:, inside[0] : inside[0] + 16, inside[1] : inside[1] + 16].astype(float)
    # The picture is a stretch of these very pixels.
    assert np.corrcoef(shown.ravel(), patch[8:24, 8:24].transpose(2, 0, 1).ravel())[0, 1] > 0.99


def test_the_scene_is_looked_for_and_has_to_be_the_right_one(tmp_path: Path) -> None:
    path, scene = make_map(tmp_path, quilt(100, 120, 3), "abc")
    assert find_confidence(path) == tmp_path / "confidence.tif"
    (tmp_path / "other").mkdir()
    make_map(tmp_path / "other", quilt(90, 120, 3), "abc")
    with ClassRaster(path) as raster:
        with pytest.raises(InputError, match="does not lie on its pixels"):
            open_scene(raster, tmp_path / "other" / "scene.tif")
        beside = make_raster(
            tmp_path / "beside.tif", landscape(100, 120), transform=TRANSFORM @ Affine.translation(0.3, 0)
        )
        with pytest.raises(InputError, match="does not lie on its pixels"):
            open_scene(raster, beside)
        with pytest.raises(InputError, match="is in WGS 84"):
            open_scene(raster, make_raster(tmp_path / "crs.tif", landscape(100, 120), crs="EPSG:4326"))
        moved = scene.rename(tmp_path / "elsewhere.tif")
        with pytest.raises(InputMissingError, match=r"scene\.tif is not beside it; give it with --scene"):
            open_scene(raster)
        opened, _ = open_scene(raster, moved)
        opened.close()


def test_a_sheet_is_written_as_a_picture_and_as_a_page(tmp_path: Path) -> None:
    path, _ = make_map(tmp_path, quilt(100, 120, 5), (*NASTY, "unused"))
    rows = sheet_of(path, side=32)
    write_sheet(tmp_path / "sheet.png", rows, "Sheet")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height >= 6 * 32
        swatch = picture.convert("RGB").getpixel((20, 20))
    assert swatch == rows[0].entry.rgb
    write_sheet(tmp_path / "sheet.html", rows, "Sheet & <more>")
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert [entry["name"] for entry in page_data(page)["classes"]] == [*NASTY, "unused"]
    assert "<title>Sheet &amp; &lt;more&gt;</title>" in page
    with pytest.raises(OutputError, match=r"name it sheet\.png or sheet\.html"):
        write_sheet(tmp_path / "sheet.pdf", rows, "Sheet")
