"""Averages of weights: the recursion as it is written down, swapped in and out without a trace."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from geoseg.learning.averaging import Averages


def network(seed: int = 0) -> nn.Module:
    """Two layers with a buffer between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))


def walk(subject: nn.Module, step: int) -> None:
    """Change every parameter, as an optimiser would, to what only `step` says."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for value in subject.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))


def weights(subject: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters."""
    return {name: value.detach().clone() for name, value in subject.named_parameters()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Whether the weights are equal to the bit."""
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.98])
def test_averages_are_exponential_and_forget_their_beginning_early(decay: float) -> None:
    subject = network()
    averages = Averages(subject, decay)
    expected = {name: value.double() for name, value in weights(subject).items()}
    for step in range(60):
        walk(subject, step)
        averages.update(step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = {n: kept * expected[n] + (1 - kept) * v.double() for n, v in weights(subject).items()}
        assert all(torch.allclose(value.double(), expected[name], atol=1e-6) for name, value in averages.last.items())
    assert same(averages.last, weights(subject)) == (decay == 0)


def test_averages_do_not_touch_the_network() -> None:
    subject = network()
    averages = Averages(subject, 0.9)
    walk(subject, 1)
    before = copy.deepcopy(subject.state_dict())
    averages.update(0)
    averages.consider(0.5, 1)
    assert same(dict(subject.state_dict()), before)
    assert not any(value.requires_grad for value in averages.last.values())


def test_the_highest_criterion_is_selected_and_the_first_of_equals() -> None:
    subject = network()
    averages = Averages(subject, 0.9)
    assert averages.selected is None
    best: dict[str, Tensor] = {}
    for step, criterion in enumerate([-0.3, -0.5, 0.2, 0.2, 0.1], 1):
        walk(subject, step)
        averages.update(step)
        if step == 3:
            best = {name: value.clone() for name, value in averages.last.items()}
        averages.consider(criterion, step)
    assert averages.selected is not None
    assert (averages.selected["step"], averages.selected["criterion"]) == (3, 0.2)
    assert same(averages.selected["weights"], best)
    assert not same(averages.selected["weights"], averages.last)


def test_averages_are_applied_within_a_context_only_even_after_an_error() -> None:
    subject = network()
    averages = Averages(subject, 0.9)
    walk(subject, 1)
    averages.update(5)
    averages.consider(1.0, 5)
    walk(subject, 2)
    averages.update(6)
    own, buffers = weights(subject), {name: value.clone() for name, value in subject.named_buffers()}
    with averages.applied():
        assert same(weights(subject), averages.last)
    with averages.applied(selected=True):
        assert averages.selected is not None
        assert same(weights(subject), averages.selected["weights"])
    assert not same(own, averages.last)

    def broken() -> None:
        with averages.applied():
            walk(subject, 9)
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert same(weights(subject), own)
    assert same(dict(subject.named_buffers()), buffers)


def test_where_nothing_is_selected_the_last_average_is_applied() -> None:
    subject = network()
    averages = Averages(subject, 0.9)
    walk(subject, 1)
    averages.update(3)
    with averages.applied(selected=True):
        assert same(weights(subject), averages.last)


@pytest.mark.parametrize("judged", [False, True])
def test_averages_that_were_kept_and_loaded_go_on_as_before(judged: bool) -> None:
    one, two = network(), network()
    whole, first = Averages(one, 0.9), Averages(two, 0.9)
    resumed = Averages(two, 0.9)
    for step in range(6):
        for subject, averages in ((one, whole), (two, first if step < 3 else resumed)):
            walk(subject, step)
            averages.update(step)
            if judged and step == 1:
                averages.consider(0.4, step)
        if step == 2:
            buffer = io.BytesIO()
            torch.save(first.state(), buffer)
            buffer.seek(0)
            walk(two, 77)
            resumed = Averages(two, 0.9)
            resumed.load(torch.load(buffer, weights_only=True))
    assert same(resumed.last, whole.last)
    assert (resumed.selected is not None) == judged
    if resumed.selected is not None and whole.selected is not None:
        assert same(resumed.selected["weights"], whole.selected["weights"])
        assert (resumed.selected["step"], resumed.selected["criterion"]) == (1, 0.4)
