"""Rings and polygons of labelled regions, against shapely and rasterio."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio.features import rasterize
from skimage.measure import label

from geoseg.vector.tracing import trace
from geoseg.vector.wkb import encode

PIXELS = Affine(1, 0, 0, 0, -1, 0)
"""North-up, a pixel as wide as the unit, the scene's first corner at (0, 0)."""

NORTH_UP = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
SOUTH_UP = Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000)
ROTATED = Affine.translation(400_000, 5_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.25) @ Affine.shear(10, 0)
MIRRORED = Affine(-0.5, 0, 400_000, 0, -0.5, 5_800_000)


def regions_of(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the 4-connected regions of equal values; 0 stays 0."""
    return label(values, background=0, connectivity=1).astype(np.int32)


# Every pixel drawn for itself: the usual filling leaves arrays of one value, and corners are what matters.
regions = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2), fill=st.nothing()
).map(regions_of)


def shapes_of(labels: NDArray[np.int32], transform: Affine = PIXELS, origin: tuple[int, int] = (0, 0)) -> NDArray:
    """The polygons of the labels 1..n, as shapely reads their WKB."""
    wkb, offsets = encode(trace(labels), transform, origin)
    return shapely.from_wkb([wkb[start:stop].tobytes() for start, stop in pairwise(offsets)])


@settings(max_examples=200)
@given(regions)
def test_polygons_are_the_regions(labels: NDArray[np.int32]) -> None:
    """Valid, of the regions' areas, without overlap, and burnt back they give the labels."""
    shapes = shapes_of(labels)
    count = labels.max()
    assert len(shapes) == count
    assert shapely.is_valid(shapes).all()
    assert set(shapely.get_type_id(shapes)) <= {3}
    np.testing.assert_array_equal(shapely.area(shapes), np.bincount(labels.ravel(), minlength=count + 1)[1:])
    assert shapely.area(shapely.union_all(shapes)) == (labels > 0).sum()
    if count:
        pairs = zip(shapes, range(1, count + 1), strict=True)
        burnt = rasterize(pairs, labels.shape, transform=PIXELS, dtype="int32")
        np.testing.assert_array_equal(burnt, labels)


@given(regions)
def test_a_ring_has_a_vertex_where_it_turns_and_nowhere_else(labels: NDArray[np.int32]) -> None:
    rings = trace(labels)
    assert rings.offsets[0] == 0
    assert rings.offsets[-1] == len(rings.vertices)
    for start, stop in pairwise(rings.offsets):
        ring = rings.vertices[start:stop]
        steps = np.roll(ring, -1, axis=0) - ring
        # By turns along a row and along a column, and no step of none.
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert (np.roll(steps, -1, axis=0)[:, 0] != 0).tolist() == (steps[:, 1] != 0).tolist()
        # No ring touches itself.
        assert len(np.unique(ring, axis=0)) == len(ring)


@given(regions)
def test_rings_come_by_label_the_exterior_first(labels: NDArray[np.int32]) -> None:
    rings = trace(labels)
    assert (np.diff(rings.labels) >= 0).all()
    first = np.concatenate([[True], np.diff(rings.labels) > 0])[: len(rings.labels)]
    np.testing.assert_array_equal(rings.holes, ~first)
    np.testing.assert_array_equal(rings.labels[first], np.arange(1, labels.max() + 1))


@given(regions, st.sampled_from([NORTH_UP, SOUTH_UP, ROTATED, MIRRORED]), st.integers(0, 9), st.integers(0, 9))
def test_rings_follow_the_pixels_of_any_transform(
    labels: NDArray[np.int32], transform: Affine, row: int, col: int
) -> None:
    """Every vertex is the corner of a pixel to the last bit; exteriors are counter-clockwise, holes clockwise."""
    shapes = shapes_of(labels, transform, (row, col))
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    holes = shapely.get_rings(shapes)[trace(labels).holes]
    assert not shapely.is_ccw(holes).any()
    rows, cols = np.mgrid[row : row + labels.shape[0] + 1, col : col + labels.shape[1] + 1]
    corners = {transform @ (c, r) for r, c in zip(rows.ravel().tolist(), cols.ravel().tolist(), strict=True)}
    assert {tuple(point) for point in shapely.get_coordinates(shapes).tolist()} <= corners
    sizes = np.bincount(labels.ravel())[1:]
    np.testing.assert_allclose(shapely.area(shapes), sizes * abs(transform.determinant), rtol=1e-6)


@given(regions, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_a_region_has_the_same_bytes_in_every_array_that_holds_it(
    labels: NDArray[np.int32], above: int, left: int, other: int
) -> None:
    whole, offsets = encode(trace(labels), ROTATED, (above, left))
    around = np.pad(labels, ((above, other), (left, other)))
    moved, same = encode(trace(around), ROTATED, (0, 0))
    np.testing.assert_array_equal(offsets, same)
    assert whole.tobytes() == moved.tobytes()
    if labels.max() > 1:
        alone = np.where(labels == labels.max(), np.int32(1), np.int32(0))
        single, _ = encode(trace(alone), ROTATED, (above, left))
        assert single.tobytes() == whole[offsets[-2] :].tobytes()


def test_holes_that_meet_at_a_corner_are_two_and_a_bay_closed_by_a_corner_is_one() -> None:
    two = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.int32)
    bay = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.int32)
    (with_two,), (with_bay,) = shapes_of(two), shapes_of(bay)
    assert [shapely.Polygon(hole).area for hole in with_two.interiors] == [1, 1]
    assert [shapely.Polygon(hole).area for hole in with_bay.interiors] == [1]
    assert shapely.Polygon(with_bay.exterior).area == 8
    assert with_two.is_valid
    assert with_bay.is_valid


def test_nothing_has_no_rings() -> None:
    for shape in ((0, 0), (3, 0), (4, 5)):
        rings = trace(np.zeros(shape, np.int32))
        assert (len(rings.vertices), len(rings.labels), rings.offsets.tolist()) == (0, 0, [0])
        wkb, offsets = encode(rings, PIXELS, (0, 0))
        assert (len(wkb), offsets.tolist()) == (0, [0])


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.zeros((1, 2, 2), np.int32), np.zeros((2, 2), np.uint8)])
def test_other_types_and_shapes_are_refused(labels: NDArray) -> None:
    with pytest.raises(ValueError, match="int32"):
        trace(labels)
