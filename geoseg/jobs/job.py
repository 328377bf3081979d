"""The common interface of all jobs: open, check and plan on construction, then run and publish.

A job is a context manager that holds its inputs open. `run()` does the work and yields a receipt for each unit; the
outputs are published when the generator is exhausted. `follow` turns the receipts of any job into `Progress` values,
which the command line shows as a bar, as lines or as JSON, and the Python API passes to a callback.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

R = TypeVar("R")

Kind = Literal["start", "step", "note", "end"]


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: The job: train, predict, superpixels, polygonize, change, evaluate, report or export.
        kind: start, before the work; step, after each unit; note, a message for the user, to be shown in every display;
            end, after the work.
        done: Number of finished units. A resumed training begins at the step that was kept.
        total: Number of all units. In a training with a time limit it is an estimate, made anew with each step.
        unit: What is counted: block, step, image or file.
        seconds: Wall time since the job started.
        message: Description of the unit, or the note; may be empty.
    """

    stage: str
    kind: Kind
    done: int
    total: int
    unit: str
    seconds: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object, the seconds to a millisecond."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


class Job(ABC, Generic[R]):
    """The work of one command on one input. The constructor opens, checks and plans; only `run` writes.

    Attributes:
        stage: Name of the command.
        unit: What `run` yields a receipt for.
        total: Number of all units; while a training with a time limit runs, an estimate.
        done_before: Number of units that an earlier process finished, and for which `run` yields no receipt.
    """

    stage: ClassVar[str]
    unit: str
    total: int
    done_before: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the inputs."""

    @abstractmethod
    def run(self, command: str = "") -> Generator[R]:
        """Do the work, yield a receipt for each unit, then publish the outputs.

        Args:
            command: Command that continues the work after an interruption; it is stored with the unfinished work.
        """

    def describe(self, receipt: R) -> str:
        """Return a description of a finished unit, for display next to the count."""
        return ""

    def remark(self, receipt: R) -> str:
        """Return a message about a finished unit that every display shows; empty for none."""
        return ""

    def opening(self) -> str:
        """Return a line to show before the work; empty for none."""
        return ""

    def closing(self) -> str:
        """Return a line to show after the work; empty for none."""
        return ""

    def kept(self) -> str | None:
        """Return what remains after an interruption, so that the work can continue.

        Empty means nothing so far; None means that this job never keeps anything.
        """
        return None


def follow(job: Job[R], command: str = "") -> Generator[Progress]:
    """Run `job` and yield its progress: a start, a step for each receipt, notes in between, and an end.

    Args:
        job: The job; the caller closes it.
        command: See `Job.run`.
    """
    began, receipts_seen = time.monotonic(), 0

    def progress(kind: Kind, message: str) -> Progress:
        done = job.done_before + receipts_seen
        return Progress(job.stage, kind, done, job.total, job.unit, time.monotonic() - began, message)

    yield progress("start", job.opening())
    with closing(job.run(command)) as receipts:
        for receipt in receipts:
            receipts_seen += 1
            if remark := job.remark(receipt):
                yield progress("note", remark)
            yield progress("step", job.describe(receipt))
    yield progress("end", job.closing())
