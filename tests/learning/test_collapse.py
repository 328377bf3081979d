"""The collapse watch: acts on collapse, counts what is not finite, gives up in time, and survives a restart."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.learning.collapse import CollapseWatch

stretches = st.tuples(
    st.sampled_from([1.0, 2.0, 5.0, 8.0]), st.sampled_from([True, True, False]), st.booleans(), st.integers(1, 60)
)
looks = st.lists(stretches, min_size=1, max_size=12).map(
    lambda found: [look for *look, times in found for _ in range(times)]
)


def collapse(watch: CollapseWatch, steps: int, perplexity: float = 1.2) -> list[str]:
    """Show the watch a collapsed training; return what it did."""
    return [note for note in (watch.update(perplexity, True, past_start=True) for _ in range(steps)) if note]


def test_collapse_raises_the_marginal_weight_after_patience() -> None:
    watch = CollapseWatch(8, 1.0)
    assert collapse(watch, 29) == []
    (note,) = collapse(watch, 1)
    assert "perplexity 1.2 of 8" in note
    assert "1.50" in note
    assert watch.mu == 1.5
    assert watch.failure is None


@pytest.mark.parametrize("perplexity", [4.0, 8.0])
def test_half_of_the_classes_is_no_collapse(perplexity: float) -> None:
    watch = CollapseWatch(8, 1.0)
    assert collapse(watch, 1000, perplexity) == []
    assert watch.mu == 1.0


@pytest.mark.parametrize(("perplexity", "dying"), [(11, True), (19, True), (21, False), (45, False)])
def test_collapse_is_measured_by_the_perplexity_that_is_expected(perplexity: float, dying: bool) -> None:
    """A hundred classes of unequal size whose perplexity would be 40."""
    watch = CollapseWatch(100, 1.0, 40.0)
    assert bool(collapse(watch, 30, perplexity)) == dying
    collapse(watch, 1000, perplexity)
    assert watch.failure is None
    collapse(watch, 1000, 9.0)
    assert watch.failure is not None
    assert "9.0 of 100 classes" in watch.failure


def test_a_moment_of_health_begins_the_patience_anew() -> None:
    watch = CollapseWatch(8, 1.0)
    for _ in range(10):
        assert collapse(watch, 29) == []
        assert watch.update(7.0, True, past_start=True) == ""
    assert watch.mu == 1.0


def test_a_cold_training_is_not_judged() -> None:
    watch = CollapseWatch(8, 1.0)
    assert not any(watch.update(1.0, True, past_start=False) for _ in range(500))


def test_collapse_that_medicine_does_not_cure_is_hopeless() -> None:
    watch = CollapseWatch(8, 1.0)
    assert len(collapse(watch, 4 * 30)) == 4
    assert watch.mu == pytest.approx(1.5**4)
    collapse(watch, 29)
    assert watch.failure is None
    collapse(watch, 1)
    assert watch.failure is not None
    assert "1.2 of 8 classes" in watch.failure


def test_few_classes_are_not_hopeless_as_long_as_there_are_some() -> None:
    watch = CollapseWatch(8, 1.0)
    collapse(watch, 1000, perplexity=3.0)
    assert watch.failure is None
    assert watch.mu == pytest.approx(1.5**4)


def test_three_bad_steps_in_a_row_ask_for_a_fall_back() -> None:
    watch = CollapseWatch(8, 1.0)
    for _ in range(2):
        assert "skipped" in watch.update(math.nan, False, past_start=True)
        assert not watch.stable
        assert not watch.needs_rollback
    watch.update(5.0, True, past_start=True)
    assert watch.stable
    for bad in range(3):
        assert not watch.needs_rollback, bad
        watch.update(5.0, False, past_start=True)
    assert watch.needs_rollback
    watch.rolled_back()
    assert not watch.needs_rollback
    assert watch.stable
    assert watch.rate_factor == 0.5


def test_the_third_fall_is_the_last() -> None:
    watch = CollapseWatch(8, 1.0)
    for fall in range(3):
        assert watch.failure is None, fall
        watch.rolled_back()
    assert watch.failure is not None
    assert watch.rate_factor == 0.125


@given(looks, st.floats(0, 1, exclude_max=True))
def test_a_watch_that_was_kept_and_loaded_goes_on_as_before(seen: list[tuple[float, bool, bool]], share: float) -> None:
    one, two = CollapseWatch(8, 1.0), CollapseWatch(8, 1.0)
    for i, (perplexity, finite, warm) in enumerate(seen):
        if i == int(share * len(seen)):
            state = json.loads(json.dumps(two.state()))
            two = CollapseWatch(3, 9.0)
            two.load(state)
        assert one.update(perplexity, finite, warm) == two.update(perplexity, finite, warm)
        for watch in (one, two):
            if watch.needs_rollback:
                watch.rolled_back()
    assert one.state() == two.state()


@given(looks)
def test_the_weight_only_rises_and_within_bounds(seen: list[tuple[float, bool, bool]]) -> None:
    watch = CollapseWatch(8, 1.0)
    last = watch.mu
    for perplexity, finite, warm in seen:
        watch.update(perplexity, finite, warm)
        assert last <= watch.mu <= 1.5**4 + 1e-9
        last = watch.mu
