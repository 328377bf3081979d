"""What all jobs have in common: open, check and plan when they are made, then run and publish.

A job is a context manager that holds its inputs open. `run()` does the work and yields a receipt for each unit of it;
the outputs are published when the last one has been taken. `follow` turns the receipts of any job into `Progress`
values, which the command line shows as a bar, as lines or as JSON, and the Python API hands to a callback.
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
        stage: The job: train, predict, superpixels, polygonize or evaluate.
        kind: start, when nothing is done yet; step, after each unit; note, something a person should read whatever the
            display; end.
        done: Units that are finished.
        total: Units there are. A training may end with fewer, when its time is up.
        unit: What is counted: block, step, image, row.
        seconds: Wall time since the job started.
        message: What the step was like, or the note; empty where there is nothing to say.
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
    """One command's work on one input. Making it opens, checks and plans; nothing is written before `run`.

    Attributes:
        stage: Name of the command.
        unit: What `run` yields a receipt for.
        total: How many receipts `run` yields.
    """

    stage: ClassVar[str]
    unit: str
    total: int

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
            command: What continues the work if it is interrupted, to be kept with it.
        """

    def describe(self, receipt: R) -> str:
        """Return what a unit was like, for display beside the count."""
        return ""

    def remark(self, receipt: R) -> str:
        """Return what should be read of a unit whatever the display; empty for most."""
        return ""

    def opening(self) -> str:
        """Return a line to show before the work; empty for none."""
        return ""

    def closing(self) -> str:
        """Return a line to show after the work; empty for none."""
        return ""

    def kept(self) -> str | None:
        """Return what an interruption would leave to go on with: empty if nothing so far, None if this job never keeps
        anything."""
        return None


def follow(job: Job[R], command: str = "") -> Generator[Progress]:
    """Run `job` and yield how far it is: a start, a step for each receipt, notes in between, an end."""
    began, done = time.monotonic(), 0

    def at(kind: Kind, message: str) -> Progress:
        return Progress(job.stage, kind, done, job.total, job.unit, time.monotonic() - began, message)

    yield at("start", job.opening())
    with closing(job.run(command)) as receipts:
        for receipt in receipts:
            done += 1
            if remark := job.remark(receipt):
                yield at("note", remark)
            yield at("step", job.describe(receipt))
    yield at("end", job.closing())
