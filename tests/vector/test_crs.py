"""What becomes of a CRS and of its epoch in each vector format."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pyarrow.parquet
import pyogrio
import pytest
from affine import Affine
from rasterio.crs import CRS

from geoseg.raster.georeference import Georeference
from geoseg.vector.arrow import VectorSpec
from geoseg.vector.crs import check_format
from geoseg.vector.writer import writing_layer

PLACE = Affine(0.001, 0, 150, 0, -0.001, -30)
FORMATS = {
    "p.gpkg": ("GPKG", True), "p.fgb": ("FlatGeobuf", True), "p.parquet": ("Parquet", True),
    "p.shp": ("ESRI Shapefile", False), "p.geojson": ("GeoJSON", False), "p.geojsonl": ("GeoJSONSeq", False),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_epoch_is_kept_or_its_loss_is_told(tmp_path: Path, name: str) -> None:
    driver, kept = FORMATS[name]
    place = Georeference(CRS.from_epsg(9057), PLACE, epoch=2021.3)
    remarks = check_format(tmp_path / name, driver, "scene.tif", place, (10, 10))
    assert any("no place for the coordinate epoch 2021.3 of scene.tif" in remark for remark in remarks) == (not kept)
    assert not any(
        "coordinate epoch" in r
        for r in check_format(tmp_path / name, driver, "s", Georeference(place.crs, PLACE), (9, 9))
    )
    if not kept:
        return
    with writing_layer(tmp_path / name, VectorSpec(driver, "layer", {"id": "int32"}, place.wkt, place.epoch)):
        pass
    if driver == "Parquet":
        geo = json.loads(pyarrow.parquet.read_metadata(tmp_path / name).metadata[b"geo"])
        assert geo["columns"]["geometry"]["epoch"] == 2021.3
    elif driver == "GPKG":
        with sqlite3.connect(tmp_path / name) as file:
            assert file.execute(
                "SELECT epoch FROM gpkg_spatial_ref_sys WHERE organization_coordsys_id = 9057"
            ).fetchall() == [(2021.3,)]
        file.close()
        assert pyogrio.read_info(tmp_path / name)["crs"] == "EPSG:9057"
    else:
        assert b"EPOCH[2021.3]" in (tmp_path / name).read_bytes()


def test_an_epoch_of_a_crs_that_stands_still_is_lost_but_told(tmp_path: Path) -> None:
    """GDAL lets a raster have one, and a GeoPackage not."""
    place = Georeference(CRS.from_epsg(25833), Affine(1, 0, 4e5, 0, -1, 5.8e6), epoch=2021.3)
    (remark,) = check_format(tmp_path / "p.gpkg", "GPKG", "scene.tif", place, (10, 10))
    assert "no place for the coordinate epoch" in remark


def test_a_datum_shift_that_a_shapefile_cannot_hold_is_told(tmp_path: Path) -> None:
    crs = CRS.from_user_input(
        "+proj=tmerc +lon_0=9 +k=1 +x_0=3500000 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"
    )
    place = Georeference(crs, Affine(1, 0, 3.4e6, 0, -1, 5.5e6))
    (remark,) = check_format(tmp_path / "p.shp", "ESRI Shapefile", "scene.tif", place, (10, 10))
    assert "no place for the datum shift" in remark
    assert check_format(tmp_path / "p.gpkg", "GPKG", "scene.tif", place, (10, 10)) == []


@pytest.mark.parametrize("name", ["p.gpkg", "p.fgb", "p.parquet", "p.shp"])
@pytest.mark.parametrize("code", ["EPSG:32633", "EPSG:3857", "EPSG:4326", "EPSG:2154", "EPSG:2263", "ESRI:102003"])
def test_nothing_is_said_of_an_ordinary_crs(tmp_path: Path, name: str, code: str) -> None:
    place = Georeference(CRS.from_user_input(code), Affine(1e-3, 0, 10, 0, -1e-3, 50))
    assert check_format(tmp_path / name, FORMATS[name][0], "scene.tif", place, (10, 10)) == []
