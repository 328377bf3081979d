"""What the network sees beside nodata and beyond the edges of a scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.models import make_model
from helpers.rasters import landscape
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.prediction.stages import ALL_EDGES, Edges, Stages
from geoseg.recipes import COMPACT

SIDE = 160
INSIDE = Edges(False, False, False, False)


@pytest.fixture(scope="module")
def stages() -> Stages:
    return Stages(make_model(), np.dtype("uint8"), torch.device("cpu"), torch.float32)


def logits(
    stages: Stages, pixels: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None, edges: Edges = ALL_EDGES
) -> NDArray[np.float32]:
    valid = np.ones(pixels.shape[1:], bool) if valid is None else valid
    return stages.forward(stages.normalise(pixels, valid, edges)[None], (valid.shape[0], valid.shape[1]), edges)[0]


@pytest.mark.parametrize("encoder", [COMPACT, "mobilenet_v2"])
def test_there_are_logits_for_each_cell_of_a_window(encoder: str) -> None:
    stages = Stages(make_model(encoder=encoder), np.dtype("uint8"), torch.device("cpu"), torch.float32)
    for edges in (ALL_EDGES, INSIDE, Edges(True, False, False, True), Edges(True, False, False, False)):
        for shape in ((64, 64), (61, 90), (7, 5), (1, 1)):
            found = logits(stages, landscape(*shape), edges=edges)
            assert found.shape == (-(-shape[0] // 4), -(-shape[1] // 4), 5)


def test_the_network_sees_an_edge_of_nodata_as_it_sees_the_edge_of_a_scene(stages: Stages) -> None:
    pixels = landscape(SIDE, SIDE)
    part = pixels[:, :96, :104]
    valid = np.zeros((SIDE, SIDE), bool)
    valid[:96, :104] = True
    collared = np.where(valid, pixels, 0).astype(np.uint8)
    assert logits(stages, collared, valid)[:24, :26] == pytest.approx(logits(stages, part), abs=1e-4)


def test_the_values_of_invalid_pixels_have_no_influence(stages: Stages) -> None:
    pixels = landscape(SIDE, SIDE)
    valid = np.random.default_rng(0).random((SIDE, SIDE)) < 0.9
    assert np.array_equal(
        logits(stages, np.where(valid, pixels, 0).astype(np.uint8), valid),
        logits(stages, np.where(valid, pixels, 255).astype(np.uint8), valid),
    )


def test_logits_beside_a_hole_or_an_edge_are_nearer_to_those_of_the_whole_scene_than_with_zeros(stages: Stages) -> None:
    pixels = landscape(SIDE, SIDE)
    truth = logits(stages, pixels)
    mean = np.asarray([120, 120, 120], np.uint8)[:, None, None]  # what is 0 to the network
    rows, cols = np.mgrid[:SIDE, :SIDE]
    hole = (rows - 80) ** 2 + (cols - 80) ** 2 < 25**2
    beside = ((rows - 80) ** 2 + (cols - 80) ** 2 < 37**2)[2::4, 2::4] & ~hole[2::4, 2::4]
    filled = logits(stages, pixels, ~hole)
    zeros = logits(stages, np.where(hole, mean, pixels))
    assert np.abs(filled - truth)[beside].mean() < 0.85 * np.abs(zeros - truth)[beside].mean()

    part, strip = pixels[:, :, :96], np.s_[:, -3:]
    padded, plain = logits(stages, part), logits(stages, part, edges=INSIDE)
    assert np.abs(padded - truth[:, :24])[strip].mean() < 0.85 * np.abs(plain - truth[:, :24])[strip].mean()


def test_edges_are_the_sides_that_a_window_shares_with_its_scene() -> None:
    scene = Window.of(0, 0, 100, 200)
    assert Edges.of(scene, scene) == ALL_EDGES
    assert Edges.of(Window.of(10, 20, 30, 40), scene) == INSIDE
    assert Edges.of(Window.of(0, 0, 100, 50), scene) == Edges(top=True, bottom=True, left=True, right=False)
    assert Edges.of(Window.of(70, 150, 30, 50), scene) == Edges(top=False, bottom=True, left=False, right=True)
