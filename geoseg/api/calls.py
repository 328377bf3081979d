"""Helpers of the API functions: conversion of arguments, and running a job."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.location import Location, Remote, locate
from geoseg.units import Area

if TYPE_CHECKING:
    from geoseg.jobs.job import Job, Progress

PathLike = str | os.PathLike[str]
ProgressOption = Callable[["Progress"], object] | bool
"""A function that is called with each `Progress`, True for a tqdm bar, or False."""


def run(job: Job[Any], progress: ProgressOption) -> None:
    """Run a job to its end and report its progress."""
    from geoseg.jobs.job import follow

    if progress is not True:
        for event in follow(job):
            if progress:
                progress(event)
        return
    from tqdm.auto import tqdm

    with tqdm(total=job.total, unit=job.unit, desc=job.stage) as bar:
        for event in follow(job):
            if event.kind == "step":
                bar.set_postfix_str(event.message, refresh=False)
                bar.update()
            elif event.message:
                bar.write(event.message)


def location_of(path: PathLike) -> Location:
    """Return a Path, or a Remote for a URL."""
    return path if isinstance(path, Path | Remote) else locate(os.fspath(path))


def path_of(path: PathLike | None) -> Path | None:
    """Return the path as a Path."""
    return None if path is None else Path(path)


def tuple_of(values: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the numbers as a tuple."""
    return None if values is None else tuple(values)


def area_of(area: Area | str | None) -> Area | None:
    """Return the area; a string such as "50m2" or "12px" is parsed."""
    return Area.parse(area) if isinstance(area, str) else area
