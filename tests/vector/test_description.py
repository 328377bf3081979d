"""`geoseg info` of vector files: every format that geoseg writes, by its content and not only by its name."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pytest
from helpers.rasters import UTM, landscape, make_raster
from shapely.geometry import box

import geoseg
from geoseg.errors import InputError
from geoseg.outputs.names import POLYGONS


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raster(tmp_path_factory.mktemp("classes") / "classes.tif", landscape(60, 70)[:1] // 64)


@pytest.mark.parametrize("suffix", POLYGONS)
def test_polygons_that_geoseg_wrote(suffix: str, classes: Path, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    written = geoseg.polygonize(classes, path)
    facts = geoseg.info(path)
    tiles = suffix == ".pmtiles"
    geometry = "MultiPolygon" if tiles else "Polygon"
    assert (facts["kind"], facts["rows"], facts["geometry"]) == ("polygons", written.count, geometry)
    assert facts["crs"] == ("EPSG:4326" if "json" in suffix else "EPSG:3857" if tiles else UTM)
    assert facts["columns"][:2] == ["class_id", "class"]
    assert facts["record"] == written.record.name
    assert facts["provenance"]["raster"]["name"] == "classes.tif"
    assert len(facts["bounds"]) == 4
    written.record.unlink()
    assert geoseg.info(path)["record"] == "none"


def test_superpixels_and_files_of_others(tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70), crs=None)
    facts = geoseg.info(geoseg.superpixels(scene, tmp_path / "s.gpkg").path)
    assert (facts["kind"], facts["layer"], facts["crs"]) == ("superpixels", "superpixels", "none (pixel space)")
    geopandas.GeoDataFrame({"a": [1]}, geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(tmp_path / "o.gpkg", layer="x")
    other = geoseg.info(tmp_path / "o.gpkg")
    assert (other["layer"], other["rows"], other["columns"], other["record"]) == ("x", 1, ["a"], "none")


@pytest.mark.parametrize("suffix", POLYGONS)
def test_what_only_has_the_name_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_text('<OGRVRTDataSource><OGRVRTLayer name="x"/></OGRVRTDataSource>')
    with pytest.raises(InputError, match=r"is not a .* file as its name says"):
        geoseg.info(path)
    for mark in (b"SQLite format 3\0", b"fgb\3", b"PAR1", b"{", b"\0\0\x27\x0a"):
        path.write_bytes(mark + b"and no more")
        with pytest.raises(InputError, match=f"p{suffix}"):
            geoseg.info(path)


def test_a_geopackage_of_tiles_is_named_with_a_way_out(tmp_path: Path) -> None:
    tiles = make_raster(tmp_path / "tiles.gpkg", landscape(60, 70), driver="GPKG", tiled=False)
    with pytest.raises(InputError, match="if it holds tiles, gdal_translate converts them"):
        geoseg.info(tiles)
