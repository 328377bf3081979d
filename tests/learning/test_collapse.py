"""The collapse watch: acts on collapse, counts what is not finite, gives up in time, and survives a restart."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.learning.collapse import Watch

stretches = st.tuples(
    st.sampled_from([1.0, 2.0, 5.0, 8.0]), st.sampled_from([True, True, False]), st.booleans(), st.integers(1, 60)
)
looks = st.lists(stretches, min_size=1, max_size=12).map(
    lambda found: [look for *look, times in found for _ in range(times)]
)


def collapse(watch: Watch, steps: int, perplexity: float = 1.2) -> list[str]:
    """Show the watch a collapsed training; return what it did."""
    return [note for note in (watch.see(perplexity, True, warm=True) for _ in range(steps)) if note]


def test_collapse_raises_the_marginal_weight_after_patience() -> None:
    watch = Watch(8, 1.0)
    assert collapse(watch, 29) == []
    (note,) = collapse(watch, 1)
    assert "perplexity 1.2 of 8" in note
    assert "1.50" in note
    assert watch.mu == 1.5
    assert watch.hopeless is None


@pytest.mark.parametrize("perplexity", [4.0, 8.0])
def test_half_of_the_classes_is_no_collapse(perplexity: float) -> None:
    watch = Watch(8, 1.0)
    assert collapse(watch, 1000, perplexity) == []
    assert watch.mu == 1.0


@pytest.mark.parametrize(("perplexity", "dying"), [(11, True), (19, True), (21, False), (45, False)])
def test_collapse_is_measured_by_the_perplexity_that_is_expected(perplexity: float, dying: bool) -> None:
    """A hundred classes of unequal size whose perplexity would be 40."""
    watch = Watch(100, 1.0, 40.0)
    assert bool(collapse(watch, 30, perplexity)) == dying
    collapse(watch, 1000, perplexity)
    assert watch.hopeless is None
    collapse(watch, 1000, 9.0)
    assert watch.hopeless is not None
    assert "9.0 of 100 classes" in watch.hopeless


def test_a_moment_of_health_begins_the_patience_anew() -> None:
    watch = Watch(8, 1.0)
    for _ in range(10):
        assert collapse(watch, 29) == []
        assert watch.see(7.0, True, warm=True) == ""
    assert watch.mu == 1.0


def test_a_cold_training_is_not_judged() -> None:
    watch = Watch(8, 1.0)
    assert not any(watch.see(1.0, True, warm=False) for _ in range(500))


def test_collapse_that_medicine_does_not_cure_is_hopeless() -> None:
    watch = Watch(8, 1.0)
    assert len(collapse(watch, 4 * 30)) == 4
    assert watch.mu == pytest.approx(1.5**4)
    collapse(watch, 29)
    assert watch.hopeless is None
    collapse(watch, 1)
    assert watch.hopeless is not None
    assert "1.2 of 8 classes" in watch.hopeless


def test_few_classes_are_not_hopeless_as_long_as_there_are_some() -> None:
    watch = Watch(8, 1.0)
    collapse(watch, 1000, perplexity=3.0)
    assert watch.hopeless is None
    assert watch.mu == pytest.approx(1.5**4)


def test_three_bad_steps_in_a_row_ask_for_a_fall_back() -> None:
    watch = Watch(8, 1.0)
    for _ in range(2):
        assert "skipped" in watch.see(math.nan, False, warm=True)
        assert watch.in_trouble
        assert not watch.fall_back
    watch.see(5.0, True, warm=True)
    assert not watch.in_trouble
    for bad in range(3):
        assert not watch.fall_back, bad
        watch.see(5.0, False, warm=True)
    assert watch.fall_back
    watch.fallen_back()
    assert not watch.fall_back
    assert not watch.in_trouble
    assert watch.rate_factor == 0.5


def test_the_third_fall_is_the_last() -> None:
    watch = Watch(8, 1.0)
    for fall in range(3):
        assert watch.hopeless is None, fall
        watch.fallen_back()
    assert watch.hopeless is not None
    assert watch.rate_factor == 0.125


@given(looks, st.floats(0, 1, exclude_max=True))
def test_a_watch_that_was_kept_and_loaded_goes_on_as_before(seen: list[tuple[float, bool, bool]], share: float) -> None:
    one, two = Watch(8, 1.0), Watch(8, 1.0)
    for i, (perplexity, finite, warm) in enumerate(seen):
        if i == int(share * len(seen)):
            state = json.loads(json.dumps(two.state()))
            two = Watch(3, 9.0)
            two.load(state)
        assert one.see(perplexity, finite, warm) == two.see(perplexity, finite, warm)
        for watch in (one, two):
            if watch.fall_back:
                watch.fallen_back()
    assert one.state() == two.state()


@given(looks)
def test_the_weight_only_rises_and_within_bounds(seen: list[tuple[float, bool, bool]]) -> None:
    watch = Watch(8, 1.0)
    last = watch.mu
    for perplexity, finite, warm in seen:
        watch.see(perplexity, finite, warm)
        assert last <= watch.mu <= 1.5**4 + 1e-9
        last = watch.mu
