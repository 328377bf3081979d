"""What all jobs have in common: their progress, in order, and that they end cleanly."""

from __future__ import annotations

from collections.abc import Generator
from itertools import count
from typing import Any

import pytest

from geoseg.jobs import job as module
from geoseg.jobs.job import Job, Progress, follow


class Counting(Job[int]):
    """A job of three units that does nothing but remember what happened to it."""

    stage = "count"
    unit = "number"
    total = 3

    def __init__(self) -> None:
        self.events: list[str] = []

    def close(self) -> None:
        self.events.append("closed")

    def run(self, command: str = "") -> Generator[int]:
        self.events.append(f"run by {command}")
        try:
            yield from range(3)
            self.events.append("published")
        finally:
            self.events.append("ended")

    def describe(self, receipt: int) -> str:
        return f"number {receipt}"

    def remark(self, receipt: int) -> str:
        return "odd" * (receipt % 2)

    def opening(self) -> str:
        return "begins"

    def closing(self) -> str:
        return "done"


def test_progress_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(100.0, 0.5)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    job = Counting()
    assert list(follow(job, "the command")) == [
        Progress("count", "start", 0, 3, "number", 0.5, "begins"),
        Progress("count", "step", 1, 3, "number", 1.0, "number 0"),
        Progress("count", "note", 2, 3, "number", 1.5, "odd"),
        Progress("count", "step", 2, 3, "number", 2.0, "number 1"),
        Progress("count", "step", 3, 3, "number", 2.5, "number 2"),
        Progress("count", "end", 3, 3, "number", 3.0, "done"),
    ]
    assert job.events == ["run by the command", "published", "ended"]


def test_what_an_earlier_process_finished_counts_as_done() -> None:
    class Continued(Counting):
        total, done_before = 103, 90

        def run(self, command: str = "") -> Generator[int]:
            # Only now it is known for certain.
            self.done_before = 100
            yield from super().run(command)

    told = [(event.kind, event.done, event.total) for event in follow(Continued()) if event.kind != "note"]
    assert told == [("start", 90, 103), *(("step", done, 103) for done in (101, 102, 103)), ("end", 103, 103)]


def test_whoever_stops_listening_ends_the_work_at_once() -> None:
    job = Counting()
    events = follow(job)
    assert [next(events).kind for _ in range(2)] == ["start", "step"]
    events.close()
    assert job.events == ["run by ", "ended"]


def test_a_job_is_closed_with_its_context() -> None:
    with pytest.raises(RuntimeError), Counting() as job:
        raise RuntimeError
    assert job.events == ["closed"]


def test_progress_as_json() -> None:
    found: dict[str, Any] = Progress("count", "step", 1, 3, "number", 1.23456, "x").to_json()
    assert found == {
        "stage": "count", "kind": "step", "done": 1, "total": 3, "unit": "number", "seconds": 1.235, "message": "x",
    }  # fmt: skip


def test_a_job_that_keeps_nothing_says_nothing() -> None:
    class Silent(Job[int]):
        stage, unit, total = "silent", "step", 0

        def close(self) -> None:
            """Nothing is open."""

        def run(self, command: str = "") -> Generator[int]:
            yield from ()

    with Silent() as job:
        assert [(event.kind, event.message) for event in follow(job)] == [("start", ""), ("end", "")]
        assert job.kept() is None
        assert (job.describe(0), job.remark(0)) == ("", "")
