"""Helpers of the API functions: conversion of arguments, and running a job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.bands import Bands, parse_bands
from geoseg.errors import SettingError
from geoseg.extras import Extra, parse_extra
from geoseg.location import Location, Remote, locate
from geoseg.units import Area, Period

if TYPE_CHECKING:
    from geoseg.jobs.job import Job, Progress

PathLike = str | os.PathLike[str]
Numbers = Sequence[int] | int | str
"""Whole numbers: several, one, or text as on the command line, "4,3,2"."""

BandsLike = Sequence[int | str] | int | str
"""Bands by number or name: several, one, or text as on the command line, "4,3,2" or "red,green,blue"."""

Names = Sequence[str | int] | str | int
"""Ids or names of classes: several, one, or text as on the command line, "water,trees"."""

AreaLike = Area | str | float
"""An area, text such as "50m2" or "12px", or a number of square metres."""

ProgressOption = Callable[["Progress"], object] | bool
"""A function that is called with each `Progress`, True for a tqdm bar, or False."""


def run(job: Job[Any], progress: ProgressOption) -> None:
    """Run a job to its end and report its progress."""
    from geoseg.jobs.job import follow

    if progress is False:
        for _ in follow(job):
            pass
        return
    if progress is not True:
        with _telling(progress) as tell:
            for event in follow(job):
                tell(event)
        return
    from tqdm.auto import tqdm

    with tqdm(total=job.total, unit=job.unit, desc=job.stage, initial=job.done_before) as bar:
        for event in follow(job):
            if event.kind == "step":
                bar.set_postfix_str(event.message, refresh=False)
                bar.total = event.total
                bar.update()
            elif event.message:
                bar.write(event.message, file=bar.fp)


@contextmanager
def _telling(progress: Callable[[Progress], object]) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that calls `progress`; the working folder that it changes to takes effect after the work."""
    here = there = os.getcwd()  # noqa: PTH109 (a string, as chdir takes it)

    def tell(event: Progress) -> None:
        nonlocal there
        if there != here:
            os.chdir(there)
        try:
            progress(event)
        finally:
            there = os.getcwd()  # noqa: PTH109
            if there != here:
                # Relative paths of the job are those of the folder in which it began.
                os.chdir(here)

    try:
        yield tell
    finally:
        if there != here:
            os.chdir(there)


def location_of(path: PathLike) -> Location:
    """Return a Path, or a Remote for a URL.

    Raises:
        SettingError: It is neither.
    """
    return path if isinstance(path, Path | Remote) else locate(_text_of(path))


def path_of(path: PathLike) -> Path:
    """Return the path as a Path.

    Raises:
        SettingError: It is none, or empty, which would be the working directory.
    """
    if path == "":
        raise SettingError("a path is empty; leave it out, or give one")
    return Path(_text_of(path))


def optional_path(path: PathLike | None) -> Path | None:
    """Return the path as a Path, None for None; see `path_of`."""
    return None if path is None else path_of(path)


def _text_of(path: Any) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise SettingError(f"{path!r} is no path; give a str or a pathlib.Path") from None


def numbers_of(name: str, values: Numbers | None) -> tuple[int, ...] | None:
    """Return whole numbers as a tuple.

    Args:
        name: The argument, for the message.
        values: Numbers, one number, or text as on the command line: "4,3,2".

    Raises:
        SettingError: They are something else.
    """
    if values is None:
        return None
    given: Sequence[Any] = values.replace(" ", ",").split(",") if isinstance(values, str) else _several(values)
    try:
        return tuple(int(value) if isinstance(value, str) else index(value) for value in given if value != "")
    except (TypeError, ValueError):
        raise SettingError(f"{name} is {values!r}; give whole numbers, such as (4, 3, 2)") from None


def bands_of(values: BandsLike | None) -> Bands | None:
    """Return bands as a tuple of numbers and names.

    Raises:
        SettingError: They are something else.
    """
    if values is None:
        return None
    given: Sequence[Any] = parse_bands(values) if isinstance(values, str) else _several(values)
    try:
        return tuple(_one_band(value) if isinstance(value, str) else index(value) for value in given)
    except TypeError:
        raise SettingError(f"bands is {values!r}; give whole numbers or names, such as (4, 3, 2)") from None


def extras_of(values: Sequence[PathLike] | PathLike) -> tuple[Extra, ...]:
    """Return rasters that add bands, each given as on the command line: "dsm.tif", "heights/" or "dsm=heights/"."""
    several = [values] if isinstance(values, str | os.PathLike) else values
    return tuple(parse_extra(os.fspath(each)) for each in several)


def names_of(values: Names | None) -> tuple[str, ...] | None:
    """Return ids or names of classes as a tuple of texts, each as on the command line: "1,3" or "water,trees"."""
    if values is None:
        return None
    return tuple(map(str, [values] if isinstance(values, str) else _several(values)))


def area_of(area: AreaLike | None) -> Area | None:
    """Return the area: a number is one of square metres, and text such as "50m2" or "12px" is parsed.

    Raises:
        SettingError: It is something else.
    """
    if area is None or isinstance(area, Area):
        return area
    if isinstance(area, str):
        return Area.parse(area)
    number: Any = area
    if isinstance(number, Real) and number is not True and number is not False:
        return Area(float(number))
    raise SettingError(f'area is {area!r}; give a number of square metres, "50m2" or "12px"')


def period_of(period: Period | str | None) -> Period | None:
    """Return the period; text such as "2020-07-14" is parsed.

    Raises:
        SettingError: It is something else.
    """
    if period is None or isinstance(period, Period):
        return period
    if isinstance(period, str):
        return Period.parse(period)
    raise SettingError(f'datetime is {period!r}; give "2020-07-14", or a geoseg.Period')


def _one_band(text: str) -> int | str:
    """A number that is given as text, as in a list of words, or a name."""
    return int(text) if text.strip().isdecimal() else text


def _several(values: Any) -> Sequence[Any]:
    """The values of a sequence, an array or a set; one value stands for itself."""
    return list(values) if isinstance(values, Iterable) else [values]
