"""Many scenes as independent units: one that cannot be worked on does not stop the others.

    for job in scenes.jobs():
        with scenes.sparing_others(job), job:
            ...                          # run the job, here or elsewhere
    scenes.finish()

Scenes are opened one at a time, each when its turn comes, so that neither memory nor the number of open files grows
with their number. Several processes may work on the same scenes: what another process has in hand is left until all
others are done, and then waited for. It is done before if the other process has finished it, and done here if not.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from geoseg.errors import (
    DivergedError,
    GeosegError,
    InputError,
    LockedError,
    OutputError,
    ResourceError,
    UnavailableError,
    WriteError,
    first_line,
    named,
    raise_together,
)
from geoseg.files.lock import OutputLocks
from geoseg.jobs.job import Job
from geoseg.jobs.scene_results import Facts, SceneResult, Status
from geoseg.location import Location

log = logging.getLogger(__name__)

J = TypeVar("J", bound=Job[Any])

_FATAL = (WriteError, DivergedError, ResourceError, UnavailableError)
"""Errors that the next scene would meet too."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two looks at what other processes have in hand, at first and in the end."""

_MAX_REFUSALS = 3
"""How often the outputs of a scene may be refused after it was opened, until that is an error."""


class Scenes(ABC, Generic[J]):
    """The scenes of one command and their jobs.

    Args:
        scenes: The scenes.
        dry_run: Only plan: nothing will be done.
        stops: Whether an error that geoseg did not foresee concerns all scenes; others are told like those of a scene.

    Attributes:
        noun: What the inputs are called.
        verb: What is done with them.
        scenes: The scenes.
    """

    noun = "scene"
    verb = "done"

    def __init__(
        self, scenes: Sequence[Location], dry_run: bool = False, stops: Callable[[BaseException], bool] | None = None
    ) -> None:
        self.scenes, self._dry_run, self._stops = scenes, dry_run, stops
        self._results: list[SceneResult | None] = [None] * len(scenes)
        self._running: dict[int, tuple[int, float]] = {}
        self._deferred: list[int] = []
        self._waited_for: set[int] = set()
        self._refusals: Counter[int] = Counter()
        self._last_turn = False
        self._faults: dict[int, GeosegError] = {}

    @abstractmethod
    def outputs(self, number: int) -> tuple[Path, ...]:
        """Return the outputs of a scene that have names of their own, the most important one first."""

    @abstractmethod
    def record(self, number: int) -> Path:
        """Return the record of the outputs of a scene."""

    @abstractmethod
    def open(self, number: int) -> J | None:
        """Open the job of a scene; None if an earlier process has finished its outputs.

        Raises:
            GeosegError: The scene cannot be worked on.
        """

    @abstractmethod
    def facts(self, job: J) -> Facts:
        """Return what is told of a finished job."""

    def jobs(self) -> Iterator[J]:
        """Yield the jobs of the scenes that are not finished, opened one at a time.

        Whoever computes elsewhere may ask for the next job before this one is done. What another process has in hand
        is waited for once the others have been given out.

        Raises:
            GeosegError: An error of the only scene, or one that concerns all.
        """
        yield from self._turns(range(len(self.scenes)))
        pause = _FIRST_PAUSE
        while self._deferred:
            numbers, self._deferred = self._deferred, []
            yield from self._turns(numbers, again=True)
            if self._deferred == numbers:
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
        self._last_turn = True

    @contextmanager
    def sparing_others(self, job: Any) -> Iterator[None]:
        """Keep an error of one scene among several for `finish`, and tell it in a warning; take note of success."""
        try:
            yield
        except Exception as error:
            number, began = self._running.pop(id(job), (None, 0.0))
            if number is None:
                raise
            if self._defers(number, error):
                return
            self._add(number, error, time.monotonic() - began)
        else:
            number, began = self._running.pop(id(job), (None, 0.0))
            if number is not None and not self._dry_run:
                self._done(number, job, time.monotonic() - began)

    def number_of(self, job: Any) -> int | None:
        """Return the number of the scene of a job that is at work; None for a job that is not a scene's."""
        return self._running.get(id(job), (None, 0.0))[0]

    def results(self) -> Iterator[SceneResult]:
        """Yield what became of each scene so far."""
        for number, scene in enumerate(self.scenes):
            yield self._results[number] or SceneResult(str(scene), self._files(number), "not done", exit_code=None)

    def to_json(self, error: str | None = None, exit_code: int | None = None) -> dict[str, Any]:
        """Return what became of the scenes as JSON values: an entry for each, and sums.

        Args:
            error: What ended the work early, if anything did.
            exit_code: Its exit status.
        """
        results, counts = list(self.results()), self.counts()
        return {
            "scenes": [result.to_json() for result in results],
            **{status.replace(" ", "_"): counts[status] for status in get_args(Status)},
            "pixels": sum(result.pixels or 0 for result in results),
            "error": error,
            "exit_code": self.exit_code if exit_code is None else exit_code,
        }

    def counts(self) -> Counter[Status]:
        """Return the number of scenes by status."""
        return Counter(result.status for result in self.results())

    @property
    def exit_code(self) -> int:
        """The exit status of the failures, that of `InputError` if these differ; 0 without any."""
        codes = {error.exit_code for error in self._faults.values()}
        return codes.pop() if len(codes) == 1 else InputError.exit_code if codes else 0

    def finish(self) -> None:
        """Raise an error if scenes failed; its details have one line for each, and its status is theirs.

        Raises:
            GeosegError: Scenes failed. If their statuses differ, it is an InputError.
        """
        count, total = len(self._faults), len(self.scenes)
        if self._dry_run:
            summary = f"{count} of {total} {self.noun}s cannot be {self.verb}; repair these or leave them out"
        else:
            finished = f", {total - count} finished" if count < total else ""
            advice = "repair these or leave them out: the same command does only what is missing"
            summary = f"{count} of {total} {self.noun}s could not be {self.verb}{finished}; {advice}"
        raise_together({self.scenes[number]: self._faults[number] for number in sorted(self._faults)}, summary)

    @property
    def _several(self) -> bool:
        return len(self.scenes) > 1

    def _defers(self, number: int, error: Exception) -> bool:
        """Whether a scene is left for later: another process has it in hand, or has finished it since it was opened."""
        if not self._several or self._last_turn or not isinstance(error, LockedError | OutputError):
            return False
        if isinstance(error, OutputError):
            self._refusals[number] += 1
            if self._refusals[number] >= _MAX_REFUSALS:
                return False
        self._deferred.append(number)
        return True

    def _turns(self, numbers: Sequence[int], again: bool = False) -> Iterator[J]:
        """Yield the jobs of these scenes.

        Args:
            numbers: The scenes.
            again: They were in the hands of other processes.
        """
        for number in numbers:
            if self._results[number] is not None:
                continue
            began = time.monotonic()
            try:
                job = self._opened(number, again)
            except LockedError as error:
                if not self._defers(number, error):
                    self._add(number, error, time.monotonic() - began)
                elif again:
                    self._tell_wait(number, error)
                continue
            except Exception as error:
                self._add(number, error, time.monotonic() - began)
                continue
            if job is None:
                self._results[number] = SceneResult(str(self.scenes[number]), self._files(number), "done before")
                continue
            self._running[id(job)] = number, began
            yield job

    def _opened(self, number: int, again: bool) -> J | None:
        """Open the job of a scene, again while no other process publishes it if its outputs are refused.

        Raises:
            LockedError: Another process has the scene in hand.
            GeosegError: See `open`.
        """
        if not again:
            try:
                return self.open(number)
            except OutputError:
                # Class raster and others are put in place before the record that says what they are.
                if not self._several or self._dry_run or not any(path.exists() for path in self.outputs(number)):
                    raise
        with ExitStack() as stack:
            try:
                stack.enter_context(OutputLocks(*self.outputs(number)))
            except WriteError as error:
                # Nobody publishes to a folder that is missing or cannot be written to.
                log.debug("%s", error)
            return self.open(number)

    def _tell_wait(self, number: int, error: LockedError) -> None:
        """Say once for each scene which process has it in hand."""
        if number not in self._waited_for:
            self._waited_for.add(number)
            log.warning("%s; waiting until it is done", str(error).partition(";")[0])

    def _done(self, number: int, job: J, seconds: float) -> None:
        facts = self.facts(job)
        self._results[number] = SceneResult(
            str(self.scenes[number]), self._files(number), "done", pixels=facts.pixels, seconds=seconds,
            classes=facts.classes,
        )  # fmt: skip

    def _add(self, number: int, error: Exception, seconds: float | None = None) -> None:
        """Take note of an error of one scene.

        Raises:
            GeosegError: This error, if there is only one scene or the others would meet it too.
        """
        if not isinstance(error, GeosegError) and (not self._several or self._stops is None or self._stops(error)):
            raise error
        fault = error if isinstance(error, GeosegError) else _unforeseen(error)
        scene = self.scenes[number]
        message = " ".join(str(fault).split())
        self._results[number] = SceneResult(
            str(scene), self._files(number), "failed", message, fault.exit_code, seconds=seconds
        )
        self._faults[number] = fault.with_traceback(None)
        if not self._several or isinstance(error, _FATAL) or (self._stops is not None and self._stops(error)):
            raise error
        log.warning("not %s: %s", self.verb, named(scene, fault))

    def _files(self, number: int) -> tuple[Path, ...]:
        return (*self.outputs(number), self.record(number))


def _unforeseen(error: Exception) -> GeosegError:
    """What is told of an error that geoseg did not foresee."""
    fault = GeosegError(
        f"internal error: {type(error).__name__}: {first_line(error)} (--debug shows where; please report it)"
    )
    fault.__cause__ = error
    return fault
