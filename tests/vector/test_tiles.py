"""Zoom levels of vector tiles, and that no polygon is lost from them unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pytest
from affine import Affine
from helpers.commandline import geoseg as run
from helpers.rasters import make_raster
from rasterio.crs import CRS

import geoseg
from geoseg.errors import InputError, OutputError
from geoseg.raster.georeference import Georeference
from geoseg.vector import tiles
from geoseg.vector.tiles import Zooms, check_driver, count_polygons, zooms

ZOOM_18 = 2 * np.pi * 6378137 / 256 / 2**18
"""Metres of a pixel of web maps, 256 to a tile."""


def placed(crs: str, transform: Affine) -> Georeference:
    return Georeference(CRS.from_user_input(crs), transform)


@pytest.mark.parametrize(
    ("place", "shape", "expected"),
    [
        # A quarter of a pixel is a unit of 4096: 1024 pixels to a tile, two zooms below that of 256.
        (placed("EPSG:3857", Affine(ZOOM_18, 0, 0, 0, -ZOOM_18, 0)), (1024, 900), Zooms(16, 16)),
        (placed("EPSG:3857", Affine(ZOOM_18, 0, 0, 0, -ZOOM_18, 0)), (1024, 1025), Zooms(15, 16)),
        (placed("EPSG:3857", Affine(ZOOM_18 / 1.01, 0, 0, 0, -ZOOM_18, 0)), (500, 500), Zooms(17, 17)),
        # At 60 degrees a metre on the ground is two in Web Mercator.
        (placed("EPSG:32633", Affine(1, 0, 5e5, 0, -1, 6.651e6)), (600, 600), Zooms(15, 15)),
        (placed("EPSG:32633", Affine(1, 0, 5e5, 0, -1, 0)), (600, 600), Zooms(16, 16)),
        # Across the antimeridian, the short way.
        (placed("EPSG:32760", Affine(30, 0, 818_900, 0, -30, 8_118_400)), (30, 40), Zooms(11, 11)),
        (placed("EPSG:4326", Affine(1, 0, -180, 0, -1, 60)), (120, 360), Zooms(0, 0)),
    ],
)
def test_zooms_follow_pixels_and_size(place: Georeference, shape: tuple[int, int], expected: Zooms) -> None:
    assert zooms(place, shape) == expected


@pytest.mark.parametrize(
    ("place", "word"),
    [
        (placed("EPSG:4326", Affine(1, 0, 0, 0, -1, 87)), "beyond 85.05 degrees"),
        (placed("EPSG:3857", Affine(1e-3, 0, 0, 0, -1e-3, 0)), "pixels of 0.001 m"),
    ],
)
def test_what_tiles_cannot_show_is_refused(place: Georeference, word: str) -> None:
    with pytest.raises(InputError, match=word):
        zooms(place, (5, 5))


def test_a_gdal_without_the_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_driver(Path("p.pmtiles"))
    monkeypatch.setattr(pyogrio, "list_drivers", lambda: {"GPKG": "raw"})
    with pytest.raises(InputError, match=r"p\.pmtiles: pyogrio's GDAL .* cannot write PMTiles: .*p\.fgb"):
        check_driver(Path("p.pmtiles"))


def test_polygons_that_tiles_leave_out_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even noise fits into the tiles of the largest zoom; where it did not, the old file would stay."""
    pixels = np.random.default_rng(0).integers(1, 5, (40, 50), np.uint8)
    raster = make_raster(tmp_path / "noise.tif", pixels[None])
    out = tmp_path / "p.pmtiles"
    count = geoseg.polygonize(raster, out).count
    assert count_polygons(out) == count > 500
    before = out.read_bytes()
    monkeypatch.setattr(tiles, "_MAX_TILE_POLYGONS", 300)
    with pytest.raises(OutputError, match=r"of \d+ polygons do not fit into vector tiles.*p\.gpkg"):
        geoseg.polygonize(raster, out, overwrite=True)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_layer_without_polygons_is_a_file_without_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing changed, or all is nodata: GDAL makes no such file, but reads it."""
    raster = make_raster(tmp_path / "empty.tif", np.zeros((1, 40, 50), np.uint8), nodata=0)
    out = tmp_path / "p.pmtiles"
    assert geoseg.polygonize(raster, out).count == count_polygons(out) == 0
    found = pyogrio.read_info(out)
    assert found["crs"] == "EPSG:3857"
    assert {"class_id", "class", tiles.NUMBER} <= set(found["fields"])
    for command in ("info", "check"):
        outcome = run(capsys, command, out)
        assert outcome.code == 0, outcome.err
