"""The formats of areas of interest: written by GDAL, read by geoseg, and whatever else is offered under their names."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from contextlib import suppress
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from helpers.rasters import TRANSFORM, UTM
from rasterio.crs import CRS
from shapely import LineString, MultiPolygon, Point, Polygon, box

from geoseg.areas.aoi import AreaOfInterest
from geoseg.areas.placing import flattened
from geoseg.areas.reading import MAX_TEXT_BYTES, open_areas
from geoseg.errors import GeosegError, InputError, SettingError
from geoseg.grid import Window
from geoseg.raster.georeference import Georeference

RING = [(400_010, 5_799_990), (400_090, 5_799_970), (400_080, 5_799_905), (400_015, 5_799_910)]
SHAPES = [
    Polygon(RING, [[(400_030, 5_799_950), (400_060, 5_799_960), (400_050, 5_799_940)]]),
    MultiPolygon([box(400_101, 5_799_920, 400_111, 5_799_930), box(400_112, 5_799_920, 400_118, 5_799_940)]),
    box(400_105, 5_799_950, 400_118, 5_799_990),
]
FRAME = geopandas.GeoDataFrame({"name": ["a", "b", "c"]}, geometry=SHAPES, crs=UTM)
KML = """<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder><Placemark>
<Polygon><outerBoundaryIs><LinearRing><coordinates>1,2,0 3,2,0 3,4,0 1,2,0</coordinates></LinearRing></outerBoundaryIs>
</Polygon></Placemark></Folder></Document></kml>"""


def read(path: Path, layer: str | None = None) -> geopandas.GeoSeries:
    """All polygons of a file."""
    crs, batches, _ = open_areas(path, layer)
    return geopandas.GeoSeries(flattened(np.concatenate(list(batches))), crs=crs)


def gml(srs: str, ring: str) -> str:
    """A polygon in GML 3."""
    return (
        f'<Collection xmlns:gml="http://www.opengis.net/gml"><gml:Polygon srsName="{srs}"><gml:exterior>'
        f"<gml:LinearRing><gml:posList>{ring}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></Collection>"
    )


@pytest.mark.parametrize(
    ("name", "driver", "options"),
    [
        ("area.gpkg", "GPKG", {}),
        ("area.shp", "ESRI Shapefile", {}),
        ("area.fgb", "FlatGeobuf", {}),
        ("plain.fgb", "FlatGeobuf", {"SPATIAL_INDEX": "NO"}),
        ("area.gml", "GML", {"FORMAT": "GML3.2"}),
        ("old.gml", "GML", {"FORMAT": "GML2"}),
        ("crs.geojson", "GeoJSON", {}),
        ("degrees.gml", "GML", {}),
        ("degrees.gpkg", "GPKG", {}),
        ("area.geojson", "GeoJSON", {"RFC7946": "YES"}),
        ("area.geojsonl", "GeoJSONSeq", {}),
        ("area.geojsons", "GeoJSONSeq", {"RS": "YES"}),
        ("area.kml", "KML", {}),
    ],
)
def test_what_gdal_wrote_is_read(name: str, driver: str, options: dict[str, str], tmp_path: Path) -> None:
    degrees = name.startswith("degrees") or "RFC7946" in options or driver in ("GeoJSONSeq", "KML")
    frame = FRAME.to_crs(4326) if degrees else FRAME
    frame.to_file(tmp_path / name, driver=driver, **options)
    found = read(tmp_path / name)
    if driver == "FlatGeobuf":  # sorted in space
        found = found.iloc[np.argsort(-found.area.to_numpy())]
    assert found.crs == frame.crs or degrees
    expected = geopandas.GeoSeries(flattened(FRAME.geometry.to_numpy()), crs=UTM)
    difference = found.to_crs(UTM).union_all().symmetric_difference(expected.union_all()).area
    assert difference < (2 if degrees else 1e-6)
    assert len(found) == 4


def test_geoparquet_and_a_csv_of_nothing(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "area.parquet")
    assert read(tmp_path / "area.parquet").union_all().equals(FRAME.union_all())
    FRAME.drop(columns="geometry").to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match="without geometries"):
        open_areas(tmp_path / "table.parquet")


@pytest.mark.parametrize("srs", ["urn:ogc:def:crs:EPSG::4326", "http://www.opengis.net/def/crs/EPSG/0/4326"])
def test_gml_may_have_the_latitude_first(srs: str, tmp_path: Path) -> None:
    path = tmp_path / "area.gml"
    path.write_text(gml(srs, "52 13 52 14 53 14 52 13"))
    assert read(path).total_bounds.tolist() == [13, 52, 14, 53]
    path.write_text(gml("EPSG:4326", "13 52 0 14 52 0 14 53 0 13 52 0".replace(" 0", "")))
    assert read(path).total_bounds.tolist() == [13, 52, 14, 53]


def test_kml(tmp_path: Path) -> None:
    (tmp_path / "doc.kml").write_text(KML)
    assert read(tmp_path / "doc.kml").total_bounds.tolist() == [1, 2, 3, 4]


def test_rings_of_a_shapefile_whatever_their_sense(tmp_path: Path) -> None:
    """An island in a hole, and a part that runs the wrong way round."""
    squares = [box(0, 0, 10, 10), box(2, 2, 8, 8), box(4, 4, 6, 6), box(20, 0, 22, 2)]
    rings = [list(square.exterior.coords)[:: 1 if k % 2 else -1] for k, square in enumerate(squares)]
    points = np.array([vertex for ring in rings for vertex in ring])
    content = struct.pack("<i4d2i", 5, 0, 0, 22, 10, 4, 20) + struct.pack("<4i", 0, 5, 10, 15) + points.tobytes()
    size = 100 + 8 + len(content)
    header = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, size // 2) + struct.pack("<2i8d", 1000, 5, *([0.0] * 8))
    (tmp_path / "area.shp").write_bytes(header + struct.pack(">2i", 1, len(content) // 2) + content)
    assert sum(read(tmp_path / "area.shp").area) == 100 - 36 + 4 + 4


def test_deleted_rows_of_a_shapefile_are_left_out(tmp_path: Path) -> None:
    FRAME.to_file(tmp_path / "area.shp")
    table = bytearray((tmp_path / "area.dbf").read_bytes())
    start, size = struct.unpack_from("<HH", table, 8)
    table[start + size] = ord("*")
    (tmp_path / "area.dbf").write_bytes(table)
    assert len(read(tmp_path / "area.shp")) == 2


def test_a_geopackage_of_several_layers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "area.gpkg"
    FRAME.to_file(path, layer="fields")
    geopandas.GeoDataFrame(geometry=[Point(0, 0)], crs=UTM).to_file(path, layer="wells")
    assert len(read(path)) == 4
    assert "the one with polygons, fields" in caplog.text
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(path, layer="plots")
    with pytest.raises(InputError, match="fields, plots; choose one with --aoi-layer"):
        read(path)
    assert read(path, "plots").area.tolist() == [1]
    with pytest.raises(SettingError, match="has no layer 'forest'; it has fields, plots, wells"):
        read(path, "forest")
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM).to_file(tmp_path / "area.fgb")
    with pytest.raises(SettingError, match="leave --aoi-layer out"):
        read(tmp_path / "area.fgb", "plots")


def test_only_tables_of_a_geopackage_are_read(tmp_path: Path) -> None:
    """A view may compute anything, for any time."""
    path = tmp_path / "area.gpkg"
    FRAME.to_file(path, layer="fields")
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE fields RENAME TO hidden")
        database.execute("CREATE VIEW fields AS SELECT * FROM hidden")
    with pytest.raises(InputError, match="is a view"):
        read(path)


MISTAKEN: dict[str, tuple[bytes, str]] = {
    "vrt.gpkg": (b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/vsicurl/http://127.0.0.1:9/x</SrcDataSource>'
                 b"</OGRVRTLayer></OGRVRTDataSource>", "neither KML nor GML"),
    "wfs.gml": (b"<OGRWFSDataSource><URL>http://127.0.0.1:9/wfs</URL></OGRWFSDataSource>", "neither KML nor GML"),
    "pipeline.geojson": (b'{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline"}', "gdal_streamed_alg"),
    "topology.json": (b'{"type": "Topology", "objects": {}}', "'Topology'"),
    "esri.json": (b'{"rings": [[[0, 0], [1, 0], [1, 1]]]}', "of type 'None'"),
    "broken.geojson": (b'{"type": "FeatureCollection", "features": [', "GeoJSON"),
    "deep.geojson": (b'{"type":"GeometryCollection","geometries":[' * 40 + b"]}" * 40, "GeoJSON"),
    "odd.geojson": (b'{"type": "Polygon", "coordinates": [[[0, 0], [1, "a"], [1, 1]]]}', "GeoJSON"),
    "nan.geojson": (b'{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1]]]}', "not finite"),
    "crs.geojson": (b'{"type": "Polygon", "coordinates": [], "crs": {"type": "link", "properties": {}}}', "crs"),
    "list.json": (b"[1, 2]", "not a vector file"),
    "laughs.kml": (b'<!DOCTYPE kml [<!ENTITY a "ha">]><kml>&a;</kml>', "DOCTYPE"),
    "link.gml": (b'<a xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink">'
                 b'<gml:surfaceMember xlink:href="http://127.0.0.1:9/a"/></a>', "elsewhere"),
    "arc.gml": (gml("EPSG:4326", "").encode().replace(b"posList", b"Arc"), "curves (Arc)"),
    "page.gpkg": (b"<!doctype html><html></html>", "KML or GML"),
    "text.gpkg": (b"nothing of the kind", "not a vector file"),
    "area.zip": (b"PK\x03\x04 and so on", "ZIP archive"),
    "random.fgb": (b"fgb\x03fgb\x01" + bytes(range(250)), "FlatGeobuf"),
    "short.shp": (struct.pack(">7i", 9994, 0, 0, 0, 0, 0, 5000) + bytes(72), "truncated"),
    "short.parquet": (b"PAR1 and nothing more", "GeoParquet"),
    "short.gpkg": (b"SQLite format 3\x00 and nothing more", "GeoPackage"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKEN)
def test_everything_else_is_refused(name: str, tmp_path: Path) -> None:
    content, words = MISTAKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(open_areas(tmp_path / name).batches)
    assert str(raised.value).startswith(f"{tmp_path / name}: ")
    assert words in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "parquet", "geojson", "kml"])
def test_damaged_files_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    """Flipped bytes and lost ends: never anything but an error of geoseg's."""
    path, random = tmp_path / f"area.{suffix}", np.random.default_rng(1)
    if suffix == "parquet":
        FRAME.to_parquet(path)
    else:
        FRAME.to_crs(4326).to_file(path, driver="KML" if suffix == "kml" else None)
    intact = np.frombuffer(path.read_bytes(), np.uint8)
    for k in range(12):
        damaged = intact.copy()
        damaged[random.integers(0, min(len(damaged), 20_000), 6)] ^= random.integers(1, 255, 6, np.uint8)
        path.write_bytes(damaged[: random.integers(64, len(damaged)) if k % 3 == 0 else None].tobytes())
        with suppress(GeosegError):
            list(open_areas(path).batches)


@pytest.mark.parametrize("beside", ["area.gpkg-wal", "area.gpkg-journal"])
def test_a_pipe_beside_a_geopackage(beside: str, tmp_path: Path) -> None:
    FRAME.to_file(tmp_path / "area.gpkg")
    os.mkfifo(tmp_path / beside)
    with pytest.raises(InputError, match="not a regular file"):
        open_areas(tmp_path / "area.gpkg")


def test_a_pipe_beside_a_shapefile(tmp_path: Path) -> None:
    FRAME.to_file(tmp_path / "area.shp")
    (tmp_path / "area.prj").unlink()
    os.mkfifo(tmp_path / "area.prj")
    with pytest.raises(InputError, match="not a regular file"):
        open_areas(tmp_path / "area.shp")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "parquet"])
def test_a_path_is_a_path(suffix: str, tmp_path: Path) -> None:
    folder = "NEW! a;b\n50% [x]?#"
    plain = tmp_path / f"area.{suffix}"
    FRAME.to_parquet(plain) if suffix == "parquet" else FRAME.to_file(plain)
    (tmp_path / folder).mkdir()
    for file in tmp_path.glob("area.*"):
        shutil.move(file, tmp_path / folder)
    assert len(read(tmp_path / folder / plain.name)) == 4


def test_the_digest_is_that_of_all_that_decides(tmp_path: Path) -> None:
    grid, extent = Georeference(CRS.from_string(UTM), TRANSFORM), Window.of(0, 0, 200, 240)
    FRAME.to_file(tmp_path / "area.shp")
    before = AreaOfInterest(tmp_path / "area.shp", grid, extent).digest
    (tmp_path / "area.prj").unlink()
    assert AreaOfInterest(tmp_path / "area.shp", grid, extent).digest != before


def test_large_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "area.geojson"
    path.write_text("{")
    os.truncate(path, MAX_TEXT_BYTES + 1)
    with pytest.raises(InputError, match="ogr2ogr"):
        open_areas(path)


def test_geojson_without_features_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": None}))
    assert [shape.is_empty for batch in open_areas(path).batches for shape in batch] == [True]
    line = shapely.geometry.mapping(LineString([(0, 0), (1, 1)]))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": line}]}))
    assert [shape.is_empty for batch in open_areas(path).batches for shape in batch] == [True]
