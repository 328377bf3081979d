"""geoseg polygonize, and the polygons of predict: every format read back, and what becomes of trouble."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from helpers.class_rasters import rasterio_shapes
from helpers.commandline import assert_refused, first_band, geoseg, untouched
from helpers.rasters import TRANSFORM, UTM, make_raster
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from geoseg.classes import LandClass
from geoseg.config import PolygonizeConfig
from geoseg.errors import InputError, LockedError, OutputError, SettingError, WriteError
from geoseg.files.atomic import sha256
from geoseg.files.lock import OutputLocks
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.outputs.names import POLYGONS
from geoseg.raster.georeference import Georeference
from geoseg.raster.sieve import sieve
from geoseg.units import Area
from geoseg.vector.arrow import VectorSpec, record_batch
from geoseg.vector.polygons import Polygonizer
from geoseg.vector.writer import writing_layer

IGNORED = "ignore:More than one layer found:UserWarning"
"""A GeoPackage holds its styles in a layer without geometries."""

pytestmark = pytest.mark.filterwarnings(IGNORED)


def patchwork(rows: int = 90, cols: int = 110, seed: int = 0) -> NDArray[np.uint8]:
    """Fields of three classes with specks, and some nodata."""
    random = np.random.default_rng(seed)
    fields = np.kron(random.integers(1, 4, (rows // 10, cols // 10)), np.ones((10, 10))).astype(np.uint8)
    specks = random.random(fields.shape) < 0.04
    fields[specks] = random.integers(0, 4, specks.sum())
    return fields


@pytest.fixture
def classes_path(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "classes.tif", patchwork()[None], nodata=0)


def polygonized(raster: Path, out: Path, **settings: Any) -> geopandas.GeoDataFrame:
    """Write and read back the polygons of a class raster."""
    with PolygonizeJob(PolygonizeConfig(raster, out, **settings)) as job:
        for _ in job.run():
            pass
    return geopandas.read_parquet(out) if out.suffix == ".parquet" else geopandas.read_file(out)


def assert_tiles_hold(frame: geopandas.GeoDataFrame, values: NDArray[Any]) -> None:
    """The pieces of the polygons have their areas and colours, and lie where they do, within an eighth of a pixel."""
    assert frame.crs == "EPSG:3857"
    assert (frame["color"] == frame["class_id"].map(lambda value: LandClass.default(value).colour)).all()
    whole = frame.dissolve("polygon", aggfunc="first").to_crs(UTM)
    exact = rasterio_shapes(values, TRANSFORM)
    assert len(whole) == len(exact)
    assert sorted(whole["class_id"]) == [value for value, _ in exact]
    for value in (1, 2, 3):
        held = whole.geometry[whole["class_id"] == value].union_all()
        expected = shapely.union_all(shapely.from_wkb([wkb for known, wkb in exact if known == value]))
        assert shapely.hausdorff_distance(held, expected) < 0.5 / 8 * 2**0.5 + 1e-3


def outlines(frame: geopandas.GeoDataFrame, field: str = "class_id") -> list[tuple[int, bytes]]:
    """(id, normalised WKB) of each feature, sorted."""
    return sorted(zip(frame[field].tolist(), frame.normalize().to_wkb(), strict=True))


@pytest.mark.parametrize("suffix", sorted(POLYGONS))
def test_every_format(tmp_path: Path, classes_path: Path, suffix: str) -> None:
    frame = polygonized(classes_path, tmp_path / f"polygons{suffix}")
    values = first_band(classes_path)
    assert frame["class_id"].dtype == np.int32
    assert (frame["class"] == "class " + frame["class_id"].astype(str)).all()
    counts = frame.groupby("class_id")["area_m2"].sum() / 0.25
    if suffix != ".pmtiles":
        assert counts.to_dict() == {value: (values == value).sum() for value in (1, 2, 3)}
    length = "perim_m" if suffix == ".shp" else "perimeter_m"
    if suffix == ".pmtiles":
        assert_tiles_hold(frame, values)
    elif "json" in suffix:
        assert frame.crs == "EPSG:4326"
        assert shapely.is_ccw(shapely.get_exterior_ring(frame.geometry)).all()
        frame = frame.to_crs(UTM)
        np.testing.assert_allclose(frame.area, frame["area_m2"], rtol=1e-3)
    else:
        assert frame.crs == UTM
        assert frame.area.tolist() == frame["area_m2"].tolist()
        assert frame.length.tolist() == frame[length].tolist()
        assert outlines(frame) == rasterio_shapes(values, TRANSFORM)
    assert frame.is_valid.all()
    record = json.loads((tmp_path / f"polygons{suffix}.geoseg.json").read_text())
    assert record["polygons"] == (frame["polygon"].nunique() if suffix == ".pmtiles" else len(frame))
    assert {name: sha256(tmp_path / name) for name in record["files"]} == record["files"]
    assert (tmp_path / "polygons.qml").exists() == (suffix != ".gpkg")
    assert not list(tmp_path.glob(".*"))


def test_a_geopackage_shows_its_classes_by_itself(tmp_path: Path, classes_path: Path) -> None:
    polygonized(classes_path, tmp_path / "polygons.gpkg", field="code")
    with sqlite3.connect(tmp_path / "polygons.gpkg") as file:
        ((layer, column, style),) = file.execute(
            "SELECT f_table_name, f_geometry_column, styleQML FROM layer_styles WHERE useAsDefault"
        )
        assert (layer, column) == ("classes", "geom")
        assert 'attr="code"' in style
        assert file.execute("SELECT count(*) FROM rtree_classes_geom").fetchone()[0] > 0
    file.close()


def test_a_geopackage_has_a_version_that_all_know(tmp_path: Path, classes_path: Path) -> None:
    """GDAL before 3.7, thus QGIS 3.22, warns of every version above 1.3."""
    polygonized(classes_path, tmp_path / "polygons.gpkg")
    content = (tmp_path / "polygons.gpkg").read_bytes()
    # application_id and user_version of the header of an SQLite database.
    assert content[68:72] == b"GPKG"
    assert int.from_bytes(content[60:64], "big") == 10200


def test_geoparquet_says_where_it_lies(tmp_path: Path, classes_path: Path) -> None:
    polygonized(classes_path, tmp_path / "polygons.parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "polygons.parquet")
    said = json.loads(file.metadata.metadata[b"geo"])
    column = said["columns"][said["primary_column"]]
    assert (said["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Polygon"])
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS(UTM)
    bounds = geopandas.read_parquet(tmp_path / "polygons.parquet").total_bounds
    assert column["bbox"] == bounds.tolist()
    file.close()
    bare = make_raster(tmp_path / "bare.tif", patchwork()[None], nodata=0, crs=None, transform=Affine.identity())
    assert polygonized(bare, tmp_path / "bare.parquet").crs is None


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".shp"])
def test_without_a_crs(tmp_path: Path, suffix: str) -> None:
    raster = make_raster(tmp_path / "bare.tif", patchwork()[None], nodata=0, crs=None, transform=Affine.identity())
    frame = polygonized(raster, tmp_path / f"polygons{suffix}")
    assert frame.area.tolist() == frame["area_px"].tolist()
    assert frame.length.tolist() == frame["perim_px" if suffix == ".shp" else "perimeter_px"].tolist()
    assert frame.total_bounds.tolist() == [0, 0, 110, 90]


SITE = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'
LACKS = {
    "no CRS": (None, TRANSFORM, "give --assume-crs, or write polygons.gpkg"),
    "a site": (SITE, TRANSFORM, "does not lead to longitude and latitude"),
    "Mars": ("IAU_2015:49900", Affine(0.001, 0, 10, 0, -0.001, 10), "does not lead to longitude and latitude"),
    "a pole": ("EPSG:3413", Affine(1000, 0, -9000, 0, -1000, 8000), "lies around a pole"),
    "space": (
        "+proj=geos +h=35785831 +lon_0=0",
        Affine(3e4, 0, 4.4e6, 0, -3e4, 4.4e6),
        "beyond what its CRS can place",
    ),
}


@pytest.mark.parametrize("name", sorted(LACKS))
def test_what_geojson_and_tiles_cannot_hold(
    tmp_path: Path, name: str, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is refused before any work, by both commands, and other formats take it."""
    crs, transform, word = LACKS[name]
    raster = make_raster(tmp_path / "classes.tif", patchwork(20, 20)[None], nodata=0, crs=crs, transform=transform)
    with rasterio.open(scene_path) as file:
        scene = make_raster(tmp_path / "scene.tif", file.read(), crs=crs, transform=transform)
    with untouched(tmp_path):
        for suffix in (".geojson", ".geojsonl", ".geojsons", ".pmtiles"):
            out = tmp_path / f"polygons{suffix}"
            assert_refused(geoseg(capsys, "-q", "polygonize", raster, "-o", out), 65, word, "polygons.gpkg")
        common = ("-q", "predict", scene, "-m", model_path, "-o", tmp_path / "map.tif")
        assert_refused(geoseg(capsys, *common, "--polygons", out), 65, word, "polygons.gpkg")
    assert geoseg(capsys, "-q", "polygonize", raster, "-o", tmp_path / "polygons.gpkg").code == 0


def test_every_geojson_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    """In the same way: all polygons valid and narrow, and of the area that they have on the ground."""
    raster = make_raster(
        tmp_path / "fiji.tif", patchwork(30, 40)[None], nodata=0, crs="EPSG:32760",
        transform=Affine(30, 0, 818_900, 0, -30, 8_118_400),
    )  # fmt: skip
    frames = [polygonized(raster, tmp_path / f"p{suffix}") for suffix in (".geojson", ".geojsonl", ".geojsons")]
    frame = frames[0]
    assert all(other.geometry.geom_equals(frame.geometry).all() for other in frames[1:])
    parts = frame.explode().bounds
    assert frame.is_valid.all()
    assert (frame.geom_type == "MultiPolygon").sum() > 2
    assert (parts["maxx"] - parts["minx"] < 0.02).all()
    assert (parts["minx"].min(), parts["maxx"].max()) == (-180, 180)
    geod = pyproj.Geod(ellps="WGS84")
    areas = np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in frame.geometry])
    # UTM enlarges areas at the edge of a zone.
    np.testing.assert_allclose(areas, frame["area_m2"], rtol=3e-3)


@pytest.mark.parametrize("suffix", [".geojson", ".geojsonl"])
def test_what_lies_close_to_the_antimeridian_is_not_torn(tmp_path: Path, suffix: str) -> None:
    """An edge of pixels lies 3 mm from it, and GDAL writes 180 for 179.99999997."""
    transform = Affine(50, 0, 20037508.34 - 1000, 0, -50, 7e6)
    raster = make_raster(tmp_path / "c.tif", patchwork(30, 40)[None], nodata=0, crs="EPSG:3857", transform=transform)
    frame = polygonized(raster, tmp_path / f"p{suffix}")
    assert frame.is_valid.all()
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert (frame.geom_type == "MultiPolygon").any()


def test_areas_of_web_mercator_are_those_of_the_ground(tmp_path: Path) -> None:
    transform = Affine(10, 0, 1e6, 0, -10, 8.4e6)
    raster = make_raster(
        tmp_path / "mercator.tif", patchwork(30, 40)[None], nodata=0, crs="EPSG:3857", transform=transform
    )
    frame = polygonized(raster, tmp_path / "p.gpkg")
    assert frame.columns.tolist() == ["class_id", "class", "area_m2", "planar_m2", "perimeter_m", "geometry"]
    assert frame["planar_m2"].tolist() == frame.area.tolist()
    there = frame.to_crs("+proj=laea +lat_0=60.1 +lon_0=9 +ellps=WGS84")
    np.testing.assert_allclose(frame["area_m2"], there.area, rtol=1e-4)
    np.testing.assert_allclose(frame["perimeter_m"], there.length, rtol=1e-4)
    sieved = polygonized(raster, tmp_path / "sieved.gpkg", min_area=Area(60))
    assert sieved["area_m2"].min() >= 60
    assert frame["planar_m2"].min() > 60 > frame["area_m2"].min()


def test_a_crs_that_readers_would_take_for_another_is_refused(tmp_path: Path, classes_path: Path) -> None:
    rotated = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84"
    oblique = "+proj=omerc +lat_0=4 +lonc=115 +alpha=53.31 +gamma=53.13 +k=0.99984 +ellps=evrstSS"
    for number, (crs, suffix) in enumerate(
        [(rotated, ".shp"), (oblique, ".shp"), ("+proj=utm +zone=33 +units=km", ".fgb")]
    ):
        raster = make_raster(
            tmp_path / f"{number}.tif", patchwork(20, 20)[None], nodata=0, crs=crs,
            transform=Affine(0.1, 0, 10, 0, -0.1, 20),
        )  # fmt: skip
        with untouched(tmp_path), pytest.raises(InputError, match=r"cannot be described in .*; write p\.gpkg"):
            polygonized(raster, tmp_path / f"p{suffix}")
        assert pyproj.CRS(polygonized(raster, tmp_path / f"{number}.parquet").crs).name != ""


def test_a_crs_of_ones_own_stays_as_it_is(tmp_path: Path) -> None:
    crs = pyproj.CRS("+proj=tmerc +lat_0=47.3 +lon_0=8.1 +k=0.9999 +x_0=1000 +y_0=2000 +ellps=bessel +units=m").to_wkt()
    raster = make_raster(tmp_path / "classes.tif", patchwork()[None], nodata=0, crs=crs)
    with rasterio.open(raster) as file:
        written = pyproj.CRS.from_wkt(file.crs.to_wkt())
    for suffix in (".gpkg", ".fgb", ".parquet", ".shp"):
        frame = polygonized(raster, tmp_path / f"polygons{suffix}")
        # A Shapefile has names of its own for what is the same.
        assert frame.crs == written or suffix == ".shp"
        there = pyproj.Transformer.from_crs(frame.crs, written, always_xy=True).transform(400_000, 5_800_000)
        assert there == pytest.approx((400_000, 5_800_000), abs=1e-6)
        assert frame.area.tolist() == frame["area_m2"].tolist()


def test_geojson_has_no_gaps_and_says_what_it_did(
    tmp_path: Path, classes_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        frame = polygonized(classes_path, tmp_path / "polygons.geojson")
    assert "longitude and latitude" in caplog.text
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    north, east = frame.to_crs(UTM).total_bounds[[3, 0]]
    assert (round(east, 3), round(north, 3)) == (TRANSFORM.c, TRANSFORM.f)


def test_the_command(tmp_path: Path, classes_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "polygons.gpkg"
    outcome = geoseg(
        capsys, "polygonize", classes_path, "-o", out, "--min-area", "12px", "--classes", "1,class 3", "--field", "kind"
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (0, f"{out}\n")
    frame = geopandas.read_file(out, layer="classes")
    assert outcome.said[-1] == f"{len(frame)} polygons"
    values = np.concatenate(list(sieve([first_band(classes_path)], 12)))
    values[values == 2] = 0
    assert outlines(frame, "kind") == rasterio_shapes(values, TRANSFORM)
    assert pyogrio.read_info(out, layer="classes")["fields"].tolist() == ["kind", "class", "area_m2", "perimeter_m"]
    record = json.loads((tmp_path / "polygons.gpkg.geoseg.json").read_text())
    assert record["settings"] == {
        "min_area": "12px", "classes": ["1", "class 3"], "simplify": None, "confidence": None, "field": "kind",
    }  # fmt: skip
    with untouched(tmp_path):
        assert_refused(geoseg(capsys, "polygonize", classes_path, "-o", out), 73, "--overwrite")
    quiet = geoseg(capsys, "-q", "polygonize", classes_path, "-o", out, "--overwrite", "--assume-crs", "EPSG:3857")
    assert (quiet.code, quiet.err) == (0, "")


def test_square_metres_and_pixels_are_the_same_area(tmp_path: Path, classes_path: Path) -> None:
    frames = [
        polygonized(classes_path, tmp_path / f"{number}.gpkg", min_area=Area.parse(text))
        for number, text in enumerate(("3", "3 m2", "12px"))
    ]
    assert len(frames[0]) < len(polygonized(classes_path, tmp_path / "all.gpkg"))
    assert all(frame.equals(frames[0]) for frame in frames[1:])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_confidence(tmp_path: Path, classes_path: Path, dtype: str) -> None:
    full = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    sure = np.full((1, 90, 110), full, dtype)
    sure[0, :40] = 0
    path = make_raster(tmp_path / "confidence.tif", sure, nodata=0)
    frame = polygonized(classes_path, tmp_path / "polygons.gpkg", confidence=path)
    north = frame.bounds["miny"] >= TRANSFORM.f - 20
    assert frame.loc[north, "confidence"].isna().all()
    assert (frame.loc[~north, "confidence"] == 1).all()


def test_confidence_in_per_cent_is_told_or_refused(
    tmp_path: Path, classes_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_raster(tmp_path / "sure.tif", np.full((1, 90, 110), 80, np.uint8))
    command = ("polygonize", classes_path, "-o", tmp_path / "p.fgb", "--confidence", path)
    assert geoseg(capsys, *command).code == 0
    (said,) = caplog.messages
    assert said.startswith(f"{path}: its largest value is 80")
    make_raster(path, np.full((1, 90, 110), 80, np.float32))
    with untouched(tmp_path):
        outcome = geoseg(capsys, "-q", *command, "--overwrite")
    assert_refused(outcome, 65, f"{path}: has the value 80", "A/100.0")


def test_names_with_commas_and_several_options(
    tmp_path: Path, classes_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "".join(f"<Category>{name}</Category>" for name in ("none", "Developed, Low", "Low", "Developed"))
    (tmp_path / "classes.tif.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    out = tmp_path / "p.fgb"
    for options, ids in ((("Developed, Low",), {1}), (("Low", "3"), {2, 3}), (("Developed,Low",), {2, 3})):
        command = ("polygonize", classes_path, "-o", out, "--overwrite")
        chosen = [part for option in options for part in ("--classes", option)]
        assert geoseg(capsys, "-q", *command, *chosen).code == 0
        assert set(geopandas.read_file(out)["class_id"]) == ids
    for given in ("", " , "):
        assert_refused(geoseg(capsys, "-q", *command, "--classes", given), 78, "classes is empty")


def test_classes_that_do_not_occur_are_told(
    tmp_path: Path, classes_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    polygonized(classes_path, tmp_path / "p.gpkg", classes=("1", "99"))
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["there are no polygons of 99"]


def test_simplified_polygons_are_still_a_coverage(tmp_path: Path, classes_path: Path) -> None:
    """Fewer vertices, the same neighbours, the outer edge where it was, and the areas of the pixels."""
    exact = polygonized(classes_path, tmp_path / "exact.gpkg")
    frame = polygonized(classes_path, tmp_path / "simple.gpkg", simplify=2.0)
    assert len(frame) == len(exact)
    assert frame.count_coordinates().sum() < 0.9 * exact.count_coordinates().sum()
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert frame.is_valid.all()
    assert frame.union_all().equals(exact.union_all())
    assert frame.area.sum() == pytest.approx(exact.area.sum(), rel=1e-12)
    assert frame["area_m2"].tolist() == exact["area_m2"].tolist()
    assert shapely.is_ccw(shapely.get_exterior_ring(frame.geometry)).all()


def test_simplification_has_a_limit(tmp_path: Path, classes_path: Path) -> None:
    config = PolygonizeConfig(classes_path, tmp_path / "simple.gpkg", simplify=1.0)
    with (
        untouched(tmp_path),
        pytest.raises(SettingError, match=r"more than 0\.001 million vertices.*raise --min-area"),
        PolygonizeJob(config, max_vertices=1000) as job,
    ):
        list(job.run())
    with untouched(tmp_path), pytest.raises(SettingError, match=r"polygons.gpkg"):
        polygonized(classes_path, tmp_path / "polygons.geojson", simplify=1.0)
    with untouched(tmp_path), pytest.raises(SettingError, match="leave out --simplify"):
        polygonized(classes_path, tmp_path / "polygons.pmtiles", simplify=1.0)


def test_nothing_to_write_is_a_layer_without_features(tmp_path: Path) -> None:
    raster = make_raster(tmp_path / "classes.tif", np.zeros((1, 20, 30), np.uint8), nodata=0)
    for suffix in sorted(POLYGONS):
        out = tmp_path / f"polygons{suffix}"
        if suffix in (".geojsonl", ".geojsons", ".pmtiles"):
            # GDAL does not open what has no feature.
            continue
        assert len(polygonized(raster, out, overwrite=True, simplify=None)) == 0
    assert len(polygonized(raster, tmp_path / "simple.gpkg", simplify=1.0)) == 0


REFUSED: list[tuple[list[str], int, str]] = [
    (["-o", "polygons.txt"], 73, "polygons.gpkg"),
    (["-o", "nowhere/polygons.gpkg"], 73, "create it first"),
    (["-o", "polygons.gpkg", "--classes", "sea"], 78, "'sea'"),
    (["-o", "polygons.gpkg", "--classes", ","], 78, "classes is empty"),
    (["-o", "polygons.gpkg", "--simplify", "-1"], 78, "-1"),
    (["-o", "polygons.gpkg", "--field", "area_m2"], 78, "area_m2"),
    (["-o", "polygons.gpkg", "--field", "geom"], 78, "geom"),
    (["-o", "polygons.gpkg", "--field", "class id"], 78, "class id"),
    (["-o", "polygons.shp", "--field", "a_long_name"], 78, "at most 10"),
    (["-o", "polygons.gpkg", "--confidence", "missing.tif"], 66, "missing.tif"),
    (["-o", "polygons.gpkg", "--confidence", "small.tif"], 65, "11 x 9"),
    (["-o", "polygons.gpkg", "--confidence", "elsewhere.tif"], 65, "elsewhere"),
    (["-o", "polygons.gpkg", "--confidence", "wrong.tif"], 65, "int32"),
]


@pytest.mark.parametrize(("arguments", "code", "word"), REFUSED)
def test_what_is_refused(
    tmp_path: Path, classes_path: Path, arguments: list[str], code: int, word: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In one line with the way out, before anything is written."""
    monkeypatch.chdir(tmp_path)
    make_raster(tmp_path / "small.tif", np.ones((1, 9, 11), np.uint8))
    make_raster(tmp_path / "elsewhere.tif", patchwork()[None], transform=TRANSFORM @ Affine.translation(1, 0))
    make_raster(tmp_path / "wrong.tif", patchwork()[None].astype(np.int32))
    with untouched(tmp_path):
        assert_refused(geoseg(capsys, "polygonize", classes_path, *arguments), code, word)


def test_areas_that_are_none(tmp_path: Path, classes_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("nothing", "5km2", "-3", "0", "1.2.3px", "inf"):
        outcome = geoseg(capsys, "polygonize", classes_path, "-o", tmp_path / "p.gpkg", "--min-area", text)
        assert outcome.code == 2
        assert text in outcome.err
    assert (Area.parse("1e2 M2"), Area.parse(" 2.5px ")) == (Area(100.0), Area(2.5, "px"))
    assert [str(Area.parse(text)) for text in ("50", "12 px")] == ["50m2", "12px"]


@pytest.mark.parametrize("suffix", sorted(POLYGONS))
def test_a_failure_leaves_the_old_file_intact(
    tmp_path: Path, classes_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the disk fails, the raster does, or it is interrupted."""
    out = tmp_path / f"polygons{suffix}"
    polygonized(classes_path, out)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with untouched(tmp_path):
        for place, error in (
            ("geoseg.raster.class_raster.ClassRaster.read", KeyboardInterrupt()),
            ("geoseg.outputs.polygons.record_batch", MemoryError("too much")),
            ("geoseg.files.atomic.sync", OSError(28, "No space left on device")),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, fail)
                with pytest.raises((type(error), WriteError)):
                    polygonized(classes_path, out, overwrite=True)
        monkeypatch.setattr("geoseg.vector.readback.pyogrio.read_info", lambda *_, **__: {"features": 3})
        monkeypatch.setattr("geoseg.vector.readback._geometries", lambda *_: iter(()))
        monkeypatch.setattr("geoseg.vector.readback.count_polygons", lambda *_: 1 << 40)
        with pytest.raises(WriteError, match="disk full"):
            polygonized(classes_path, out, overwrite=True)


def test_closing_the_generator_leaves_nothing_behind(tmp_path: Path, classes_path: Path) -> None:
    with untouched(tmp_path), PolygonizeJob(PolygonizeConfig(classes_path, tmp_path / "polygons.gpkg")) as job:
        steps = job.run()
        next(steps)
        steps.close()


def test_a_shapefile_has_an_end(tmp_path: Path, classes_path: Path) -> None:
    path, georeference = tmp_path / "polygons.shp", Georeference(None, TRANSFORM)
    spec = VectorSpec("ESRI Shapefile", "classes", {"id": "int64"}, None)
    polygonizer = Polygonizer(110, georeference)
    batches = [*polygonizer.push(first_band(classes_path)), *polygonizer.finish()]

    def write() -> None:
        with writing_layer(path, spec, max_shapefile_bytes=1000) as layer:
            for batch in batches:
                layer.put(record_batch(spec, {"id": batch.values}, *batch.wkb))

    with untouched(tmp_path), pytest.raises(OutputError, match=r"2 GB; write polygons\.gpkg"):
        write()


def test_a_shapefile_takes_the_place_of_all_files_of_an_old_one(tmp_path: Path, classes_path: Path) -> None:
    polygonized(classes_path, tmp_path / "polygons.shp")
    (tmp_path / "polygons.sbn").write_bytes(b"an index of the old one")
    bare = make_raster(tmp_path / "bare.tif", patchwork()[None], nodata=0, crs=None, transform=Affine.identity())
    polygonized(bare, tmp_path / "polygons.shp", overwrite=True)
    assert {path.suffix for path in tmp_path.glob("polygons.*")} == {".shp", ".shx", ".dbf", ".cpg", ".qml", ".json"}


def test_a_style_that_is_there_stays(tmp_path: Path, classes_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And where it is not one of the column with the ids, that is said."""
    style = tmp_path / "polygons.qml"
    style.write_text("mine")
    polygonized(classes_path, tmp_path / "polygons.fgb", overwrite=True)
    assert style.read_text() == "mine"
    assert f"{style}: is kept, but does not style class_id" in caplog.text
    caplog.clear()
    style.unlink()
    for field, said in (("kind", False), ("kind", False), ("class_id", True)):
        polygonized(classes_path, tmp_path / "polygons.fgb", overwrite=True, field=field)
        assert ("does not style" in caplog.text) == said
    assert 'attr="kind"' in style.read_text()


def test_a_style_has_the_classes_that_are_there(tmp_path: Path, classes_path: Path) -> None:
    """Neither nodata, nor those of the class map that no polygon has; 4 does not occur."""
    names = "".join(f"<Category>{name}</Category>" for name in ("nodata", "a", "b", "c", "d"))
    (tmp_path / "classes.tif.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    for wanted, listed in ((None, "abc"), (("a,d",), "a"), (("3", "b"), "bc")):
        polygonized(classes_path, tmp_path / "polygons.gpkg", overwrite=True, classes=wanted)
        with sqlite3.connect(tmp_path / "polygons.gpkg") as file:
            ((style,),) = file.execute("SELECT styleQML FROM layer_styles")
        file.close()
        found = ElementTree.fromstring(style.partition("\n")[2]).iter("category")
        assert "".join(str(entry.get("label")) for entry in found) == listed


def test_every_output_has_a_record_of_its_own(tmp_path: Path, classes_path: Path) -> None:
    record = tmp_path / "classes.geoseg.json"
    record.write_text(json.dumps({"files": {"classes.tif": ""}, "classes": []}))
    before = record.read_text()
    for suffix in (".gpkg", ".fgb"):
        polygonized(classes_path, tmp_path / f"classes{suffix}")
    assert record.read_text() == before
    for suffix in (".gpkg", ".fgb"):
        told = json.loads((tmp_path / f"classes{suffix}.geoseg.json").read_text())
        assert f"classes{suffix}" in told["files"]


def test_two_processes_on_one_output(tmp_path: Path, classes_path: Path) -> None:
    """The second one is refused from the start, also by the name of a link; the first one's files are not touched."""
    out, link = tmp_path / "polygons.shp", tmp_path / "link.shp"
    link.symlink_to(out)
    with PolygonizeJob(PolygonizeConfig(classes_path, out)) as job:
        steps = job.run()
        next(steps)
        for other in (out, link):
            with pytest.raises(LockedError, match=f"{other.name}: process {os.getpid()} .* is at work there"):
                polygonized(classes_path, other)
        list(steps)
    record = json.loads((tmp_path / "polygons.shp.geoseg.json").read_text())
    assert {name: sha256(tmp_path / name) for name in record["files"]} == record["files"]
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OutputError, match="--overwrite"):
        polygonized(classes_path, out)


def test_polygons_that_appear_meanwhile_are_not_replaced(tmp_path: Path, classes_path: Path) -> None:
    with PolygonizeJob(PolygonizeConfig(classes_path, tmp_path / "p.fgb")) as job:
        (tmp_path / "p.fgb").write_text("of another process")
        with untouched(tmp_path), pytest.raises(OutputError, match="exists already"):
            list(job.run())


def test_two_maps_with_one_file_of_polygons(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("-q", "predict", scene_path, "-m", model_path, "-o", tmp_path / "map.tif")
    for option, shared in (("--polygons", tmp_path / "p.gpkg"), ("--confidence", tmp_path / "c.tif")):
        with OutputLocks(shared), untouched(tmp_path):
            assert_refused(geoseg(capsys, *common, option, shared), 75, shared.name, str(os.getpid()))


def test_bytes_are_reproducible(tmp_path: Path, classes_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for suffix in sorted(POLYGONS):
        contents = set()
        for _ in range(2):
            polygonized(classes_path, tmp_path / f"p{suffix}", overwrite=True)
            contents.add((tmp_path / f"p{suffix}").read_bytes())
        assert len(contents) == 1, suffix


def test_predict_writes_sieved_classes_and_their_polygons(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The raster is sieved by the rule, whatever the blocks; the polygons are those of the raster; confidence stays."""
    plain, out, vectors = tmp_path / "plain.tif", tmp_path / "classes.tif", tmp_path / "polygons.fgb"
    sure, other = tmp_path / "sure.tif", tmp_path / "other.tif"
    common = ("predict", scene_path, "-m", model_path, "--precision", "float32")
    assert geoseg(capsys, *common, "-o", plain, "--confidence", sure).code == 0
    settings = ("--min-area", "60m2", "--polygons", vectors, "--confidence", other)
    assert geoseg(capsys, *common, "-o", out, *settings).code == 0
    np.testing.assert_array_equal(first_band(out), np.concatenate(list(sieve([first_band(plain)], 240))))
    assert (first_band(out) != first_band(plain)).any()
    assert cog_validate(out)[0]
    np.testing.assert_array_equal(first_band(other), first_band(sure))
    frame = geopandas.read_file(vectors)
    assert outlines(frame) == rasterio_shapes(first_band(out), TRANSFORM)
    assert frame["confidence"].between(0, 1).all()
    record = json.loads((tmp_path / "classes.geoseg.json").read_text())
    assert record["settings"]["min_area"] == "60m2"
    assert {"classes.tif", "polygons.fgb", "polygons.qml", "other.tif"} <= set(record["files"])
    assert {name: sha256(tmp_path / name) for name in record["files"]} == record["files"]
    one = tmp_path / "one.gpkg"
    assert geoseg(capsys, "polygonize", out, "-o", one, "--confidence", other).code == 0
    again = geopandas.read_file(one, layer="classes")
    assert outlines(again) == outlines(frame)
    assert sorted(again["confidence"]) == sorted(frame["confidence"])


def test_predict_refuses_what_polygons_cannot_be(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_raster(tmp_path / "bare.tif", np.full((3, 64, 64), 9, np.uint8), crs=None, transform=Affine.identity())
    out = ("-o", tmp_path / "classes.tif", "-m", model_path)
    with untouched(tmp_path):
        assert_refused(geoseg(capsys, "predict", scene_path, *out, "--polygons", tmp_path / "p.tif"), 73, "p.gpkg")
        assert_refused(geoseg(capsys, "-q", "predict", bare, *out, "--min-area", "50"), 78, "50px")
        assert_refused(
            geoseg(capsys, "predict", scene_path, bare, "-o", tmp_path, "--polygons", tmp_path / "p.gpkg"),
            73, "--polygons",
        )  # fmt: skip
