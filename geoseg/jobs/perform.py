"""Blocks of a run computed by a worker process of an engine, which keeps the job open from call to call."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.planned import open_job, settings_of
from geoseg.location import Location
from geoseg.runs.folder import MANIFEST
from geoseg.runs.local import Receipt, Stages, compute
from geoseg.runs.run import Run


@dataclass(eq=False)
class _Opened:
    """A run with its job, and what computes its blocks."""

    digest: str
    run: Run
    job: BlockJob
    stages: Stages[Any, Any]
    stack: ExitStack


_opened: dict[str, _Opened] = {}
"""Location -> what `perform` opened; one at a time, because a job holds a scene, a network and their memory."""


def perform(location: Location, indices: Sequence[int]) -> list[Receipt]:
    """Compute blocks of a run in this process, which may be a worker of any engine, and return their receipts.

    The job is opened once for all calls with the same run. A block that another process has claimed has no receipt.

    Args:
        location: The run.
        indices: Indices of the blocks.

    Raises:
        InputMissingError: There is no such run.
        RunError: The scene, the model or the software differs here from what the run was planned with.
        GeosegError: A block cannot be computed or kept.
    """
    opened = _open(location)
    blocks = [opened.job.blocks[index] for index in indices]
    return list(compute(opened.stages, opened.run, blocks, wait=False))


def _open(location: Location) -> _Opened:
    known = _opened.get(str(location))
    if known is not None and known.digest == _digest(known.run):
        return known
    leave()
    with ExitStack() as stack:
        run = stack.enter_context(Run.join(location))
        # Before the settings are read: if they change meanwhile, the next call opens the job again.
        digest = _digest(run)
        job = stack.enter_context(open_job(settings_of(run, overwrite=True)))
        job.joined(run)
        stages = stack.enter_context(job.stages())
        opened = _opened[str(location)] = _Opened(digest, run, job, stages, stack.pop_all())
    return opened


def _digest(run: Run) -> str:
    return hashlib.sha256(run.store.read(MANIFEST) or b"").hexdigest()


def leave() -> None:
    """Close what `perform` has opened in this process."""
    while _opened:
        _opened.popitem()[1].stack.close()
