"""Laws of training: resumed equals uninterrupted, and trouble leaves the network as it was."""

import copy
import io
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import landscape, make_raster

from geoseg import training
from geoseg.config import Recipe, SuperpixelConfig
from geoseg.errors import DivergedError
from geoseg.network import NetworkSpec, build, settle_statistics
from geoseg.patches import Batch, Imagery, PatchSampler
from geoseg.scene import Scene
from geoseg.statistics import band_stats
from geoseg.training import Step, Trainer, train

RECIPE = Recipe(classes=4, steps=6, warm_share=0.3, batch_size=2, patch_size=64)


class Sampler(PatchSampler):
    """A sampler whose patches are NaN in the steps of `poisoned`."""

    poisoned: frozenset[int] = frozenset()

    def batch(self, step: int, count: int, pool: ThreadPoolExecutor) -> Batch:
        """Return the patches of `step`."""
        found = super().batch(step, count, pool)
        if step not in self.poisoned:
            return found
        return replace(found, image=torch.full_like(found.image, math.nan))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A small scene."""
    with Scene(make_raster(tmp_path_factory.mktemp("data") / "scene.tif", landscape(160, 160))) as scene:
        yield scene


@pytest.fixture
def trainer(scene: Scene) -> Callable[..., Trainer]:
    """Return a fresh trainer; the same for the same arguments."""

    def make(poisoned: Any = (), encoder: str = "mobilenet_v2", **settings: Any) -> Trainer:
        recipe = replace(RECIPE, **settings)
        sampler = Sampler(Imagery([scene]), band_stats([scene]), SuperpixelConfig(size=8), (None, None), 64, seed=11)
        object.__setattr__(sampler, "poisoned", frozenset(poisoned))
        network = build(NetworkSpec(encoder, 3, recipe.classes), seed=1)
        return Trainer(network, sampler, recipe, torch.device("cpu"), torch.float32)

    return make


def kept(state: dict[str, Any]) -> dict[str, Any]:
    """The state, through a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    found: dict[str, Any] = torch.load(buffer, weights_only=True)
    return found


def equal(one: Any, two: Any) -> bool:
    """Whether nested states are equal to the bit; NaN equals itself."""
    if isinstance(one, torch.Tensor):
        return torch.equal(torch.nan_to_num(one, 7e7), torch.nan_to_num(two, 7e7))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    return bool(one == two)


def untimed(steps: list[Step]) -> list[Step]:
    """The steps without what depends on the clock."""
    return [replace(step, images_per_second=0.0) for step in steps]


@pytest.mark.parametrize("cut", [1, 4])
def test_resumed_equals_uninterrupted(trainer: Callable[..., Trainer], cut: int) -> None:
    whole = trainer()
    expected = list(train(whole))
    first = trainer()
    steps = list(itertools.islice(train(first), cut))
    state = kept(first.state())
    second = trainer()
    torch.rand(3)
    second.load(state)
    steps += train(second)
    assert untimed(steps) == untimed(expected)
    assert [step.phase for step in steps] == [1, 1, 2, 2, 2, 2]
    assert equal(second.state(), whole.state())


def test_a_resumed_step_draws_the_dropout_of_the_uninterrupted_one(trainer: Callable[..., Trainer]) -> None:
    settings: dict[str, Any] = {"encoder": "efficientnet-b0", "steps": 2, "warm_share": 1.0}
    whole = trainer(**settings)
    list(train(whole))
    first, second = trainer(**settings), trainer(**settings)
    next(iter(train(first)))
    torch.rand(3)
    second.load(kept(first.state()))
    list(train(second))
    assert equal(second.network.state_dict(), whole.network.state_dict())


def test_training_does_not_touch_the_global_generators(trainer: Callable[..., Trainer]) -> None:
    of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(train(trainer(steps=2, warm_share=0.0)))
    assert torch.equal(torch.get_rng_state(), of_torch)
    assert np.array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002


def test_steps_tell_what_they_were_like(trainer: Callable[..., Trainer]) -> None:
    steps = list(train(trainer()))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    for step in steps:
        assert math.isfinite(step.loss)
        assert 0 <= step.information <= math.log(4) + 1e-6
        assert 1 - 1e-6 <= step.perplexity <= 4 + 1e-5
        assert step.images_per_second > 0
        assert (step.adversarial > 0) == (step.geometric > 0) == (step.phase == 2)
        assert step.note == ""


@pytest.mark.parametrize("term", ["adversarial", "geometric"])
def test_a_weight_of_zero_leaves_a_term_out(trainer: Callable[..., Trainer], term: str) -> None:
    (step,) = train(trainer(steps=1, warm_share=0.0, **{f"{term}_weight": 0.0}))
    assert getattr(step, term) == 0


def test_training_learns(trainer: Callable[..., Trainer]) -> None:
    steps = list(train(trainer(steps=12, warm_share=1.0)))
    early, late = (np.mean([step.information for step in part]) for part in (steps[:3], steps[-3:]))
    assert late > early


def test_a_batch_that_is_not_finite_changes_no_weight(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(poisoned=[1], steps=3)
    steps = train(subject)
    next(steps)
    before = {name: value.detach().clone() for name, value in subject.network.named_parameters()}
    optimiser, p_bar = copy.deepcopy(subject.optimiser.state_dict()["state"]), subject.p_bar.clone()
    step = next(steps)
    assert math.isnan(step.loss)
    assert "skipped" in step.note
    assert all(torch.equal(value, before[name]) for name, value in subject.network.named_parameters())
    assert equal(subject.optimiser.state_dict()["state"], optimiser)
    assert torch.equal(subject.p_bar, p_bar)
    assert math.isfinite(next(steps).loss)
    images = [torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))]
    settle_statistics(subject.network, images, torch.float32)
    assert all(torch.isfinite(value).all() for value in subject.network.state_dict().values())


def test_three_bad_steps_in_a_row_fall_back_to_the_last_good_state(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(poisoned=[1, 2, 3], steps=6)
    good = copy.deepcopy(subject.state())
    steps = train(subject)
    for _ in range(3):
        next(steps)
    assert not equal(subject.network.state_dict(), good["network"])
    rate = subject._rate()
    assert "skipped" in next(steps).note
    assert equal(subject.network.state_dict(), good["network"])
    assert equal(subject.p_bar, good["p_bar"])
    assert subject.step == 4
    assert subject.watch.rate_factor == 0.5
    assert rate > 0
    rest = list(steps)
    assert [step.step for step in rest] == [5, 6]
    assert all(math.isfinite(step.loss) for step in rest)


def test_training_in_trouble_takes_nine_steps_to_give_up(trainer: Callable[..., Trainer]) -> None:
    steps = train(trainer(poisoned=range(1000), steps=1000))
    seen = list(itertools.islice(steps, 9))
    assert [step.step for step in seen] == list(range(1, 10))
    with pytest.raises(DivergedError, match="left the finite numbers three times"):
        next(steps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock that shows a second more at every look."""
    ticks = itertools.count()
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    return lambda: float(next(ticks))


def idle(subject: Trainer) -> Trainer:
    """The trainer with steps that cost nothing."""

    def advance(batch: Batch) -> Step:
        subject.step += 1
        return Step(subject.step, subject.recipe.steps, 1, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    subject.advance = advance  # type: ignore[method-assign]
    return subject


def test_progress_follows_the_clock_where_minutes_are_given(trainer: Callable[..., Trainer], clock: Any) -> None:
    subject = idle(trainer(steps=1000))
    progress = [subject.progress for _ in train(subject, minutes=0.5)]
    assert 5 <= len(progress) <= 15
    assert progress == sorted(progress)
    assert progress[-2] < 1 <= progress[-1]
    assert np.ptp(np.diff(progress)) < 1e-9


def test_steps_end_a_training_before_its_minutes(trainer: Callable[..., Trainer], clock: Any) -> None:
    subject = idle(trainer(steps=4))
    assert [subject.progress for _ in train(subject, minutes=60)] == [0.25, 0.5, 0.75, 1.0]


def test_a_resumed_training_has_the_minutes_that_were_left(trainer: Callable[..., Trainer], clock: Any) -> None:
    whole, first, second = (idle(trainer(steps=1000)) for _ in range(3))
    total = len(list(train(whole, minutes=0.5)))
    list(itertools.islice(train(first, minutes=0.5), 4))
    second.load(kept(first.state()))
    assert abs(4 + len(list(train(second, minutes=0.5))) - total) <= 1


def test_the_rate_warms_up_and_falls_to_a_hundredth(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(steps=1000)
    rates = []
    for step in range(1000):
        subject.step, subject.progress = step, step / 1000
        rates.append(subject._rate())
    assert np.argmax(rates) < 30
    assert (np.diff(rates[30:]) < 0).all()
    assert rates[0] == pytest.approx(RECIPE.learning_rate / 20)
    assert rates[-1] == pytest.approx(RECIPE.learning_rate / 100, rel=0.01)


def test_closing_the_generator_ends_the_work(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    subject = trainer()
    steps = train(subject)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert subject.step == 1
    assert list(steps) == []
