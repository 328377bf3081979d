"""Lengths of outlines in metres, on the map or on the ellipsoid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.raster.ground import Ground
from geoseg.raster.lines import curvature
from geoseg.vector.rings import Rings
from geoseg.vector.wkb import coordinates


def perimeters(ground: Ground, lengths: NDArray[np.int64], rings: Rings) -> NDArray[np.float64]:
    """Return the perimeters (n,) of polygons with their holes, in m; in edges of pixels where there are no metres.

    Where pixels differ in area and rows follow parallels, as in degrees and in Web Mercator, the lengths of all edges
    are known for each line of the lattice; see `geoseg.raster.lines`. Elsewhere see `perimeters_by_edge`.

    Args:
        ground: what pixels measure.
        lengths: int64 (n, 2), total length of vertical and of horizontal edges, in pixels.
        rings: the outlines, labelled 0..n - 1.
    """
    if ground.uniform:
        row, col = ground.georeference.pixel_size if ground.metric else (1.0, 1.0)
        return (lengths[:, 0] * row + lengths[:, 1] * col) * (ground.unit if ground.metric else 1.0)
    if ground.lines is None:
        return perimeters_by_edge(ground, rings, len(lengths))
    along, down = ground.lines.up_to(int(rings.vertices[:, 0].max(initial=0)))
    measured: NDArray[np.float64] = _sum_edges(
        rings.vertices, rings.offsets, rings.labels, along, down, np.zeros(len(lengths))
    )
    return measured


@compiled
def _sum_edges(vertices: Any, offsets: Any, labels: Any, along: Any, down: Any, sums: Any) -> Any:
    """Add the lengths of the edges of all rings to `sums`, and return these."""
    for ring in range(len(labels)):
        total, before = 0.0, offsets[ring + 1] - 1
        for vertex in range(offsets[ring], offsets[ring + 1]):
            row, from_row = vertices[vertex, 0], vertices[before, 0]
            if row == from_row:
                total += along[row] * abs(vertices[vertex, 1] - vertices[before, 1])
            else:
                total += abs(down[row] - down[from_row])
            before = vertex
        sums[labels[ring]] += total
    return sums


def perimeters_by_edge(ground: Ground, rings: Rings, count: int) -> NDArray[np.float64]:
    """Return the perimeters (count,) in m of the polygons 0..count - 1, where pixels differ in area.

    Every edge is measured by itself: in a geographic CRS along its course in longitude and latitude on the ellipsoid,
    by Simpson's rule from the radii of curvature at its two ends and its middle; in a projected CRS along its course on
    the map, from chords of the whole edge and of its halves.
    """
    following = np.arange(1, len(rings.vertices) + 1)
    following[rings.offsets[1:] - 1] = rings.offsets[:-1]
    measure = _geographic_edges if ground.crs.is_geographic else _projected_edges
    edges = measure(ground, rings, following)
    owners = np.repeat(rings.labels, np.diff(rings.offsets))
    sums: NDArray[np.float64] = np.bincount(owners, weights=edges, minlength=count).astype(np.float64)
    return sums


def _geographic_edges(ground: Ground, rings: Rings, following: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lengths (n,) in m of the edges from each vertex to the `following` one."""
    points = coordinates(rings, ground.georeference.transform) * ground.unit
    steps = points[following] - points
    ends = _speed(ground, points[:, 1], steps) + _speed(ground, points[following, 1], steps)
    lengths: NDArray[np.float64] = (ends + 4 * _speed(ground, points[:, 1] + steps[:, 1] / 2, steps)) / 6
    return lengths


def _projected_edges(ground: Ground, rings: Rings, following: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same; 0 where an end of the edge is not on the globe."""
    ends = rings.vertices.astype(np.float64)
    starts, middles = (_in_space(ground, points) for points in (ends, (ends + ends[following]) / 2))
    halves = _distance(starts, middles) + _distance(middles, starts[following])
    # Richardson's extrapolation: the error of a chord grows with the cube of its length.
    lengths: NDArray[np.float64] = np.nan_to_num((4 * halves - _distance(starts, starts[following])) / 3)
    return lengths


def _in_space(ground: Ground, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return geocentric coordinates (n, 3) in m of positions (row, col), which lie on the ellipsoid."""
    longitude, latitude = ground.ellipsoid.places(positions[:, 0], positions[:, 1])
    major, minor = ground.crs.ellipsoid.semi_major_metre, ground.crs.ellipsoid.semi_minor_metre
    flattening = (minor / major) ** 2
    radius = major / np.sqrt(1 - (1 - flattening) * np.sin(latitude) ** 2)
    across = radius * np.cos(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), flattening * radius * np.sin(latitude)], 1)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.sqrt(((a - b) ** 2).sum(axis=1))
    return distance


def _speed(ground: Ground, latitude: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the length (n,) in m of `steps` (n, 2), in radians of longitude and latitude, as if at `latitude`."""
    ellipsoid = ground.crs.ellipsoid
    parallel, meridian = curvature(latitude, ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre)
    length: NDArray[np.float64] = np.hypot(meridian * steps[:, 1], parallel * steps[:, 0])
    return length
