"""Tables of areas: of a map, of each feature of its area of interest, and of polygons."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
from affine import Affine
from helpers.class_maps import make_map
from helpers.commandline import assert_refused, first_band, geoseg, untouched
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely.geometry import MultiPolygon, Point, Polygon, box

from geoseg.areas.features import features_of
from geoseg.classes import ClassMap, LandClass
from geoseg.files.record import read_record
from geoseg.outputs.area_tables import feature_areas
from geoseg.outputs.class_areas import class_areas
from geoseg.raster.class_raster import ClassRaster

ODD = ('a "b", c', "d & <e>", "🌳")
IDS = np.random.default_rng(1).integers(0, 4, (40, 60))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def counted(ids: NDArray[Any]) -> dict[int, int]:
    return {int(v): int(n) for v, n in zip(*np.unique(ids, return_counts=True), strict=True) if v}


def test_areas_are_those_on_the_ground(tmp_path: Path) -> None:
    classes = ClassMap.default(3)
    flat = make_map(tmp_path / "flat.tif", IDS, classes)
    none = make_map(tmp_path / "none.tif", IDS, classes, crs=None)
    # Web Mercator at 60 degrees north, where an area on the map is four times that on the ground.
    west, north = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(10, 60)
    mercator = make_map(tmp_path / "m.tif", IDS, classes, crs="EPSG:3857", transform=Affine(3, 0, west, 0, -3, north))
    found = []
    for path in (flat, none, mercator):
        with ClassRaster(path) as raster:
            found.append(class_areas(raster))
    for areas in found:
        assert {value: area.pixels for value, area in areas.items()} == counted(IDS)
    assert [area.m2 for area in found[0].values()] == [area.pixels * 0.25 for area in found[0].values()]
    assert {area.m2 for area in found[1].values()} == {None}
    x, y = west + np.array([0, 180, 180, 0]), north - np.array([0, 0, 120, 120])
    corners = pyproj.Transformer.from_crs(3857, 4326, always_xy=True).transform(x, y)
    whole = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*corners)[0])
    share = np.count_nonzero(IDS) / IDS.size
    assert sum(area.m2 or 0 for area in found[2].values()) == pytest.approx(whole * share, rel=1e-4)
    assert whole == pytest.approx(40 * 60 * 9 / 4, rel=0.02)


def test_pixels_of_a_feature_have_the_areas_of_their_place(tmp_path: Path) -> None:
    # Turned by a third, so that in Web Mercator no two columns of pixels have one area.
    transform = Affine.translation(1_000_000, 8_000_000) @ Affine.rotation(-120) @ Affine.scale(5000)
    path = make_map(tmp_path / "m.tif", IDS, ClassMap.default(3), crs="EPSG:3857", transform=transform)
    halves = [
        Polygon([transform @ (x, y) for x, y in ((a, 0), (b, 0), (b, 40), (a, 40))]) for a, b in ((0, 37), (37, 60))
    ]
    geopandas.GeoDataFrame(geometry=halves, crs=3857).to_file(tmp_path / "a.gpkg")
    with ClassRaster(path) as raster:
        features = features_of(tmp_path / "a.gpkg", raster.scene.georeference, raster.scene.extent)
        whole, parts = feature_areas(raster, features)
    for value, area in whole.items():
        pair = [parts[number][value] for number in (1, 2)]
        assert sum(each.pixels for each in pair) == area.pixels
        assert sum(each.m2 or 0 for each in pair) == pytest.approx(area.m2, rel=1e-12)
    assert parts[1][1].m2 != pytest.approx(whole[1].m2 * parts[1][1].pixels / whole[1].pixels, rel=1e-3)  # type: ignore[operator]


def test_a_map_has_a_table_of_each_feature(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = landscape(300, 420)
    pixels[:, :30] = 0
    scene = make_raster(tmp_path / "scene.tif", pixels, nodata=0)

    def place(*corners: float) -> Polygon:
        left, top, right, bottom = corners
        return box(*(TRANSFORM @ (left, bottom)), *(TRANSFORM @ (right, top)))

    shapes = [
        place(60, 40, 200.3, 150),
        Point(TRANSFORM @ (1, 1)),
        MultiPolygon([place(150, 100, 300, 260), place(310, 5, 500, 60)]),
        place(5, 5, 20, 20),
        Polygon([TRANSFORM @ corner for corner in ((60, 200), (120, 290), (20, 280))]),
    ]
    geopandas.GeoDataFrame(geometry=shapes, crs=UTM).to_file(tmp_path / "aoi.geojson", driver="GeoJSON")
    left, bottom, right, top = 400_020, 5_799_860, 400_300, 5_799_990
    out, table = tmp_path / "map.tif", tmp_path / "areas.csv"
    command = ("predict", scene, "-m", model_path, "-o", out, "--aoi", tmp_path / "aoi.geojson", "--areas", table)
    more = ("--bounds", left, bottom, right, top, "--polygons", tmp_path / "p.gpkg")
    assert geoseg(capsys, "-q", *command, *more).code == 0
    ids = first_band(out)
    transform = TRANSFORM @ Affine.translation(40, 20)
    groups = {"all": ids}
    for number, shape in enumerate(shapes, 1):
        if not isinstance(shape, Point):
            groups[str(number)] = ids * geometry_mask([shape], ids.shape, transform, invert=True)
    found = rows(table)
    assert list(dict.fromkeys(row["feature"] for row in found)) == list(groups)
    for name, values in groups.items():
        counts = counted(values)
        assert {
            int(r["class_id"]): int(r["pixels"]) for r in found if r["feature"] == name and r["pixels"] != "0"
        } == counts
        percent = sum(float(row["percent"]) for row in found if row["feature"] == name)
        assert percent == pytest.approx(100 if counts else 0, abs=0.01)
    assert all(float(row["ha"]) == pytest.approx(int(row["pixels"]) * 0.25 / 1e4) for row in found)
    assert len({row["class"] for row in found}) == len(counted(ids)) > 2
    assert tmp_path / "areas.csv" in read_record(tmp_path / "map.geoseg.json").files
    assert not [each for each in json.loads(geoseg(capsys, "check", out, "--json").out) if not each["ok"]]
    # The polygons of the map have the same areas.
    options = ("-o", tmp_path / "q.fgb", "--areas", tmp_path / "q.csv")
    assert geoseg(capsys, "-q", "polygonize", out, *options).code == 0
    whole = [{k: v for k, v in row.items() if k != "feature"} for row in found if row["feature"] == "all"]
    assert rows(tmp_path / "q.csv") == whole
    assert tmp_path / "q.csv" in read_record(tmp_path / "q.fgb.geoseg.json").files


def test_polygonize_writes_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = ClassMap(tuple(LandClass(i, name, "#123456") for i, name in enumerate(ODD, 1)))
    path = make_map(tmp_path / "map.tif", IDS, classes)
    options = ("-o", tmp_path / "p.gpkg", "--areas", tmp_path / "p.csv", "--min-area", "3px", "--classes", "1,3")
    assert geoseg(capsys, "-q", "polygonize", path, *options).code == 0
    found, polygons = rows(tmp_path / "p.csv"), geopandas.read_file(tmp_path / "p.gpkg", layer="classes")
    areas = polygons.groupby("class")["area_m2"].sum()
    assert {row["class"]: pytest.approx(float(row["ha"]) * 1e4) for row in found} == areas.to_dict()
    assert [row["class"] for row in found] == [ODD[0], ODD[2]]
    assert sum(float(row["percent"]) for row in found) == pytest.approx(100, abs=0.001)
    with untouched(tmp_path):
        assert_refused(geoseg(capsys, "-q", "polygonize", path, *options[:4]), 73, "p.gpkg", "--overwrite")
        other = ("-o", tmp_path / "new.gpkg", "--areas")
        assert_refused(geoseg(capsys, "-q", "polygonize", path, *other, tmp_path / "p.csv"), 73, "p.csv", "--overwrite")
        assert_refused(geoseg(capsys, "-q", "polygonize", path, *other, tmp_path / "a.txt"), 73, "a.csv")
        assert_refused(geoseg(capsys, "-q", "polygonize", path, *other, path, "--overwrite"), 73, "input itself")


def test_other_classes_for_a_map_change_its_table(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from geoseg.jobs.relabel import RelabelJob
    from geoseg.naming.edits import merge

    command = ("-q", "predict", scene_path, "-m", model_path, "-o", tmp_path / "maps", "--areas", tmp_path / "maps")
    assert geoseg(capsys, *command, "--confidence", tmp_path / "maps").code == 0
    table = tmp_path / "maps" / "scene-areas.csv"
    before = {int(row["class_id"]): int(row["pixels"]) for row in rows(table)}
    with RelabelJob(
        tmp_path / "maps" / "scene-classes.tif", merge(ClassMap.default(5), [2], into=1, name="one")
    ) as job:
        for _ in job.run():
            pass
    after = {row["class"]: int(row["pixels"]) for row in rows(table)}
    assert after["one"] == before[1] + before[2]
    assert sum(after.values()) == sum(before.values())
    findings = json.loads(geoseg(capsys, "check", tmp_path / "maps" / "scene-classes.tif", "--json").out)
    assert not [each for each in findings if not each["ok"]]
