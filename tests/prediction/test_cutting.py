"""Blocks take choices of seeds over from their neighbours: the superpixels are the same, and nothing is cut twice."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model
from helpers.rasters import landscape, make_raster
from numpy.typing import NDArray

from geoseg.grid import Block, Grid, Window
from geoseg.prediction import cutting
from geoseg.prediction.cutting import Cutter, Pixels
from geoseg.prediction.memo import ChoiceMemo
from geoseg.prediction.plan import Plan, plan
from geoseg.prediction.stages import Stages
from geoseg.raster.scene import Scene
from geoseg.recipes import SuperpixelConfig
from geoseg.segments import lattice
from geoseg.segments.lattice import CpuBackend, Domain, Lattice

SETTINGS = SuperpixelConfig(size=4, iterations=2)
ROWS, COLS = 301, 347


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A scene with holes and with an edge that cuts cells."""
    pixels = landscape(ROWS, COLS)
    pixels[:, 100:160, 90:230] = 0
    pixels[:, 200:, :70] = 0
    path = make_raster(tmp_path_factory.mktemp("cutting") / "scene.tif", pixels, nodata=0)
    with Scene(path) as opened:
        yield opened


def planned(scene: Scene, block_size: int, steps: int = 1) -> Plan:
    return plan(Grid(scene.shape, 128, 32), SETTINGS, scene.extent, block_size, steps=steps)


def cutter_of(scene: Scene, todo: Plan, blocks: Sequence[int] | None = None) -> Cutter:
    stages = Stages(make_model(), scene.dtype, torch.device("cpu"), torch.float32)
    return Cutter(todo, SETTINGS, stages, torch.device("cpu"), 1, blocks)


def ids_of(cutter: Cutter, scene: Scene, todo: Plan, block: Block) -> NDArray[np.uint32] | None:
    """The ids of the pixels of a block."""
    found = cutter.cut(block, Pixels.read(scene, cutter.area(block, 0)))
    cutter.release(block)
    return None if found is None else found.ids[found.labels[block.window.within(todo.pooled(block))]]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pixels have been computed for each block, with those around the choices that are returned."""
    found: list[int] = []

    def backend(colours: Any, valid: Any, domain: Domain, *rest: Any) -> Any:
        found.append(domain.shape[0] * domain.shape[1])
        return CpuBackend()(colours, valid, domain, *rest)

    monkeypatch.setattr(cutting, "backend_for", lambda _: backend)
    return found


@pytest.mark.parametrize(
    ("block_size", "order"),
    [(64, None), (75, None), (128, [8, 4, 0, 1, 3, 2, 7, 5]), (128, [0, 4, 8]), (64, [*range(0, 30, 2)])],
)
def test_law_2_blocks_that_take_choices_over_have_the_superpixels_of_the_scene(
    scene: Scene, block_size: int, order: list[int] | None
) -> None:
    whole = planned(scene, 512)
    expected = ids_of(cutter_of(scene, whole), scene, whole, whole.blocks[0])
    assert expected is not None
    todo = planned(scene, block_size)
    cutter = cutter_of(scene, todo, None if order is None else sorted(order))
    for index in range(len(todo.blocks)) if order is None else order:
        block = todo.blocks[index]
        found, wanted = ids_of(cutter, scene, todo, block), expected[block.window.within(scene.extent)]
        assert np.array_equal(wanted, 0 * wanted if found is None else found), index


def test_law_2_a_memo_that_is_too_small_changes_nothing_but_the_work(
    scene: Scene, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = planned(scene, 64)

    def cut() -> tuple[list[NDArray[np.uint32] | None], int]:
        computed.clear()
        cutter = cutter_of(scene, todo)
        return [ids_of(cutter, scene, todo, block) for block in todo.blocks], sum(computed)

    kept, less = cut()
    monkeypatch.setattr(cutting, "ChoiceMemo", lambda plan, blocks: ChoiceMemo(plan, blocks, max_bytes=0))
    dropped, more = cut()
    for a, b in zip(kept, dropped, strict=True):
        assert (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
    assert less < 0.6 * more


def test_a_block_inside_a_scene_computes_about_as_many_choices_as_it_has(scene: Scene) -> None:
    todo = planned(scene, 64)
    memo = ChoiceMemo(todo)
    fresh = []
    for block in todo.blocks:
        cells = todo.cells(block)
        fresh.append(memo.fresh(cells))
        memo.put(block, cells, np.zeros((*cells.shape, 16), np.uint8))
        memo.release(block)
    times = np.zeros((-(-ROWS // 4), -(-COLS // 4)), np.int64)
    for window in fresh:
        times[window.within(Window.of(0, 0, *times.shape))] += 1
    assert times.min() == times.max() == 1
    assert memo.fresh(todo.cells(todo.blocks[0])) == todo.cells(todo.blocks[0])  # Nothing is left at the end.


def test_what_is_read_of_a_block_is_less_than_the_block_with_its_halo(scene: Scene) -> None:
    todo = planned(scene, 64)
    cutter = cutter_of(scene, todo)
    for block in todo.blocks[:8]:
        ids_of(cutter, scene, todo, block)
    area, halo = cutter.area(todo.blocks[8], 0), todo.blocks[8].window.expand(todo.halo, scene.extent)
    assert area.intersect(halo) == area
    assert area.pixels < 0.8 * halo.pixels


def test_colours_are_made_piece_by_piece_and_are_gone_once_they_are_packed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []
    arrays: list[weakref.ref[Any]] = []
    pixels: list[int] = []
    colour, run = Stages.colours, Lattice.run

    def colours(*arguments: Any) -> Any:
        made = colour(*arguments)
        arrays.append(weakref.ref(made))
        pixels.append(made[0].size)
        return made

    def watched(*arguments: Any) -> None:
        alive.append(sum(array() is not None for array in arrays))
        run(*arguments)

    monkeypatch.setattr(Stages, "colours", colours)
    monkeypatch.setattr(Lattice, "run", watched)
    monkeypatch.setattr(lattice, "_CHUNK_PIXELS", 4000)
    todo = planned(scene, 128)
    ids_of(cutter_of(scene, todo), scene, todo, todo.blocks[0])
    assert alive == [0]
    assert max(pixels[1:]) < 6000 < sum(pixels)


def test_law_2_superpixels_do_not_depend_on_the_pieces_whose_colours_are_made(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = planned(scene, 128)
    whole = ids_of(cutter_of(scene, todo), scene, todo, todo.blocks[4])
    monkeypatch.setattr(lattice, "_CHUNK_PIXELS", 1)
    pieces = ids_of(cutter_of(scene, todo), scene, todo, todo.blocks[4])
    assert whole is not None
    assert pieces is not None
    assert np.array_equal(whole, pieces)
