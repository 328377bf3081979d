"""geoseg finalize: the outputs of a run whose blocks were computed by any number of processes."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from geoseg.config import FinalizeConfig
from geoseg.errors import GeosegError, IncompleteError, OutputError, WriteError, raise_together
from geoseg.jobs.job import Job
from geoseg.jobs.plan import expanded
from geoseg.jobs.planned import open_job, settings_of
from geoseg.location import Location
from geoseg.runs.local import Receipt
from geoseg.runs.run import Run
from geoseg.runs.status import workers
from geoseg.runs.stretches import gaps, shown

log = logging.getLogger(__name__)

_SHOWN = 12
"""Stretches of missing blocks that a message names."""


class FinalizeJob(Job[Receipt]):
    """The outputs of one run. A context manager.

    Args:
        place: The run.
        keep_run: Keep the run.

    Raises:
        InputMissingError: There is no such run.
        RunError: It was not planned for several processes.
        GeosegError: The scene or the model cannot be opened, or the outputs cannot be written.
    """

    stage = "finalize"
    unit = "block"

    def __init__(self, place: Location, keep_run: bool = False) -> None:
        self.place = place
        with Run.join(place) as run, ExitStack() as stack:
            with _advising():
                self.job = stack.enter_context(open_job(settings_of(run, keep_run=keep_run or None)))
            self.job.joined(run)
            self._inputs = stack.pop_all()
        self.total = self.job.total

    def close(self) -> None:
        """Close the inputs."""
        self._inputs.close()

    def run(self, command: str = "") -> Generator[Receipt]:
        """Verify all parts, yield a receipt for each, then publish the outputs.

        Raises:
            IncompleteError: Blocks are missing or damaged, which the message names.
            LockedError: Another process finalises the run.
            RunError: The scene, the model or the software differs from what the run was planned with.
            WriteError: The file system failed; the run is kept.
        """
        job = self.job
        with _advising(), job.coordinated(None) as run:
            missing = bytearray(self.total)
            for block, finished in run.look_at(job.blocks):
                if finished:
                    yield Receipt.of_finished(block)
                else:
                    missing[block.index] = 1
            if any(missing):
                raise _incomplete(run, self.place, missing)
            job.publish(run)

    @property
    def result(self) -> Any:
        """What the job returns that does all the work in one process, once `run` is exhausted."""
        return self.job.result

    @property
    def output(self) -> str:
        """The main output."""
        return self.job.output

    def opening(self) -> str:
        """Return what is verified."""
        return f"verifying {self.total} block{'s' * (self.total != 1)} of {self.place}"

    def kept(self) -> str:
        """Return where the finished blocks are."""
        return self.job.kept()


@contextmanager
def _advising() -> Iterator[None]:
    """Tell the way out of an output that exists: this command has no option for it."""
    try:
        yield
    except OutputError as error:
        way_out = "plan it again with --overwrite, which keeps the finished blocks"
        raise OutputError(str(error).replace("--overwrite replaces it", way_out)) from error


def _incomplete(run: Run, place: Location, missing: bytearray) -> IncompleteError:
    """The error of a run that lacks blocks, whose byte of `missing` is 1."""
    found, count, total = workers(run.store), missing.count(1), len(missing)
    names = list(shown(gaps((index for index, lacks in enumerate(missing) if not lacks), total)))
    listed = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more stretches" if len(names) > _SHOWN else "")
    if found:
        way_out = f"{found[0]} is at work there: finalize it when all are done"
    else:
        way_out = f"no process is at work there: geoseg work {place} computes them"
    return IncompleteError(f"{place}: {count} of {total} blocks are missing ({listed}); {way_out}")


class Finalizations:
    """The runs of one command. One that cannot be finalised does not stop the others.

    Args:
        config: The settings. A folder among the runs stands for all runs in it.

    Attributes:
        places: The runs.
    """

    def __init__(self, config: FinalizeConfig) -> None:
        self._config = config
        self.places = expanded(config.runs)
        self._errors: dict[Location, GeosegError] = {}

    def job(self, place: Location) -> FinalizeJob:
        """Return the job of one run; the caller closes it."""
        return FinalizeJob(place, self._config.keep_run)

    @contextmanager
    def sparing_others(self, place: Location) -> Iterator[None]:
        """Keep an error of one run among several for `finish`, and tell it in a warning."""
        try:
            yield
        except GeosegError as error:
            if len(self.places) == 1 or isinstance(error, WriteError):
                raise
            self._errors[place] = error
            log.warning("not finalised: %s", error)

    def finish(self) -> None:
        """Raise an error if runs were not finalised; its details have a line for each, and its status is theirs."""
        raise_together(self._errors, f"{len(self._errors)} of {len(self.places)} runs were not finalised")
