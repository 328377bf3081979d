"""Which pixels an area of interest covers: against finer rasters, other windows, and a test of every pixel's centre."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from helpers.rasters import TRANSFORM, UTM
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import rasterize
from shapely import GeometryCollection, LineString, MultiPolygon, Polygon, box

from geoseg.areas.aoi import AreaOfInterest
from geoseg.errors import GeosegError, InputError, SettingError
from geoseg.grid import Window, partition
from geoseg.raster.georeference import Georeference

GRID = Georeference(CRS.from_string(UTM), TRANSFORM)
EXTENT = Window.of(0, 0, 200, 240)
DEGREES = "EPSG:4326"


def in_pixels(*vertices: tuple[float, float]) -> Polygon:
    """A polygon of pixel positions (col, row), in the CRS of GRID."""
    return Polygon([TRANSFORM @ vertex for vertex in vertices])


FIJI = [box(-180, -17.5, -179.3, -16.3), box(179.1, -17, 180, -16)]
ROUND_THE_POLE = [box(-180, 75, 180, 90), box(100, 60, 200, 70)]
CORNER = in_pixels((9, 9), (20, 9), (9, 20))


def saved(path: Path, shapes: Any, crs: Any = UTM) -> Path:
    """A GeoPackage of shapes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        geopandas.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path, driver="GPKG")
    return path


def mask(path: Path, shapes: Any, crs: Any = UTM, grid: Georeference = GRID, extent: Window = EXTENT) -> Any:
    """The pixels of the extent that shapes cover."""
    return AreaOfInterest(saved(path, shapes, crs), grid, extent).mask(extent)


def centres(grid: Georeference, extent: Window, crs: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Coordinates in another CRS of the centres of an extent's pixels."""
    x, y = np.meshgrid(np.arange(len(extent.cols)) + 0.5, np.arange(len(extent.rows)) + 0.5)
    t = grid.transform
    there = pyproj.Transformer.from_crs(grid.crs.to_wkt(), crs, always_xy=True)
    return there.transform(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)


def stars(seed: int, count: int) -> list[Polygon]:
    """Polygons with a hole each, in pixel positions; some overlap."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        radii = random.uniform(15, 70, 9)
        x, y = random.uniform(0, 240), random.uniform(0, 200)
        ring = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
        shape = shapely.make_valid(Polygon(ring)).difference(box(x - 6, y - 4, x + 5, y + 7))
        found += [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return found


@pytest.mark.parametrize("crs", [UTM, DEGREES, "EPSG:3035"])
def test_the_area_is_that_of_a_raster_of_ten_times_the_resolution(crs: str, tmp_path: Path) -> None:
    shapes = stars(3, 6)
    fine = rasterize(shapes, (2000, 2400), transform=Affine.scale(0.1))
    share = fine.reshape(200, 10, 240, 10).mean(axis=(1, 3))
    placed = [shapely.transform(s, lambda xy: np.column_stack(TRANSFORM @ tuple(xy.T))) for s in shapes]
    moved = geopandas.GeoSeries(placed, crs=UTM).to_crs(crs)
    found = mask(tmp_path / "area.gpkg", moved, crs)
    assert (share[found] > 0).all()
    assert (share[~found] < 1).all()
    assert found.sum() == pytest.approx(share.sum(), rel=0.002)
    # Edges that are straight in degrees are not quite so in UTM.
    assert (found != rasterize(shapes, (200, 240)).astype(bool)).sum() <= (0 if crs == UTM else 3)


@settings(max_examples=8)
@given(st.integers(0, 99), st.sampled_from([0.3, 0.5, 1 / 3]), st.integers(-40, 40), st.integers(0, 1))
def test_law_2_the_mask_is_that_of_every_window(seed: int, size: float, shift: int, half: int) -> None:
    """Edges run through the centres of pixels, at 45 degrees and along rows and columns."""
    random = np.random.default_rng(seed)
    grid = Georeference(CRS.from_string(UTM), Affine(size, 0, 399_999.7, 0, -size, 5_800_000.1))
    vertices = [(x + half / 2, y + half / 2) for x, y in random.integers(0, 120, (4, 2)).tolist()]
    col, row = vertices[0]
    diamond = [(col, row - 30), (col + 30, row), (col, row + 30), (col - 30, row)]
    shapes = [Polygon([grid.transform @ v for v in ring]) for ring in (vertices, diamond)]
    extent = Window.of(0, 0, 150, 160)
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"geoseg-test-{seed}-{shift}.geojson"
    path.write_text(geopandas.GeoDataFrame(geometry=shapes, crs=UTM).to_json())
    try:
        area = AreaOfInterest(path, grid, extent)
    finally:
        path.unlink()
    whole = area.mask(extent)
    for block in [*partition(extent, 64), *partition(Window.of(7, 11, 100, 120), 37)]:
        np.testing.assert_array_equal(area.mask(block.window), whole[block.window.within(extent)])


def test_a_pixel_on_a_common_edge_belongs_to_one_of_two_polygons(tmp_path: Path) -> None:
    corners = {"west": (20.5, 100.5), "north": (60.5, 20.5), "east": (100.5, 100.5), "south": (60.5, 180.5)}
    west, north, east, south = corners.values()
    upper = mask(tmp_path / "upper.gpkg", [in_pixels(west, north, east)])
    lower = mask(tmp_path / "lower.gpkg", [in_pixels(west, south, east)])
    whole = mask(tmp_path / "whole.gpkg", [in_pixels(west, north, east, south)])
    assert not (upper & lower).any()
    np.testing.assert_array_equal(upper | lower, whole)
    np.testing.assert_array_equal(
        whole, mask(tmp_path / "both.gpkg", [in_pixels(west, north, east), in_pixels(west, south, east)])
    )


@pytest.mark.parametrize(
    ("crs", "transform", "shapes", "area_crs"),
    [
        # A parallel is no straight line in UTM: 460 m lie between the two in the middle of two degrees.
        (UTM, Affine(0.5, 0, 499_950, 0, -0.5, 5_761_088), [box(14, 52, 16, 53)], DEGREES),
        (UTM, Affine(0.5, 0, 499_950, 0, -0.5, 5_761_088), [box(-180, 52, 180, 90), box(10, -90, 15, 53)], DEGREES),
        (UTM, Affine(0.4, 0.2, 499_950, 0.2, -0.4, 5_761_038), [box(0, 52, 360, 80)], DEGREES),
        # Across the antimeridian, in one piece and in two.
        ("EPSG:32701", Affine(900, 0, 60_000, 0, -900, 8_200_000), [box(179, -18, 181, -16)], DEGREES),
        ("EPSG:32701", Affine(900, 0, 60_000, 0, -900, 8_200_000), FIJI, DEGREES),
        (DEGREES, Affine(0.01, 0, 179, 0, -0.01, -16), FIJI, DEGREES),
        (DEGREES, Affine(1.5, 0, -180, 0, -0.9, 90), [box(1e6, -6e6, 7e6, 6e6)], "EPSG:3832"),
        # Round the pole.
        ("EPSG:3413", Affine(25_000, 0, -3e6, 0, -25_000, 3e6), ROUND_THE_POLE, DEGREES),
    ],
)  # fmt: skip
def test_edges_follow_their_course(
    crs: str, transform: Affine, shapes: list[Polygon], area_crs: str, tmp_path: Path
) -> None:
    grid = Georeference(CRS.from_string(crs), transform)
    found = mask(tmp_path / "area.gpkg", shapes, area_crs, grid)
    x, y = centres(grid, EXTENT, area_crs)
    turns = (-360, 0, 360) if area_crs == DEGREES else (0,)
    expected = np.zeros(EXTENT.shape, bool)
    for turn in turns:
        expected |= shapely.intersects_xy(shapely.union_all(shapes), x + turn, y)
    # Within 1/256 pixel of an edge both are right.
    assert (found != expected).sum() <= 3
    assert 1000 < expected.sum() < expected.size - 1000


@pytest.mark.parametrize("offset", [-60.0, 5.0, 0.0, -120.0], ids=["across", "beyond", "from it", "up to it"])
@pytest.mark.parametrize("turns", [[(-1, 1, 0)], [(-1, 1, -360)], [(-1, 0, 0), (0, 1, -360)]], ids=str)
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    ("crs", "centre"), [("EPSG:3857", 0), ("EPSG:3395", 0), ("EPSG:3832", 150), ("EPSG:6933", 0), (DEGREES, 0)]
)
def test_a_scene_at_the_edge_of_the_world(
    crs: str, centre: int, same: bool, turns: list[tuple[int, int, int]], offset: float, tmp_path: Path
) -> None:
    there = pyproj.Transformer.from_crs(DEGREES, crs, always_xy=True)
    degree, parallel = there.transform(centre + 1, 9)
    shapes = [box(centre + 180 + west / 99 + turn, 8, centre + 180 + east / 99 + turn, 9) for west, east, turn in turns]
    if same:
        shapes = [shapely.transform(s, lambda xy: (xy - [centre, 9]) * degree + [0, parallel]) for s in shapes]
    size = 0.5 * degree / 111_320
    grid = Georeference(
        CRS.from_string(crs),
        Affine(size, 0, 180 * degree + 2 * offset * size, 0, -size, parallel + 20 * size),
    )
    found = mask(tmp_path / "area.gpkg", shapes, crs if same else DEGREES, grid)
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(200)[:, None] >= 20, EXTENT.shape))


def test_the_whole_world(tmp_path: Path) -> None:
    assert mask(tmp_path / "world.gpkg", [box(-180, -90, 180, 90)], DEGREES).all()
    assert mask(tmp_path / "large.gpkg", [box(-1e12, -1e12, 1e12, 1e12)]).all()


def test_a_long_edge_is_exact(tmp_path: Path) -> None:
    """Its products would not fit into 64 bits."""
    row, col = 50_000_000, 30_000_000
    grid = Georeference(None, Affine.translation(0, 0))
    shapes = [Polygon([(0, 0), (2 * col, 2 * row), (0, 2 * row)])]
    extent = Window.of(row, col - 50, 60, 100)
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({**shapely.geometry.mapping(shapes[0]), "crs": None}))
    found = AreaOfInterest(path, grid, extent).mask(extent)
    y, x = np.mgrid[row : row + 60, col - 50 : col + 50] + 0.5
    clear = np.abs(x * row - y * col) > 0.01 * row
    np.testing.assert_array_equal(found[clear], (x * row < y * col)[clear])


def test_collections_and_repaired_polygons_count(tmp_path: Path) -> None:
    square, other = (
        in_pixels((10, 10), (60, 10), (60, 60), (10, 60)),
        in_pixels((100, 10), (150, 10), (150, 60), (100, 60)),
    )
    collection = GeometryCollection([GeometryCollection([other]), LineString([(0, 0), (1, 1)]), MultiPolygon([square])])
    assert mask(tmp_path / "collection.gpkg", [collection]).sum() == 5000
    bow = in_pixels((20, 20), (60, 60), (60, 20), (20, 60))
    assert mask(tmp_path / "bow.gpkg", [bow]).sum() == pytest.approx(800, abs=40)


@pytest.mark.parametrize(
    ("shapes", "crs", "error", "words"),
    [
        ([[(0, 0), (np.nan, 1), (2, 0), (0, 0)]], UTM, InputError, "not finite"),
        ([[(0, 0), (np.inf, 1), (2, 0), (0, 0)]], UTM, InputError, "not finite"),
        ([Polygon(), MultiPolygon()], UTM, InputError, "contains no polygon"),
        ([CORNER], 'LOCAL_CS["site",UNIT["metre",1]]', InputError, "(site) cannot be related"),
        ([in_pixels((9.6, 9.6), (9.9, 9.6), (9.9, 9.9))], UTM, SettingError, "has no pixel of the scene"),
        ([box(0, 0, 1, 1)], UTM, SettingError, "the scene at 400000 5799900 400120 5800000 (EPSG:32633)"),
        ([box(0, 0, 1, 1)], DEGREES, SettingError, "the scene at 13.5"),
        ([box(13.5, 52.3, 13.6, 52.4)], None, SettingError, "look like degrees"),
        ([box(13.5, 52.3, 13.6, 52.4)], UTM, SettingError, "look like degrees"),
        ([box(52.3, 13.5, 52.4, 13.6)], DEGREES, SettingError, "exchanged"),
        ([CORNER], DEGREES, SettingError, "no degrees"),
        ([CORNER], "EPSG:32632", SettingError, "is EPSG:32632 wrong?"),
        (geopandas.GeoSeries([CORNER], crs=UTM).to_crs(32634), UTM, SettingError, "EPSG:32634"),
        ([box(0, 0, 1, 1)], None, SettingError, "names no CRS"),
    ],
)  # fmt: skip
def test_areas_that_cannot_be_used(shapes: Any, crs: Any, error: type[GeosegError], words: str, tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        polygons = [Polygon(shape) if isinstance(shape, list) else shape for shape in shapes]
        path = saved(tmp_path / "area.gpkg", polygons, crs)
    with pytest.raises(error) as raised:
        AreaOfInterest(path, GRID, EXTENT)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)


def test_a_polygon_round_a_pole_has_no_place_in_degrees(tmp_path: Path) -> None:
    world = Georeference(CRS.from_string(DEGREES), Affine(1.5, 0, -180, 0, -0.9, 90))
    with pytest.raises(InputError, match="round a pole"):
        mask(tmp_path / "area.gpkg", [box(-1e6, -1e6, 1e6, 1e6)], "EPSG:3413", world)


def test_the_scene_has_no_crs_but_the_area_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--assume-crs"):
        mask(tmp_path / "area.gpkg", [box(0, 0, 9, 9)], UTM, Georeference(None, Affine.identity()))
