"""White noise falls into a superpixel for every four pixels: memory for their sums does not grow with threads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg import kernels
from geoseg.segments import regions
from geoseg.segments.descriptors import region_descriptors
from geoseg.segments.regions import region_means
from geoseg.segments.superpixels import colour, segment
from geoseg.segments.texture import region_textures

SIDE, SIZE, CLASSES = 192, 16, 24
ENDS = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
random = np.random.default_rng(1)
PIXELS = random.integers(0, 256, (3, SIDE, SIDE), np.uint8)
VALID = np.ones((SIDE, SIDE), np.bool_)
FIELD = random.normal(size=(SIDE // 4, SIDE // 4, CLASSES)).astype(np.float32)

Summing = Callable[[NDArray[np.int32], int, int], NDArray[np.float32]]

SUMMING: dict[str, Summing] = {
    "means": lambda labels, count, threads: region_means(FIELD, labels, count, 4, (0, 0), threads),
    "descriptors": lambda labels, count, threads: region_descriptors(PIXELS, labels, count, *ENDS, "hue", threads),
    "textures": lambda labels, count, threads: region_textures(PIXELS, VALID, labels, count, *ENDS, threads),
}


@pytest.fixture(scope="module")
def noise() -> tuple[NDArray[np.int32], int]:
    """Labels of the superpixels of noise, and their number."""
    found = segment(colour(PIXELS, VALID), VALID, size=SIZE, iterations=5)
    return found.labels, len(found.ids) - 1


@pytest.mark.parametrize("name", SUMMING)
def test_memory_for_sums_does_not_grow_with_threads(
    name: str, noise: tuple[NDArray[np.int32], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, count = noise
    assert count > 50 * (SIDE // SIZE) ** 2
    expected = SUMMING[name](labels, count, 1)
    bound = 1 << 20
    for module in (kernels, regions):
        monkeypatch.setattr(module, "SUMS_BYTES", bound)
    tracemalloc.start()
    try:
        found = SUMMING[name](labels, count, 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, expected)
    # Besides the bound: temporaries of the result, and the parts of the field.
    assert peak < 4 * bound
