"""Which worker computes which blocks: all of them, once, most in regions of their own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from geoseg.runs.regions import Regions


def test_two_workers_have_halves_and_end_with_single_blocks() -> None:
    regions, found = Regions(range(100)), {"a": [], "b": []}  # type: ignore[var-annotated]
    while regions:
        for worker, tasks in found.items():
            tasks.append(regions.following(worker, ("a", "b"), 9))
    blocks = {worker: [index for task in tasks for index in task] for worker, tasks in found.items()}
    assert blocks == {"a": list(range(50)), "b": list(range(50, 100))}
    lengths = [len(task) for task in found["a"]]
    assert lengths[0] == 9
    assert lengths[-4:] == [1] * 4
    assert lengths == sorted(lengths, reverse=True)


def test_a_worker_that_is_done_takes_half_of_what_another_has_left() -> None:
    regions = Regions(range(40))
    assert regions.following("a", ("a", "b"), 4) == (0, 1, 2, 3)
    while (task := regions.following("b", ("a", "b"), 4))[0] >= 20:
        pass
    # 4 to 19 were left; the second half of them is b's now.
    assert task == (12, 13)
    assert regions.following("a", ("a", "b"), 4) == (4, 5)


def test_a_region_is_gone_through_in_ascending_order() -> None:
    regions = Regions([0, 4, 1, 5, 2, 6, 3, 7])
    assert regions.following("a", ("a", "b"), 9) == (0,)
    assert regions.following("b", ("a", "b"), 9) == (2,)
    assert [regions.following("a", ("a", "b"), 9) for _ in range(3)] == [(1,), (4,), (5,)]


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 31)), max_size=200), st.integers(1, 9))
def test_every_block_is_given_out_once_whoever_comes_and_goes(
    total: int, turns: list[tuple[int, int]], most: int
) -> None:
    regions, given_out = Regions(range(total)), Counter[int]()
    for number, present in [*turns, *[(0, 1)] * total]:
        workers = [str(worker) for worker in range(5) if present >> worker & 1]
        regions.settle(workers)
        if str(number) in workers:
            task = regions.following(str(number), workers, most)
            assert len(task) <= most
            assert list(task) == sorted(task)
            given_out.update(task)
    assert not regions
    assert given_out == Counter(range(total))
