"""Polygons of class rasters in every kind of place: areas, lengths, confidence, orientation."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from helpers.class_rasters import HEIGHTS, bands, classes, rasterio_shapes, sieved
from helpers.rasters import TRANSFORM, UTM, make_raster
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.classes import LandClass
from geoseg.errors import BandError, InputError, SettingError
from geoseg.grid import Window
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.units import Area
from geoseg.vector.geodataframe import to_geodataframe
from geoseg.vector.polygons import PolygonBatch, Polygonizer, polygonize

FEET = "EPSG:2263"
WEST_SOUTH = "EPSG:2053"
CUSTOM = "+proj=tmerc +lat_0=47.3 +lon_0=8.1 +k=0.9999 +x_0=1000 +y_0=2000 +ellps=bessel +units=m +no_defs"
ROTATED = Affine.translation(400_000, 5_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.25) @ Affine.shear(10, 0)
DEGREES = Affine(1e-4, 0, 11, 0, -1e-4, 48)
PLACES = {
    "north-up": (UTM, TRANSFORM),
    "south-up": (UTM, Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000)),
    "rotated": (UTM, ROTATED),
    "feet": (FEET, Affine(2, 0, 980_000, 0, -2, 200_000)),
    "custom": (CUSTOM, TRANSFORM),
    "west and south": (WEST_SOUTH, Affine(0.5, 0, 1000, 0, -0.5, 2_000_000)),
    "degrees": ("EPSG:4326", DEGREES),
    "rotated degrees": ("EPSG:4326", Affine.translation(11, 48) @ Affine.rotation(20) @ Affine.scale(1e-4, -1e-4)),
    "nowhere": (None, Affine.identity()),
    "turned nowhere": (None, Affine(1, 0, 0, 0, -1, 0)),
}


def place(name: str) -> Georeference:
    crs, transform = PLACES[name]
    return Georeference(CRS.from_string(crs) if crs else None, transform)


def polygonized(values: NDArray[Any], georeference: Georeference, height: int, **settings: Any) -> list[PolygonBatch]:
    work = Polygonizer(values.shape[1], georeference, rows=len(values), **settings)
    batches = [batch for band in bands(values, height) for batch in work.push(band)]
    return [*batches, *work.finish()]


def said(batches: list[PolygonBatch]) -> list[tuple[Any, ...]]:
    """All attributes of each polygon, to the last bit."""
    found = []
    for batch in batches:
        wkb, offsets = batch.wkb
        shapes = [wkb[start:stop].tobytes() for start, stop in pairwise(offsets)]
        sure = batch.confidence if batch.confidence is not None else np.zeros(len(batch))
        columns = (batch.values, batch.pixels, batch.area, batch.perimeter, sure)
        found += list(zip(*(column.astype("S32" if column.dtype.kind == "f" else "i8").tolist() for column in columns),
                          shapes, strict=True))  # fmt: skip
    return found


def shapes_of(batches: list[PolygonBatch]) -> NDArray[Any]:
    return shapely.from_wkb([entry[-1] for entry in said(batches)])


def together(batches: list[PolygonBatch], name: str) -> NDArray[Any]:
    return np.concatenate([np.empty(0), *(getattr(batch, name) for batch in batches)])


@given(classes, st.sampled_from(sorted(PLACES)), st.sampled_from([None, Area(3, "px")]))
def test_nothing_depends_on_the_rows_that_come_at_once(
    values: NDArray[np.uint8], name: str, least: Area | None
) -> None:
    sure = np.random.default_rng(0).integers(0, 256, values.shape).astype(np.uint8)
    settings = {"min_area": least, "confidence": lambda rows: sure[rows.start : rows.stop]}
    whole = said(polygonized(values, place(name), len(values), **settings))
    assert all(said(polygonized(values, place(name), height, **settings)) == whole for height in HEIGHTS)


@given(classes, st.sampled_from(sorted(PLACES)))
def test_polygons_follow_the_pixels_of_any_place(values: NDArray[np.uint8], name: str) -> None:
    where = place(name)
    batches = polygonized(values, where, 3)
    shapes = shapes_of(batches)
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    pixels = together(batches, "pixels")
    assert pixels.sum() == (values > 0).sum()
    np.testing.assert_allclose(shapely.area(shapes), pixels * abs(where.transform.determinant), rtol=1e-6)
    if name == "north-up":
        found = [(entry[0], shapely.normalize(shape).wkb) for entry, shape in zip(said(batches), shapes, strict=True)]
        assert sorted(found) == rasterio_shapes(values, where.transform)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_areas_and_lengths(name: str) -> None:
    """Against shapely on the map, and pyproj's geodesics on the ellipsoid."""
    values = np.random.default_rng(1).integers(0, 3, (60, 70)).astype(np.uint8)
    where = place(name)
    batches = polygonized(values, where, 7)
    shapes, area, length = shapes_of(batches), together(batches, "area"), together(batches, "perimeter")
    if "degrees" in name:
        geod = pyproj.CRS(4326).get_geod()
        # What lies along a parallel is cut into pixels, for a geodesic is not one.
        fine = shapely.segmentize(shapes, 1e-4)
        measured = [geod.geometry_area_perimeter(shape)[0] for shape in fine]
        np.testing.assert_allclose(area, measured, rtol=1e-6)
        outlines = [sum(map(geod.geometry_length, (shape.exterior, *shape.interiors))) for shape in fine]
        np.testing.assert_allclose(length, outlines, rtol=1e-6)
        return
    unit = pyproj.CRS(PLACES[name][0]).axis_info[0].unit_conversion_factor if PLACES[name][0] else 1.0
    np.testing.assert_allclose(area, shapely.area(shapes) * unit**2, rtol=1e-6)
    np.testing.assert_allclose(length, shapely.length(shapes) * unit, rtol=1e-6)
    assert Ground(where).metric == (PLACES[name][0] is not None)


@pytest.mark.parametrize("name", sorted(name for name, (crs, _) in PLACES.items() if crs))
def test_longitude_and_latitude(name: str) -> None:
    """Where pyproj has the corners, in one piece, and the right way round, whichever way the axes go."""
    values = np.random.default_rng(1).integers(0, 3, (30, 40)).astype(np.uint8)
    plain, there = (polygonized(values, place(name), 7, noded=True, wgs84=wgs84) for wgs84 in (False, True))
    shapes = shapes_of(there)
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    moved = pyproj.Transformer.from_crs(place(name).wkt, 4326, always_xy=True)
    corners = shapely.get_coordinates(shapes_of(plain))
    expected = {(round(x, 9), round(y, 9)) for x, y in zip(*moved.transform(*corners.T), strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in shapely.get_coordinates(shapes).tolist()} == expected
    assert together(there, "area").tolist() == together(plain, "area").tolist()


def test_weights_of_degrees_do_not_depend_on_the_window() -> None:
    for name in ("degrees", "rotated degrees"):
        ground = Ground(place(name))
        whole = np.broadcast_to(ground.weights(Window.of(0, 0, 40, 30)), (40, 30))
        part = ground.weights(Window.of(11, 0, 20, 30))
        np.testing.assert_array_equal(np.broadcast_to(part, (20, 30)), whole[11:31])
        assert whole.max() < 1 << 24


@given(classes, st.sampled_from([(np.uint8, 255), (np.uint16, 65535)]))
def test_confidence_is_the_mean_over_the_pixels_that_have_any(
    values: NDArray[np.uint8], kind: tuple[type, int]
) -> None:
    dtype, full = kind
    sure = np.random.default_rng(int(values.sum())).integers(0, full + 1, values.shape).astype(dtype)
    sure[:, ::3] = 0
    batches = polygonized(values, place("north-up"), 2, confidence=lambda rows: sure[rows.start : rows.stop], full=full)
    shapes = shapely.affinity.affine_transform
    burnt = together(batches, "confidence")
    for mean, shape in zip(burnt, shapes_of(batches), strict=True):
        back = shapes(shape, _coefficients(~TRANSFORM))
        rows, cols = np.mgrid[: values.shape[0], : values.shape[1]]
        inside = shapely.contains_xy(back, cols + 0.5, rows + 0.5)
        some = sure[inside & (sure > 0)].astype(np.float64)
        assert np.isnan(mean) if not len(some) else mean == pytest.approx(some.mean() / full, abs=1e-12)


def _coefficients(transform: Affine) -> list[float]:
    return [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]


@pytest.mark.parametrize(
    ("name", "area", "least"),
    [
        ("north-up", Area(3), 12),
        ("north-up", Area(3.01), 13),
        ("feet", Area(4 * (1200 / 3937) ** 2 * 5), 5),
        ("rotated", Area(12.5, "px"), 13),
        ("nowhere", Area(6, "px"), 6),
        ("degrees", Area(7, "px"), 7),
    ],
)
def test_the_least_area(name: str, area: Area, least: int) -> None:
    values = np.random.default_rng(2).integers(0, 4, (20, 23)).astype(np.uint8)
    found = said(polygonized(values, place(name), 4, min_area=area))
    assert found == said(polygonized(sieved(values, least), place(name), 4))


def test_the_least_area_in_square_metres_of_degrees() -> None:
    """Rows nearer to the pole have smaller pixels, so that fewer regions are large enough there."""
    values = np.random.default_rng(2).integers(1, 4, (24, 25)).astype(np.uint8)
    where = Georeference(CRS.from_epsg(4326), Affine(0.1, 0, 11, 0, -2.5, 60))
    ground = Ground(where)
    weights = ground.weights(Window.of(0, 0, *values.shape))
    area = Area(float(np.median(weights)) * 4.5 * ground.step)
    found = said(polygonized(values, where, 3, min_area=area))
    assert found == said(polygonized(sieved(values, int(4.5 * np.median(weights)) + 1, weights), where, 3))
    assert len(np.unique(np.concatenate([batch.values for batch in polygonized(
        values, where, 3, min_area=Area(1e300))]))) == 1  # fmt: skip
    with pytest.raises(SettingError, match="50px"):
        Polygonizer(4, place("nowhere"), min_area=Area(50))


def test_law_7_memory_is_flat() -> None:
    """What is kept does not grow with the rows."""
    texture = np.random.default_rng(0).integers(1, 5, (64, 200)).astype(np.uint8)
    most = []
    for repeats in (5, 50):
        work, kept = Polygonizer(200, place("north-up"), min_area=Area(4, "px")), 0
        for _ in range(repeats):
            for _ in work.push(texture):
                pass
            kept = max(kept, len(work._sweep.edges))
        most.append(kept)
    assert most[0] == most[1]


def test_a_frame_of_pixels() -> None:
    values = np.array([[1, 1, 2], [0, 1, 2]], np.uint8)
    frame = to_geodataframe(values, place("north-up"), {1: "water"})
    assert frame.columns.tolist() == ["class_id", "class", "area_m2", "perimeter_m", "geometry"]
    assert frame.drop(columns="geometry").to_numpy().tolist() == [[1, "water", 0.75, 4.0], [2, "class 2", 0.5, 3.0]]
    assert frame.crs == UTM
    bare = to_geodataframe(values.astype(np.int32), min_area=Area(3, "px"))
    assert bare.columns.tolist() == ["class_id", "class", "area_px", "perimeter_px", "geometry"]
    assert bare["area_px"].tolist() == [5]
    assert bare.crs is None
    assert len(to_geodataframe(np.zeros((3, 4), np.uint8))) == 0
    assert len(to_geodataframe(np.zeros((3, 0), np.uint8), min_area=Area(3, "px"))) == 0
    foreign = to_geodataframe(values.astype(">i4")[:, ::-1], place("north-up"))
    assert foreign["area_m2"].tolist() == [0.5, 0.75]
    for wrong in (values / 2, values[0], values.astype(np.int16) - 1, values.astype(np.uint64) << 62):
        with pytest.raises(ValueError, match="integers"):
            to_geodataframe(wrong)


KINDS: list[tuple[str, list[int], int | None]] = [
    ("uint8", [0, 7, 255], 0),
    ("uint8", [0, 7, 255], 255),
    ("uint8", [0, 7, 255], None),
    ("uint16", [0, 300, 65535], 0),
    ("uint16", [0, 300, 65535], None),
    ("int16", [-32768, -5, 32767], -5),
    ("int32", [-(2**31), 0, 2**31 - 1], 0),
    ("uint32", [0, 5, 2**32 - 1], None),
    ("int64", [-(2**61), 0, 2**61], 0),
    ("uint64", [0, 5, 2**62 - 1], 5),
    ("int8", [-128, -1, 127], -1),
]


@pytest.mark.parametrize(("dtype", "ids", "nodata"), KINDS)
def test_rasters_of_any_integers(tmp_path: Path, dtype: str, ids: list[int], nodata: int | None) -> None:
    """The ids are those of the file, and nodata is what the file declares, nothing else."""
    pixels = np.array(ids, dtype)[np.random.default_rng(0).integers(0, 3, (40, 50))]
    path = make_raster(tmp_path / "classes.tif", pixels[None], nodata=nodata)
    frame = to_geodataframe(path)
    counted = {value: int((pixels == value).sum()) for value in ids if value != nodata}
    assert (frame.groupby("class_id")["area_m2"].sum() / 0.25).to_dict() == counted
    assert set(frame["class"]) == {f"class {value}" for value in counted}
    with ClassRaster(path) as raster:
        assert sum(len(batch) for batch in polygonize(raster)) == len(frame)


def test_a_mask_is_nodata_too(tmp_path: Path) -> None:
    pixels = np.ones((1, 20, 30), np.uint8)
    mask = np.full((20, 30), 255, np.uint8)
    mask[:, :10] = 0
    frame = to_geodataframe(make_raster(tmp_path / "classes.tif", pixels, mask=mask))
    assert frame["area_m2"].tolist() == [20 * 20 * 0.25]


def test_names_and_colours_of_any_raster(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "cover.tif", np.array([[[1, 2, 3, 4]]], np.uint8), nodata=0)
    (tmp_path / "cover.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>none</Category><Category>forest</Category>"
        "<Category></Category><Category>forest</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert to_geodataframe(path)["class"].tolist() == ["forest", "class 2", "forest 3", "class 4"]
    with ClassRaster(path) as raster:
        assert raster.ids_of(("forest", "2", "class 4", "forest 3")).tolist() == [1, 2, 3, 4]
        with pytest.raises(SettingError, match=r"'sea'.*forest"):
            raster.ids_of(("sea",))
        assert 1 not in raster.ids_of((str(10**30), str(-(10**30))))
    for broken in ("<PAMDataset>", "no xml"):
        (tmp_path / "cover.tif.aux.xml").write_text(broken)
        assert to_geodataframe(path)["class"].tolist()[0] == "class 1"
    for record in ("[]", '{"files": {}, "classes": 3}', '{"files": {"other.tif": ""}, "classes": []}'):
        (tmp_path / "cover.geoseg.json").write_text(record)
        assert to_geodataframe(path)["class"].tolist()[0] == "class 1"
    (tmp_path / "cover.geoseg.json").write_text(
        '{"files": {"cover.tif": ""}, "classes": [{"id": 1, "name": "lake", "colour": "#0000ff"}]}'
    )
    assert to_geodataframe(path)["class"].tolist() == ["lake", "class 2", "class 3", "class 4"]


def test_colours_without_names_are_those_of_the_palette(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "cover.tif", np.array([[[1, 2]]], np.uint8), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (10, 20, 30, 255), 2: (40, 50, 60, 255)})
    with ClassRaster(path) as raster:
        assert raster.land_class(2) == LandClass(2, "class 2", "#28323c")
        assert raster.land_class(300) == LandClass.default(300)


@pytest.mark.parametrize(
    ("count", "dtype", "error", "words"),
    [
        (1, "float32", InputError, "float32"),
        (3, "uint8", BandError, "has 3"),
        (5, "uint8", BandError, "more than four"),
    ],
)
def test_what_is_no_class_raster(tmp_path: Path, count: int, dtype: str, error: type[Exception], words: str) -> None:
    path = make_raster(tmp_path / "scene.tif", np.ones((count, 20, 20), dtype))
    with pytest.raises(error, match=words):
        ClassRaster(path)


def test_ids_beyond_62_bits_are_no_classes(tmp_path: Path) -> None:
    for value, dtype in ((2**62, np.int64), (-(2**62), np.int64), (2**62, np.uint64)):
        path = make_raster(tmp_path / "classes.tif", np.full((1, 4, 4), value, dtype))
        with pytest.raises(InputError, match="cannot be class ids"):
            to_geodataframe(path)
