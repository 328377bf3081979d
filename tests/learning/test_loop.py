"""Laws of training: resumed equals uninterrupted, and trouble leaves the network as it was."""

import copy
import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.rasters import landscape, make_raster
from numpy.typing import NDArray

from geoseg.datasets.dataset import DatasetImage
from geoseg.errors import DivergedError, InputError
from geoseg.learning import loop
from geoseg.learning.imagery import Imagery
from geoseg.learning.loop import train
from geoseg.learning.losses import class_prior, marginal_divergence, pool, pool_weights
from geoseg.learning.mixture import fit_mixture
from geoseg.learning.patches import Batch, PatchSampler
from geoseg.learning.step import Step
from geoseg.learning.trainer import Trainer
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import frozen_statistics, settle_statistics
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats, band_stats
from geoseg.recipes import Recipe, SuperpixelConfig

RECIPE = Recipe(
    classes=4,
    steps=8,
    start_share=0.25,
    warm_share=0.5,
    batch_size=2,
    patch_size=64,
    superpixel_size=8,
    mixture_superpixels=2000,
)
"""Two steps of phase 0, two of phase 1, four of phase 2."""


@dataclass(frozen=True)
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


def make_trainer(scene: Scene, poisoned: Any = (), encoder: str = "compact", **settings: Any) -> Trainer:
    """Return a fresh trainer; the same for the same arguments."""
    recipe = replace(RECIPE, **settings)
    cut = SuperpixelConfig(recipe.superpixel_size), (None, None), 64, 11
    sampler = Sampler(Imagery([scene]), band_stats([scene]), *cut, poisoned=frozenset(poisoned))
    network = build(NetworkSpec(encoder, 3, recipe.classes), seed=1)
    return Trainer(network, sampler, recipe, torch.device("cpu"), torch.float32)


@pytest.fixture
def trainer(scene: Scene) -> Callable[..., Trainer]:
    """Return `make_trainer` of the small scene."""
    return partial(make_trainer, scene)


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
    return bool(one == two) or (one != one and two != two)


def untimed(steps: list[Step]) -> list[Step]:
    """The steps without what depends on the clock."""
    return [replace(step, images_per_second=0.0) for step in steps]


TROUBLED = (2, 6, 7)
"""Steps that are poisoned, as counted from 0."""


@pytest.fixture(scope="module")
def whole(scene: Scene) -> tuple[list[Step], dict[str, Any]]:
    """The steps of a training that nothing interrupts, and where it ends: in trouble."""
    subject = make_trainer(scene, TROUBLED)
    steps = list(train(subject))
    return untimed(steps), subject.state()


def resumed(trainer: Callable[..., Trainer], cut: int, leave_out: Sequence[str] = ()) -> tuple[list[Step], Trainer]:
    """The same after an interruption after `cut` steps; with what is left out as it is at the very beginning."""
    first, second = trainer(TROUBLED), trainer(TROUBLED)
    steps = list(itertools.islice(train(first), cut))
    state, fresh = kept(first.state()), kept(second.state())
    torch.rand(3)
    for path in leave_out:
        *parents, name = path.split(".")
        inner, new = state, fresh
        for parent in parents:
            inner, new = inner[parent], new[parent]
        inner[name] = new[name]
    second.load(state)
    return untimed(steps + list(train(second))), second


@pytest.mark.parametrize("cut", [1, 3, 4, 6, 7])
def test_law_8_resumed_equals_uninterrupted(trainer: Callable[..., Trainer], whole: Any, cut: int) -> None:
    steps, second = resumed(trainer, cut)
    assert equal([vars(step) for step in steps], [vars(step) for step in whole[0]])
    assert [step.phase for step in steps] == [0, 0, 1, 1, 2, 2, 2, 2]
    assert equal(second.state(), whole[1])


LEFT_OUT = ["network", "optimiser", "step", "progress", "watch", "p_bar", "averages.last", "averages.selected"]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_all_of_the_state_is_needed(trainer: Callable[..., Trainer], whole: Any, name: str) -> None:
    """The test above would see it if any of it were not kept."""
    steps, second = resumed(trainer, 7, [name])
    alike = equal([vars(step) for step in steps], [vars(step) for step in whole[0]])
    assert not (alike and equal(second.state(), whole[1]))


def test_a_resumed_training_keeps_its_mixture(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = trainer(), trainer()
    next(iter(train(first)))
    state = kept(first.state())
    assert set(state) == {*(name.partition(".")[0] for name in LEFT_OUT), "mixture", "threads"}
    monkeypatch.setattr(loop, "fit_mixture", lambda *_: pytest.fail("a mixture was fitted"))
    second.load(state)
    next(iter(train(second)))
    assert equal(vars(second.mixture), vars(first.mixture))


def test_a_resumed_step_draws_the_dropout_of_the_uninterrupted_one(trainer: Callable[..., Trainer]) -> None:
    settings: dict[str, Any] = {"encoder": "efficientnet-b0", "steps": 3, "start_share": 0.1}
    whole = trainer(**settings)
    expected = list(train(whole))
    first, second = trainer(**settings), trainer(**settings)
    steps = list(itertools.islice(train(first), 1))
    torch.rand(3)
    second.load(kept(first.state()))
    steps += train(second)
    assert [step.criterion for step in steps[1:]] == [step.criterion for step in expected[1:]]
    assert [step.phase for step in steps] == [0, 1, 2]
    assert equal(second.state(), whole.state())


@pytest.mark.parametrize("encoder", ["compact", "efficientnet-b0"])
def test_training_does_not_touch_the_global_generators(trainer: Callable[..., Trainer], encoder: str) -> None:
    of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(train(trainer(encoder=encoder, steps=2, start_share=0.5)))
    assert torch.equal(torch.get_rng_state(), of_torch)
    assert np.array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002


def test_steps_tell_what_they_were_like(trainer: Callable[..., Trainer]) -> None:
    steps = list(train(trainer()))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step.phase for step in steps] == [0, 0, 1, 1, 2, 2, 2, 2]
    for step in steps:
        assert math.isfinite(step.loss)
        assert 0 <= step.information <= math.log(4) + 1e-6
        assert 1 - 1e-6 <= step.perplexity <= 4 + 1e-5
        assert step.images_per_second > 0
        assert (step.adversarial > 0) == (step.geometric > 0) == (step.phase == 2)
        assert step.anchor > 0
        assert (step.loss == step.anchor) == (step.phase == 0)
        assert math.isfinite(step.criterion) == (step.step > 4)
        assert step.note == ""


@pytest.mark.parametrize("term", ["adversarial", "geometric"])
def test_a_weight_of_zero_leaves_a_term_out(trainer: Callable[..., Trainer], term: str) -> None:
    (step,) = train(trainer(steps=1, start_share=0.0, warm_share=0.0, **{f"{term}_weight": 0.0}))
    assert getattr(step, term) == 0


def test_an_anchor_of_weight_zero_is_left_out_of_phases_1_and_2(trainer: Callable[..., Trainer]) -> None:
    steps = list(train(trainer(anchor_weight=0.0)))
    assert [step.anchor > 0 for step in steps] == [step.phase == 0 for step in steps]


@pytest.mark.parametrize("phase", [1, 2])
def test_the_loss_is_the_sum_of_its_terms(trainer: Callable[..., Trainer], phase: int) -> None:
    """The first step, whose p_bar is that of its batch alone."""
    share = {"start_share": 0.0, "warm_share": 2.0 - phase, "steps": 9, "imbalance": 0.7}
    for weight in (0.0, 0.7):
        subject = trainer(**share, anchor_weight=weight, adversarial_weight=0.4, geometric_weight=0.6)
        step = next(iter(train(subject)))
        entropy = -float((subject.p_bar * subject.p_bar.log()).sum())
        marginal = float(marginal_divergence(subject.p_bar, class_prior(4, 0.7)))
        loss = entropy - step.information + RECIPE.marginal_weight * marginal
        loss += weight * step.anchor + 0.4 * step.adversarial + 0.6 * step.geometric
        assert step.loss == pytest.approx(loss, rel=1e-4)
        assert (step.anchor > 0) == (weight > 0)
        assert (step.adversarial > 0) == (step.geometric > 0) == (phase == 2)


@pytest.mark.parametrize("step", [0, 3, 400])
def test_the_marginal_is_that_of_more_than_one_batch_with_the_gradient_of_one(
    trainer: Callable[..., Trainer], step: int
) -> None:
    """A step of a hundred moves p_bar by a hundredth, and must not be ten times as weak for p_bar's long memory."""
    subject = trainer(imbalance=0.7)
    subject.step, subject.p_bar = step, torch.tensor([0.4, 0.3, 0.2, 0.1])
    z = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    area = torch.ones(2, 5)
    conditional, marginal, p_bar = subject._information(z, area)
    batch = z.detach().softmax(-1).mean((0, 1))
    memory = min(0.9, step / (step + 1))
    assert torch.allclose(p_bar, memory * subject.p_bar + (1 - memory) * batch, atol=1e-6)
    log_p = z.detach().log_softmax(-1)
    assert conditional.item() == pytest.approx(-(log_p.exp() * log_p).sum(-1).mean().item(), rel=1e-5)
    prior = class_prior(4, 0.7)
    assert marginal.item() == pytest.approx(marginal_divergence(p_bar.detach(), prior).item(), abs=1e-5)
    (found,) = torch.autograd.grad(marginal, z)
    of_batch = memory * subject.p_bar + (1 - memory) * z.softmax(-1).mean((0, 1))
    (expected,) = torch.autograd.grad(marginal_divergence(of_batch, prior) / (1 - memory), z)
    assert torch.allclose(found, expected, atol=1e-6)


def test_phase_0_learns_the_mixture(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(steps=24, start_share=1.0, warm_share=1.0)
    steps = list(train(subject))
    assert {step.phase for step in steps} == {0}
    early, late = (np.mean([step.anchor for step in part]) for part in (steps[:3], steps[-3:]))
    assert late < 0.7 * early


@pytest.mark.parametrize(("start_share", "anchor", "fitted"), [(0, 0, 0), (0, 0.5, 1), (0.25, 0, 1)])
def test_a_mixture_is_fitted_where_something_leans_on_it(
    trainer: Callable[..., Trainer], start_share: float, anchor: float, fitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(loop, "fit_mixture", lambda *given: made.append(given) or fit_mixture(*given))
    steps = list(train(trainer(start_share=start_share, anchor_weight=anchor, start="brightness")))
    assert len(made) == fitted
    assert all(math.isfinite(step.loss) for step in steps)
    assert all(math.isfinite(step.criterion) for step in steps[4:])
    for descriptors, classes, seed, start in made:
        assert (classes, seed, start, descriptors.shape[1]) == (4, 11, "brightness", 4)
        assert np.isfinite(descriptors).all()
        assert (descriptors[:, :3] > 0).any(axis=1).all(), "a superpixel that is none"


def test_the_mixture_is_fitted_to_superpixels_enough(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(loop, "fit_mixture", lambda *given: made.append(len(given[0])) or fit_mixture(*given))
    next(iter(train(trainer(mixture_superpixels=1000))))
    assert 1000 <= made[0] < 1300
    # A batch has about 128; whatever is asked for, each class can have two.
    next(iter(train(trainer(mixture_superpixels=1, classes=90))))
    assert 180 <= made[1] < 400


@pytest.mark.parametrize(
    ("superpixels", "enough", "batches"),
    [(1, None, 13), (100_000, None, 13), (1, math.inf, 64), (9000, math.inf, 71)],
    ids=["small", "small and too few", "large", "large and more"],
)
def test_the_mixture_is_fitted_to_patches_of_all_imagery(
    trainer: Callable[..., Trainer], superpixels: int, enough: float | None, batches: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """25 patches cover 160 x 160 pixels four times, and a batch has two, of about 64 superpixels each."""
    drawn: list[int] = []
    draw = PatchSampler.descriptors
    monkeypatch.setattr(PatchSampler, "descriptors", lambda own, *given: drawn.append(given[0]) or draw(own, *given))
    if enough is not None:
        monkeypatch.setattr(Imagery, "enough_patches", lambda *_: enough)
    next(iter(train(trainer(mixture_superpixels=superpixels))))
    assert len(set(drawn)) == len(drawn) == pytest.approx(batches, abs=0 if batches < 70 else 4)


@pytest.mark.parametrize(("saturation", "start"), [(1.0, "surroundings"), (0.02, "brightness")])
def test_few_classes_start_from_brightness_where_there_is_little_colour(
    tmp_path: Path, saturation: float, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is resumed goes on with its start, whatever it would now choose."""
    colours = landscape(160, 160).astype(float)
    grey = colours.mean(axis=0)
    pixels = (grey + saturation * (colours - grey)).round().astype(np.uint8)
    with Scene(make_raster(tmp_path / "scene.tif", pixels)) as scene:
        first, second = (make_trainer(scene, start="auto") for _ in range(2))
        list(itertools.islice(train(first), 2))
        monkeypatch.setattr(loop, "colourfulness", lambda _: pytest.fail("a start was chosen"))
        second.load(kept(first.state()))
        list(train(second))
    for subject in (first, second):
        assert subject.mixture is not None
        assert subject.mixture.start == subject.sampler.start == start
        assert subject.mixture.means.shape == (4, 8 if start == "surroundings" else 4)


def test_the_mixture_sees_a_class_that_is_in_one_image_of_sixty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever it is: all images are seen about equally often, told apart by their brightness."""
    monkeypatch.setattr(loop, "_MIN_MIXTURE_BATCHES", 64)

    def image(index: int) -> DatasetImage:
        pixels = np.random.default_rng(index).normal(60 + 2 * index, 2, (3, 64, 64)).round().astype(np.uint8)
        return DatasetImage(
            Path(str(index)), ("red", "green", "blue"), np.dtype(np.uint8), lambda: (64, 64),
            lambda: (pixels, np.ones((64, 64), bool)),
        )  # fmt: skip

    stats = BandStats((120.0,) * 3, (20.0,) * 3, (0.0,) * 3, (255.0,) * 3, 1)
    imagery = Imagery([image(index) for index in range(60)], uniform=True)
    sampler = PatchSampler(imagery, stats, SuperpixelConfig(16), (None, None), 64, seed=3)
    subject = Trainer(build(NetworkSpec("compact", 3, 4), 0), sampler, RECIPE, torch.device("cpu"), torch.float32)
    with ThreadPoolExecutor(1) as threads:
        descriptors = loop._sample_superpixels(subject, "brightness", threads)
    seen = np.bincount(((255 * descriptors[:, 0] - 60) / 2).round().astype(int), minlength=60)
    assert len(seen) == 60
    # 64 batches of two patches.
    assert seen.min() > 0.3 * seen.mean()
    assert seen.max() < 2.5 * seen.mean()


def test_too_few_superpixels_for_the_classes_are_refused(trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(InputError, match=r"about \d+ superpixels, too few for 450 classes.*--classes") as caught:
        next(iter(train(trainer(classes=450, superpixel_size=128, batch_size=1))))
    assert "\n" not in str(caught.value)


def test_what_is_judged_is_never_learnt_from(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    batch, asked = Sampler.batch, []
    monkeypatch.setattr(Sampler, "batch", lambda self, step, *more: asked.append(step) or batch(self, step, *more))
    list(train(trainer()))
    learnt = {step for step in asked if step < 1 << 30}
    assert set(range(8)) <= learnt <= set(range(9))
    assert len(set(asked)) == len(asked)


def plain_criterion(subject: Trainer, probe: Sequence[Batch]) -> float:
    """The criterion of the network as it is, superpixel by superpixel."""
    assert subject.mixture is not None
    kept = seen = cost = 0.0
    for batch in probe:
        with torch.no_grad(), frozen_statistics(subject.network):
            fields = [
                subject.network(image).repeat_interleave(4, 2).repeat_interleave(4, 3).double()
                for image in (batch.image, batch.moved)
            ]
        posterior = subject.mixture.posterior(batch.descriptors).double()
        pixels = of_mixture = 0.0
        for b, region in np.ndindex(len(batch.image), batch.regions):
            where = [labels[b] == region + 1 for labels in (batch.labels, batch.moved_labels)]
            here, there = (int(inside.sum()) for inside in where)
            if here:
                z = fields[0][b, :, where[0]].mean(1)
                of_mixture -= here * float((posterior[b, region] * z.log_softmax(0)).sum())
                pixels += here
            if here and there:
                same = z.argmax() == fields[1][b, :, where[1]].mean(1).argmax()
                kept, seen = kept + min(here, there) * bool(same), seen + min(here, there)
        cost += of_mixture / pixels / len(probe)
    return kept / seen - 0.1 * cost


def test_the_criterion_is_what_keeps_its_class_less_what_leaves_the_mixture(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(classes=9)
    for _ in train(subject):
        pass
    with ThreadPoolExecutor(1) as pool:
        probe = [subject.sampler.batch(50 + i, 2 + i, pool) for i in range(2)]
    before = copy.deepcopy(subject.network.state_dict())
    best = subject.averages.selected
    found = subject.validate(probe)
    assert equal(subject.network.state_dict(), before)
    assert subject.network.training
    with subject.averages.applied():
        expected = plain_criterion(subject, probe)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found != pytest.approx(plain_criterion(subject, probe), abs=1e-4), "of the weights themselves"
    assert best is not None
    assert (subject.averages.selected is best) == (found <= best["criterion"])


def test_weights_are_judged_ten_times_in_the_second_half_and_the_best_selected(trainer: Callable[..., Trainer]) -> None:
    subject, seen = trainer(steps=50, start_share=0.1, warm_share=1.0), []
    averages: dict[int, Any] = {}
    for step in train(subject):
        averages[step.step] = {name: value.clone() for name, value in subject.averages.last.items()}
        if not math.isnan(step.criterion):
            seen.append((step.criterion, step.step))
    # Every twentieth of 50 steps, rounded up.
    assert [step for _, step in seen] == [math.ceil(2.5 * i) for i in range(11, 21)]
    criterion, step = max(seen, key=lambda each: (each[0], -each[1]))
    selected = subject.averages.selected
    assert selected is not None
    assert (selected["criterion"], selected["step"]) == (criterion, step)
    assert equal(selected["weights"], averages[step])
    assert equal(subject.averages.last, averages[50])


def test_training_learns(trainer: Callable[..., Trainer]) -> None:
    steps = list(train(trainer(steps=12, start_share=0.0, warm_share=1.0, anchor_weight=0.0)))
    early, late = (np.mean([step.information for step in part]) for part in (steps[:3], steps[-3:]))
    assert late > early


@pytest.mark.parametrize(("bad", "phase"), [(1, 0), (3, 1), (5, 2)])
def test_a_batch_that_is_not_finite_changes_nothing(trainer: Callable[..., Trainer], bad: int, phase: int) -> None:
    subject = trainer(poisoned=[bad])
    steps = train(subject)
    for _ in range(bad):
        next(steps)
    before = copy.deepcopy(subject.state())
    step = next(steps)
    assert math.isnan(step.loss)
    assert "skipped" in step.note
    assert step.phase == phase
    after = subject.state()
    for name in ("network", "p_bar", "mixture"):
        assert equal(after[name], before[name])
    assert equal(after["averages"]["last"], before["averages"]["last"])
    assert equal(after["optimiser"]["state"], before["optimiser"]["state"])
    assert math.isfinite(next(steps).loss)
    images = [torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))]
    settle_statistics(subject.network, images, torch.float32)
    assert all(torch.isfinite(value).all() for value in subject.network.state_dict().values())


def test_three_bad_steps_in_a_row_fall_back_to_the_last_good_state(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(poisoned=[5, 6, 7], steps=10)
    good = copy.deepcopy(subject.state())
    steps = train(subject)
    for _ in range(7):
        next(steps)
    mixture = subject.mixture
    assert mixture is not None
    assert subject.averages.selected is not None
    for name in ("network", "averages", "p_bar"):
        assert not equal(subject.state()[name], good[name])
    rate = subject._learning_rate()
    step = next(steps)
    assert "skipped" in step.note
    assert math.isnan(step.criterion)
    for name in ("network", "averages", "p_bar"):
        assert equal(subject.state()[name], good[name])
    assert equal(vars(subject.mixture), vars(mixture))
    assert subject.step == 8
    assert subject.watch.rate_factor == 0.5
    assert rate > 0
    rest = list(steps)
    assert [step.step for step in rest] == [9, 10]
    assert all(math.isfinite(step.loss) for step in rest)


def test_training_in_trouble_takes_nine_steps_to_give_up(trainer: Callable[..., Trainer]) -> None:
    steps = train(trainer(poisoned=range(1000), steps=1000))
    seen = list(itertools.islice(steps, 9))
    assert [step.step for step in seen] == list(range(1, 10))
    with pytest.raises(DivergedError, match="diverged three times"):
        next(steps)


def one_class(subject: Trainer) -> Trainer:
    """The trainer of a network that sees one class everywhere and hardly learns."""
    with torch.no_grad():
        subject.network.head[-1].bias[0] = 50  # type: ignore[index, operator]
    return subject


@pytest.mark.parametrize("phase", [0, 1])
def test_collapse_raises_the_weight_of_the_marginal_once_there_is_one(
    trainer: Callable[..., Trainer], phase: int
) -> None:
    settings: dict[str, Any] = {"steps": 16, "warm_share": 1.0, "anchor_weight": 0.0, "learning_rate": 1e-9}
    subject = one_class(trainer(start_share=1.0 - phase, **settings))
    subject.watch.patience = 4
    steps = list(train(subject))
    # Steps that began before a tenth of all was over do not count: there are two.
    raised = [step.step for step in steps if "classes are dying" in step.note]
    assert raised == ([6, 10, 14] if phase else [])
    assert subject.watch.mu == pytest.approx(RECIPE.marginal_weight * 1.5 ** len(raised))
    if phase:
        before, after = steps[5], steps[6]
        assert after.loss - before.loss == pytest.approx(4 * math.log(1 / class_prior(4, 0.3)[0].item()), rel=0.05)


def test_collapse_is_fewer_classes_than_those_that_are_expected(trainer: Callable[..., Trainer]) -> None:
    """Of shares that fall steeply, half of their perplexity; not half of the classes."""
    shares = class_prior(4, 3.0)
    assert trainer(imbalance=0.0).watch.expected == pytest.approx(4)
    assert trainer(imbalance=3.0).watch.expected == pytest.approx(math.exp(-(shares * shares.log()).sum().item()))


def test_a_training_begins_with_the_shares_that_are_expected(trainer: Callable[..., Trainer]) -> None:
    subject = trainer(imbalance=0.7)
    assert torch.equal(subject.p_bar, class_prior(4, 0.7))
    assert torch.equal(subject.prior, class_prior(4, 0.7))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock that shows a second more at every look."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    return lambda: float(next(ticks))


def idle(subject: Trainer) -> Trainer:
    """The trainer with steps that cost nothing."""

    def advance(batch: Batch) -> Step:
        subject.step += 1
        return Step(subject.step, subject.recipe.steps, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

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
        rates.append(subject._learning_rate())
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


def patchwork(colours: int, seed: int) -> NDArray[np.uint8]:
    """Fields of 24 px, each of one of many colours, uint8 (3, 288, 288)."""
    random = np.random.default_rng(seed)
    palette = random.integers(30, 226, size=(colours, 3))
    fields = palette[random.integers(0, colours, size=(12, 12))].repeat(24, axis=0).repeat(24, axis=1)
    return np.moveaxis(fields + random.normal(0, 5, fields.shape), -1, 0).clip(1, 255).astype(np.uint8)


def test_many_classes_are_in_use_at_the_end(tmp_path: Path) -> None:
    with Scene(make_raster(tmp_path / "fields.tif", patchwork(60, seed=5))) as fields:
        subject = make_trainer(fields, classes=24, steps=96, batch_size=4, learning_rate=1e-2)
        steps = list(train(subject))
        with ThreadPoolExecutor(1) as threads:
            batches = [subject.sampler.batch(1000 + i, 4, threads) for i in range(6)]
    used = torch.zeros(24)
    with subject.averages.applied(selected=True), torch.no_grad(), frozen_statistics(subject.network):
        for batch in batches:
            weights, area = pool_weights(batch.labels, batch.regions, 4)
            best = pool(subject.network(batch.image), weights).argmax(-1)
            used.scatter_add_(0, best.flatten(), area.flatten())
    assert int((used > 0.005 * used.sum()).sum()) >= 16
    assert steps[-1].perplexity >= 16


def test_the_anchor_can_be_another(trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is that `benchmarks/learning` compares."""
    usual = next(iter(train(trainer())))
    anchor = Trainer._anchor
    monkeypatch.setattr(Trainer, "_anchor", lambda *given: 3 * anchor(*given))
    tripled = next(iter(train(trainer())))
    assert tripled.anchor == pytest.approx(3 * usual.anchor, rel=1e-6)
    assert usual.anchor > 0
