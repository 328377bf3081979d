"""The cells that decide superpixels, and the pixels that decide those, are within the halo that is derived for them."""

import numpy as np
import pytest
from helpers.rasters import landscape
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid import Window
from geoseg.kernels import worker_threads
from geoseg.segments.choices import deciding_cells, deciding_pixels, domain_of
from geoseg.segments.lattice import CpuBackend, SlicParameters, colours_of
from geoseg.segments.superpixels import colour, halo, segment, segment_by

SCENE = Window.of(0, 0, 230, 251)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 50), st.integers(4, 9), st.integers(1, 4))
@settings(max_examples=60)
def test_what_decides_a_window_lies_within_its_halo(row: int, col: int, side: int, size: int, iterations: int) -> None:
    core = Window.of(row, col, side, side).intersect(SCENE)
    cells = deciding_cells(core, size, SCENE)
    pixels = deciding_pixels(cells, size, iterations, SCENE)
    assert core.intersect(pixels) == core
    within = core.expand(halo(size, iterations), SCENE)
    assert pixels.intersect(within) == pixels
    # The derivation wastes less than a cell on a side.
    narrow = core.expand(halo(size, iterations) - 2 * size, SCENE)
    assert narrow.intersect(pixels) == narrow


@pytest.mark.parametrize("window", [(0, 0, 20, 30), (11, 7, 13, 20), (30, 25, 28, 38), (57, 62, 1, 1)])
def test_law_2_choices_of_a_piece_are_those_of_the_scene(window: tuple[int, int, int, int]) -> None:
    pixels, parameters = landscape(*SCENE.shape), SlicParameters(4, 10.0, 3)
    valid = np.ones(SCENE.shape, np.bool_)
    valid[100:130, 60:140] = False
    colours = colour(pixels, valid)

    def choices(cells: Window, area: Window) -> np.ndarray:
        part = area.within(SCENE)
        domain = domain_of(cells, 4, 3, SCENE, area)
        with worker_threads(1) as parallel_map:
            piece = np.ascontiguousarray(colours[(slice(None), *part)])
            return CpuBackend()(colours_of(piece), valid[part].copy(), domain, parameters, 1, parallel_map)

    every = Window.of(0, 0, -(-SCENE.shape[0] // 4), -(-SCENE.shape[1] // 4))
    cells = Window.of(*window)
    found = choices(cells, deciding_pixels(cells, 4, 3, SCENE))
    assert np.array_equal(found, choices(every, SCENE)[cells.within(every)])


def test_labels_of_a_part_are_those_of_the_whole() -> None:
    pixels, valid = landscape(150, 130), np.ones((150, 130), np.bool_)
    colours = colour(pixels, valid)
    whole = segment(colours, valid, size=6, iterations=2)
    core, part = (slice(40, 90), slice(50, 100)), (slice(33, 95), slice(48, 130))

    def choose(domain, parameters, threads, parallel_map):  # type: ignore[no-untyped-def]
        return CpuBackend()(colours_of(colours), valid, domain, parameters, threads, parallel_map)

    found = segment_by(choose, (150, 130), size=6, iterations=2, core=core, labelled=part)
    assert found.labels.shape == (62, 82)
    own = found.ids[found.labels[7:57, 2:52]]
    assert np.array_equal(own, whole.ids[whole.labels[core]])
