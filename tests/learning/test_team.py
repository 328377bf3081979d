"""Threads that share a step: their number does not change the weights, and their loss is that of all patches."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers.rasters import landscape, make_raster
from torch import Tensor

from geoseg.errors import InputError
from geoseg.learning import team
from geoseg.learning.distributed import ALONE
from geoseg.learning.imagery import Imagery
from geoseg.learning.loop import train
from geoseg.learning.patches import PatchSampler
from geoseg.learning.team import Team, groups_of
from geoseg.learning.trainer import Trainer
from geoseg.model.network import NetworkSpec, build
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats
from geoseg.recipes import RECIPES, Recipe, SuperpixelConfig

CPU = torch.device("cpu")
RECIPE = Recipe(
    classes=4, steps=6, start_share=1 / 3, warm_share=2 / 3, batch_size=5, patch_size=64, superpixel_size=8,
    mixture_superpixels=500,
)  # fmt: skip
"""Two steps of each phase; in four groups, of which one has two patches, and one none with adversarial noise."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A small scene."""
    with Scene(make_raster(tmp_path_factory.mktemp("data") / "scene.tif", landscape(160, 160))) as scene:
        yield scene


@pytest.fixture
def learn(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    """Train in groups, to the end or for some steps."""

    def learn(groups: int, threads: int, steps: int = RECIPE.steps) -> Trainer:
        monkeypatch.setattr(team, "_GROUP_PIXELS", RECIPE.batch_size * RECIPE.patch_size**2 // groups)
        cut = SuperpixelConfig(RECIPE.superpixel_size), (None, None), 64, 11
        sampler = PatchSampler(Imagery([scene]), band_stats([scene]), *cut)
        network = build(NetworkSpec("compact", 3, RECIPE.classes), seed=1)
        trainer = Trainer(network, sampler, RECIPE, CPU, torch.float32, threads=threads)
        assert trainer.groups == groups
        list(itertools.islice(train(trainer), steps))
        return trainer

    return learn


def weights(trainer: Trainer) -> Tensor:
    """All weights and running statistics."""
    return torch.cat([value.flatten().double() for value in trainer.network.state_dict().values()])


def test_the_number_of_threads_does_not_change_the_weights(learn: Callable[..., Trainer]) -> None:
    one, several = learn(4, 1), learn(4, 3)
    assert torch.equal(weights(one), weights(several))
    assert torch.equal(one.p_bar, several.p_bar)
    assert all(torch.equal(value, several.averages.last[name]) for name, value in one.averages.last.items())


def test_groups_learn_what_one_learns(learn: Callable[..., Trainer]) -> None:
    """Up to rounding, which the finite difference of the adversarial noise magnifies."""
    together, alone = weights(learn(4, 2)), weights(learn(1, 1))
    assert float((together - alone).norm() / alone.norm()) < 1e-4


@pytest.mark.parametrize(
    ("recipe", "processes", "groups"),
    [("orthophoto", 1, 4), ("orthophoto", 4, 1), ("quick", 1, 2), ("potsdam6", 1, 8), ("potsdam6", 2, 8)],
)
def test_the_recipe_decides_the_groups(recipe: Any, processes: int, groups: int) -> None:
    compact = build(NetworkSpec("compact", 3, 4))
    assert groups_of(compact, RECIPES[recipe], CPU, processes) == groups
    assert groups_of(compact, RECIPES[recipe], torch.device("cuda"), processes) == 1


def test_groups_add_up_in_their_order() -> None:
    """1e8 + 1 - 1e8 is 0 in this order, and 1 in others."""
    values = torch.tensor([1e8, 1.0, -1e8], dtype=torch.float32)
    for threads in (1, 3):
        members = Team(3, threads, ALONE)
        found = members.run(lambda group, members=members: [  # type: ignore[misc]
            float(members.worlds[group].add_up(values[group : group + 1].clone())) for _ in range(20)
        ])  # fmt: skip
        assert set(itertools.chain(*found)) == {0.0}


def test_the_error_of_a_group_is_told_and_ends_the_others() -> None:
    members = Team(2, 2, ALONE)

    def work(group: int) -> Tensor:
        if group:
            raise InputError("scene.tif: is damaged")
        return members.worlds[group].add_up(torch.ones(1))

    with pytest.raises(InputError, match="is damaged"):
        members.run(work)


def test_law_8_a_training_goes_on_with_another_number_of_threads(learn: Callable[..., Trainer]) -> None:
    uninterrupted, first, second = learn(4, 1), learn(4, 1, 3), learn(4, 2, 0)
    second.load(copy.deepcopy(first.state()))
    list(train(second))
    assert torch.equal(weights(second), weights(uninterrupted))


def test_resuming_with_another_number_of_torchs_own_threads_is_told(
    learn: Callable[..., Trainer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learn(1, 2, 0).state()["threads"] is None
    monkeypatch.setattr("geoseg.learning.trainer.forms_groups", lambda *_: False)  # as with another encoder
    state = learn(1, 1, 0).state()
    learn(1, 1, 0).load(state)
    assert not caplog.messages
    learn(1, 2, 0).load(state)
    assert "with 1 threads so far, and goes on with 2" in caplog.text
    assert "--threads 1 repeats it exactly" in caplog.text
