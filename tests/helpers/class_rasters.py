"""Random class rasters, and straightforward reference results for polygons and sieve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio.features import shapes
from skimage.measure import label

PIXELS = Affine(1, 0, 0, 0, -1, 0)
"""North-up, a pixel as wide as the unit, the first corner at (0, 0)."""

HEIGHTS = (1, 2, 7, 64)

# Every pixel drawn for itself: the usual filling leaves arrays of one value, and corners are what matters.
speckled = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3), fill=st.nothing()
)

classes = st.one_of(
    speckled,
    # Larger regions with rough edges, in which holes, bays and regions that meet again later are common.
    st.tuples(speckled, st.integers(1, 3), st.integers(1, 3)).map(
        lambda drawn: np.repeat(np.repeat(drawn[0], drawn[1], axis=0), drawn[2], axis=1)
    ),
    speckled.map(lambda values: (values > 0).astype(np.uint8)),
)


def bands(values: NDArray[Any], height: int) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array, `height` at a time."""
    for start in range(0, len(values), height):
        yield values[start : start + height]


def rasterio_shapes(values: NDArray[Any], transform: Affine = PIXELS) -> list[tuple[int, bytes]]:
    """Return sorted (value, normalised WKB) of the polygons that GDAL makes of the nonzero pixels."""
    found = shapes(values, mask=values != 0, connectivity=4, transform=transform)
    return sorted((int(value), shapely.normalize(shapely.geometry.shape(shape)).wkb) for shape, value in found)


def sieved(values: NDArray[Any], least: int, weights: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """Apply the sieve's rule literally, over the whole array until nothing changes."""
    values = values.copy()
    areas = np.ones(values.shape, np.int64) if weights is None else np.broadcast_to(weights, values.shape)
    while True:
        regions = label(values, background=0, connectivity=1)
        turns = []
        for number in range(1, regions.max() + 1):
            region = regions == number
            contacts = _contacts(values, region)
            if areas[region].sum() < least and contacts:
                turns.append((int(areas[region].sum()), int(np.flatnonzero(region)[0]), number, contacts))
        if not turns:
            return values
        _, _, number, contacts = min(turns)
        values[regions == number] = min(contacts, key=lambda value: (-len(contacts[value]), min(contacts[value])))


def _contacts(values: NDArray[Any], region: NDArray[np.bool_]) -> dict[int, list[tuple[int, int]]]:
    """Return value -> (row, col) of the pixels beside the region, once per edge shared with it."""
    found: dict[int, list[tuple[int, int]]] = {}
    for row, col in np.argwhere(region).tolist():
        for near, other in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            inside = 0 <= near < values.shape[0] and 0 <= other < values.shape[1]
            if inside and not region[near, other] and values[near, other]:
                found.setdefault(int(values[near, other]), []).append((near, other))
    return found
