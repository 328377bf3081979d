"""Claims to blocks: one process at a time, taken over from the dead, and waited for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.errors import InputMissingError, LockedError, RunError, WriteError
from geoseg.files.lock import DEAD_SECONDS
from geoseg.grid import Block, Window
from geoseg.runs.local import Stages, compute
from geoseg.runs.run import Run

BLOCKS = [Block(index, Window.of(0, 8 * index, 8, 8)) for index in range(6)]
FINGERPRINT = {"scene": "a"}


@dataclass(frozen=True)
class Computed:
    """What the last stage of these tests returns."""

    layers: Mapping[str, NDArray[Any] | bytes]
    seconds: Mapping[str, float] = field(default_factory=dict)
    windows: int = 0


def stages(seen: list[int], check: Any = lambda: None) -> Stages[Block, Block]:
    """Stages that fill a block with its index, and note it."""

    def finish(block: Block, _: Block) -> Computed:
        seen.append(block.index)
        return Computed({"classes": np.full(block.window.shape, block.index + 1, np.uint8)})

    return Stages(lambda block: block, lambda block: block, finish, check)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[tuple[Run, Run]]:
    """A run that two processes have joined."""
    place = tmp_path / "map.tif.run"
    Run(place, FINGERPRINT, blocks=len(BLOCKS)).close()
    with Run.join(place) as one, Run.join(place) as other:
        yield one, other


def claims(run: Run) -> list[str]:
    """Names of the claims in a run."""
    return list(run.store.names("claim-"))


def plant(run: Run, block: Block, host: str, process: int, age: float = 0.0) -> None:
    """Leave the claim of another process, whose last heartbeat was `age` seconds ago."""
    path = run.path / f"claim-{block.index:06d}"
    path.write_text(json.dumps({"host": host, "pid": process}))
    os.utime(path, (time.time() - age,) * 2)


def test_one_process_at_a_time_has_a_block(runs: tuple[Run, Run]) -> None:
    one, other = runs
    assert one.claim(BLOCKS[0])
    assert one.claim(BLOCKS[0]), "a process may ask for what it has"
    assert not other.claim(BLOCKS[0])
    assert other.claim(BLOCKS[1])
    one.release(BLOCKS[0])
    assert other.claim(BLOCKS[0])
    other.release_all()
    assert claims(one) == []


def test_the_claim_of_a_process_that_ended_is_taken_over(runs: tuple[Run, Run]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    plant(runs[0], BLOCKS[0], socket.gethostname(), process.pid)
    assert runs[0].claim(BLOCKS[0])
    assert not runs[1].claim(BLOCKS[0])


@pytest.mark.parametrize(("age", "free"), [(0.0, False), (DEAD_SECONDS / 2, False), (DEAD_SECONDS + 5, True)])
def test_the_claim_of_another_machine_counts_while_its_heart_beats(
    age: float, free: bool, runs: tuple[Run, Run]
) -> None:
    plant(runs[0], BLOCKS[0], "elsewhere", 1, age)
    assert runs[0].claim(BLOCKS[0]) is free


def test_links_planted_as_claims_are_replaced(runs: tuple[Run, Run], tmp_path: Path) -> None:
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    (runs[0].path / "claim-000000").symlink_to(victim)
    assert runs[0].claim(BLOCKS[0])
    assert victim.read_text() == "precious"


def test_each_block_is_computed_once_by_two_at_a_time(runs: tuple[Run, Run]) -> None:
    seen: list[int] = []
    receipts: list[list[int]] = [[], []]

    def work(number: int) -> None:
        receipts[number] = [receipt.block.index for receipt in compute(stages(seen), runs[number], BLOCKS)]

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(seen) == list(range(len(BLOCKS)))
    assert sorted(receipts[0]) == sorted(receipts[1]) == list(range(len(BLOCKS)))
    assert claims(runs[0]) == []


def test_what_a_living_process_has_is_left_to_it(runs: tuple[Run, Run]) -> None:
    one, other = runs
    assert other.claim(BLOCKS[2])
    seen: list[int] = []
    receipts = compute(stages(seen), one, BLOCKS, wait=False)
    assert [receipt.block.index for receipt in receipts] == [0, 1, 3, 4, 5]
    assert seen == [0, 1, 3, 4, 5]


def test_what_another_process_leaves_is_computed_by_the_one_that_waits(
    runs: tuple[Run, Run], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = runs
    other.claim(BLOCKS[2])
    other.claim(BLOCKS[3])
    seen: list[int] = []

    def leave() -> None:
        other.keep(BLOCKS[3], {"classes": np.full((8, 8), 4, np.uint8)})
        other.release_all()

    waiting = threading.Timer(0.3, leave)
    waiting.start()
    receipts = list(compute(stages(seen), one, BLOCKS))
    waiting.join()
    assert seen == [0, 1, 4, 5, 2]
    assert sorted(receipt.block.index for receipt in receipts) == list(range(6))
    assert [receipt.block.index for receipt in receipts if receipt.reused] == [3]
    assert f"waiting for 2 blocks that process {os.getpid()} on " in caplog.text


def test_claims_are_given_up_when_the_work_fails_or_is_stopped(runs: tuple[Run, Run]) -> None:
    one, other = runs

    def changed() -> None:
        raise RuntimeError("the scene has changed")

    with pytest.raises(RuntimeError, match="has changed"):
        list(compute(stages([], changed), one, BLOCKS))
    assert claims(one) == []
    receipts = compute(stages([]), one, BLOCKS)
    next(receipts)
    receipts.close()
    assert claims(one) == []
    assert other.claim(BLOCKS[5])


def test_a_run_in_which_others_compute_is_not_restarted(runs: tuple[Run, Run]) -> None:
    one, _ = runs
    one.keep(BLOCKS[0], {})
    one.claim(BLOCKS[1])
    with pytest.raises(LockedError, match=f"process {os.getpid()} on .* computes a block there"):
        Run(one.path, FINGERPRINT, restart=True)
    assert one.has(BLOCKS[0])
    one.release_all()
    Run(one.path, FINGERPRINT, restart=True).close()
    assert not one.has(BLOCKS[0])


def test_a_run_that_is_gone_is_not_made_again(runs: tuple[Run, Run]) -> None:
    one, other = runs
    seen: list[int] = []

    def finished() -> None:
        if other.path.exists():
            other.discard()

    with pytest.raises((InputMissingError, WriteError)):
        list(compute(stages(seen, finished), one, BLOCKS))
    assert not one.path.exists()
    with pytest.raises(InputMissingError, match="another process has finished or removed it"):
        other.claim(BLOCKS[4])
    assert not one.path.exists()


def test_a_run_is_joined_only_where_it_is_and_for_what_it_is(tmp_path: Path, runs: tuple[Run, Run]) -> None:
    with pytest.raises(InputMissingError, match="there is no run"):
        Run.join(tmp_path / "other.run")
    runs[0].check(FINGERPRINT)
    with pytest.raises(RunError, match="was planned with a different scene; work on it with the same"):
        runs[0].check({"scene": "b"})


def test_one_process_coordinates_and_others_compute_meanwhile(runs: tuple[Run, Run]) -> None:
    with Run(runs[0].path, FINGERPRINT, blocks=len(BLOCKS)) as coordinator:
        assert coordinator.coordinates
        assert not runs[0].coordinates
        with pytest.raises(LockedError):
            Run(runs[0].path, FINGERPRINT)
        assert runs[0].claim(BLOCKS[0])
        assert not coordinator.claim(BLOCKS[0])
