"""Processes that train together: which patches, devices and cores each has. What they compute: `tests/jobs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from helpers.rasters import landscape, make_raster

from geoseg.errors import RunError, SettingError, UnavailableError
from geoseg.launch import Launch
from geoseg.learning.batch_norm import common_statistics
from geoseg.learning.distributed import ALONE, World
from geoseg.learning.imagery import Imagery
from geoseg.learning.meeting import device_name
from geoseg.learning.patches import PatchSampler
from geoseg.model.network import NetworkSpec, build
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats
from geoseg.recipes import SuperpixelConfig


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A small scene."""
    with Scene(make_raster(tmp_path_factory.mktemp("data") / "scene.tif", landscape(160, 160))) as scene:
        yield scene


def one_of(rank: int, size: int, gathered: Any = None) -> World:
    """A process whose others are not there."""

    class Lonely(World):
        def gather(self, value: Any) -> list[Any]:
            return [("here", value[1]), ("there", gathered)]

    return Lonely(Launch(rank, size, rank, size), collective=gathered is not None)


@pytest.mark.parametrize(("count", "size"), [(8, 2), (5, 2), (7, 3), (3, 3)])
def test_the_processes_draw_the_patches_of_one(scene: Scene, count: int, size: int) -> None:
    def sampler(world: World) -> PatchSampler:
        cut = SuperpixelConfig(8), (None, None), 64, 3
        return PatchSampler(Imagery([scene]), band_stats([scene]), *cut, world=world)

    with ThreadPoolExecutor(2) as threads:
        whole = sampler(ALONE).batch(4, count, threads)
        descriptors = sampler(ALONE).descriptors(4, count, threads)
        for rank in range(size):
            part, own = sampler(one_of(rank, size)), slice(rank, None, size)
            batch = part.batch(4, count, threads)
            for name in ("image", "labels", "moved", "moved_labels"):
                assert torch.equal(getattr(batch, name), getattr(whole, name)[own]), name
            assert torch.equal(batch.descriptors, whole.descriptors[own, : batch.regions])
            for found, expected in zip(part.descriptors(4, count, threads), descriptors[own], strict=True):
                np.testing.assert_array_equal(found, expected)


def test_half_of_the_patches_is_divided_evenly_too() -> None:
    """The adversary takes the first half of a batch, and no process should wait for the others meanwhile."""
    for count in (8, 9, 64):
        shares = [len(one_of(rank, 4).share(-(-count // 2))) for rank in range(4)]
        assert max(shares) - min(shares) <= 1
        assert sum(shares) == -(-count // 2)


def test_a_process_alone_leaves_everything_as_it_is() -> None:
    tensor = torch.ones(3, requires_grad=True)
    assert ALONE.sum(tensor) is tensor
    assert ALONE.add_up(tensor) is tensor
    assert ALONE.from_first(lambda: tensor) is tensor
    assert (ALONE.of_first(0.1), ALONE.count(7), ALONE.gather("a"), list(ALONE.share(3))) == (0.1, 7, ["a"], [0, 1, 2])
    network, image = build(NetworkSpec("compact", 3, 4)), torch.rand(2, 3, 64, 64)
    with common_statistics(ALONE):
        assert torch.equal(network(image), network(image))


def test_processes_with_other_data_or_settings_are_refused() -> None:
    facts = {"seed": 1, "data": {"scenes": 3}, "precision": "torch.float32"}
    one_of(0, 2, facts).agree(facts)
    other = {**facts, "data": {"scenes": 2}, "precision": "torch.bfloat16"}
    with pytest.raises(RunError, match="process 1 on there has different data, precision than process 0") as caught:
        one_of(0, 2, other).agree(facts)
    assert caught.value.exit_code == 78


def test_cores_are_divided_among_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert [one_of(0, size).reading_threads for size in (1, 2, 4, 8, 64)] == [8, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [("auto", 0, "cpu"), ("auto", 4, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 4, "cpu")],
)
def test_each_process_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, expected: str
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert device_name(name, Launch(3, 4, 1, 2)) == expected
    assert chosen == [1] * expected.startswith("cuda")
    # One process has the device that was asked for.
    assert device_name(name, Launch()) == name


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UnavailableError, match="8 processes and 2 GPUs; --nproc-per-node=2, or --device cpu"):
        device_name("auto", Launch(5, 8, 5, 8))
    for name in ("cuda:1", "mps"):
        with pytest.raises(SettingError, match=f"device {name} is for a training in one process, and here are 8"):
            device_name(name, Launch(5, 8, 5, 8))
