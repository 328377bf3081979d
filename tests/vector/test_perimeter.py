"""Perimeters from the lines of the lattice, against every edge measured by itself and against pyproj's geodesics."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.raster.georeference import Georeference
from geoseg.raster.ground import Ground
from geoseg.raster.lines import Lines
from geoseg.vector.perimeter import perimeters, perimeters_by_edge
from geoseg.vector.tracing import trace

PLACES = {
    "Web Mercator": ("EPSG:3857", Affine(0.5, 0, 1e6, 0, -0.5, 6e6)),
    "Web Mercator, south up": ("EPSG:3857", Affine(0.5, 0, 1e6, 0, 0.5, -6e6)),
    "World Mercator, over the antimeridian": ("EPSG:3395", Affine(40, 0, 20_037_000, 0, -40, 2e6)),
    "Plate Carree": ("EPSG:4087", Affine(1000, 0, 1e6, 0, -1000, 6e6)),
    "degrees": ("EPSG:4326", Affine(0.01, 0, 11, 0, -0.01, 60)),
    "gons": ("EPSG:4807", Affine(0.01, 0, 0.5, 0, -0.01, 52)),
}

STEP = 2**16
"""Lines between those that are compared with geodesics."""


def regions(rows: int, cols: int) -> NDArray[np.int32]:
    """One region with many holes, and regions of some pixels in these."""
    labels = np.ones((rows, cols), np.int32)
    holes = labels[1:-1:4, 1:-1:3]
    holes[:] = np.arange(2, holes.size + 2).reshape(holes.shape)
    labels[2:-1:4, 1:-1:3] = holes[: len(labels[2:-1:4])]
    return labels


@pytest.mark.parametrize("name", sorted(PLACES))
def test_lines_give_the_lengths_of_single_edges(name: str) -> None:
    """To a hundred-millionth: the noise of coordinates in space, from which single edges are measured."""
    crs, transform = PLACES[name]
    labels = regions(90, 70)
    ground = Ground(Georeference(CRS.from_string(crs), transform), labels.shape)
    rings = trace(labels)
    rings.labels[:] -= 1
    count = int(labels.max())
    assert ground.lines is not None
    found = perimeters(ground, np.zeros((count, 2), np.int64), rings)
    np.testing.assert_allclose(found, perimeters_by_edge(ground, rings, count), rtol=1e-8)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
def test_lines_are_as_long_as_geodesics(crs: str) -> None:
    """Meridians are geodesics, right however many lines they cross; a short step along a parallel is nearly one."""
    transform = Affine(1e-5, 0, 11, 0, -1e-4, 60) if crs == "EPSG:4326" else Affine(1, 0, 1e6, 0, -10, 8e6)
    ground = Ground(Georeference(CRS.from_string(crs), transform), (4 * STEP, 10))
    assert ground.lines is not None
    along, down = ground.lines.up_to(4 * STEP)
    lines = np.arange(5) * STEP
    to_globe = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    left, right = (to_globe.transform(*(transform @ (np.full(5, col), lines))) for col in (0.0, 1.0))
    geod = pyproj.Geod(ellps="WGS84")
    np.testing.assert_allclose(along[lines], geod.inv(*left, *right)[2], rtol=1e-8)
    start = [np.full(5, side[0]) for side in left]
    np.testing.assert_allclose(down[lines], geod.inv(*start, *left)[2], rtol=1e-9)


def test_the_table_does_not_depend_on_how_it_grew() -> None:
    def latitudes(lines: NDArray[np.float64]) -> NDArray[np.float64]:
        return 0.5 - lines * 1e-6

    axes = (6_378_137.0, 6_356_752.0)
    grown, at_once = (Lines(latitudes, 1e-6, axes) for _ in range(2))
    for line in (0, 4095, 4096, 9000, 20_000):
        grown.up_to(line)
    for a, b in zip(grown.up_to(20_000), at_once.up_to(20_000), strict=True):
        assert a.tobytes() == b.tobytes()


def test_lines_off_the_globe_have_no_length() -> None:
    """As pixels there have no area."""
    lines = Lines(lambda lines: np.where(lines < 3, np.nan, lines * 1e-3), 1e-3, (6_378_137.0, 6_356_752.0))
    along, down = lines.up_to(5)
    assert (along[:3] == 0).all()
    assert (along[3:6] > 0).all()
    assert down[:4].tolist() == [0, 0, 0, 0]
    assert (np.diff(down[3:6]) > 0).all()


def test_turned_rasters_have_no_lines() -> None:
    for crs in (3857, 4326):
        turned = Affine.translation(11, 60) @ Affine.rotation(30) @ Affine.scale(0.01, -0.01)
        assert Ground(Georeference(CRS.from_epsg(crs), turned), (9, 9)).lines is None
