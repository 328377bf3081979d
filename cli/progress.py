"""Progress on standard error: a bar, lines, JSON for programs, or none.

With JSON, every line on standard error is one object, including warnings, errors and interruptions.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from .bar import Bar, Clock
from .escapes import printable
from .interruption import resumable, take_announcement
from .streams import STANDARD_ERROR, tell
from .terminal import echo

if TYPE_CHECKING:
    from geoseg.jobs.job import Job, Progress

Display = Literal["auto", "bar", "plain", "json", "none"]
DISPLAYS: tuple[Display, ...] = get_args(Display)

_PLAIN_LINES = 20
"""Approximate number of lines that the plain display prints for a job that does not take long."""

_PLAIN_SECONDS = 60
"""Time after which the plain display prints another line in any case."""

_JSON_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error"}


class JsonFormatter(logging.Formatter):
    """Formats a log record as one JSON object: kind ("warning", "error", "log") and message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        return json_line(kind=_JSON_LEVELS.get(record.levelno, "log"), message=record.getMessage())


def json_line(**fields: Any) -> str:
    """Return the fields as a JSON object on one line."""
    return json.dumps(fields)


def run_job(job: Job[Any], context: click.Context, command: str | None = None) -> None:
    """Run a job and show its progress. After an interruption, print what is kept and how to continue.

    Args:
        job: The job; the caller closes it.
        context: Context of the command; its object holds the display and the command line.
        command: Command that continues the work; None is the same command.
    """
    from geoseg.jobs.job import follow

    command = command or context.obj["command"]
    display: Display = context.obj["progress"]
    hint = None if display == "none" else _hint(job, command, as_json=display == "json")
    with resumable(hint), closing(follow(job, command)) as events, _display(display) as show:
        for event in events:
            show(event)


def _hint(job: Job[Any], command: str, as_json: bool) -> Callable[[], str]:
    def line() -> str:
        kept = job.kept()
        text = f"{kept}; to continue: {command}" if kept else "" if kept is None else "nothing is kept yet"
        if as_json:
            return json_line(kind="interrupted", stage=job.stage, message=text)
        return printable(f"interrupted; {text}" if text else "interrupted")

    return line


def say_interrupted(as_json: bool, silent: bool) -> None:
    """Print that the command was interrupted, unless that was printed before."""
    if take_announcement() and not silent:
        line = json_line(kind="interrupted", stage=None, message="") if as_json else "interrupted"
        tell(line)


@contextmanager
def _display(display: Display) -> Iterator[Callable[[Progress], None]]:
    """Yield the function that shows one event."""
    if display == "auto":
        display = "bar" if sys.stderr.isatty() else "plain"
    if display == "bar":
        with Bar(STANDARD_ERROR) as bar:
            yield bar.show
    elif display == "json":
        yield lambda event: tell(json_line(**event.to_json()))
    elif display == "plain":
        yield Lines().show
    else:
        yield lambda _: None


class Lines:
    """Progress as lines, for a file or a pipe: some twenty for a job, and at least one a minute."""

    def __init__(self) -> None:
        self._clock, self._last = Clock(), 0.0

    def show(self, event: Progress) -> None:
        """Print a line for the event, if it is due."""
        self._clock.update(event)
        if event.kind != "step":
            for line in event.message.split("\n") if event.message else ():
                echo(line, err=True)
            return
        due = event.done % max(1, event.total // _PLAIN_LINES) == 0 or event.done == event.total
        if due or event.seconds - self._last >= _PLAIN_SECONDS:
            self._last = event.seconds
            share = f"{event.done / event.total:.0%}"
            words = ", ".join(filter(None, [share, self._clock.text(event), event.message]))
            echo(f"{event.unit} {event.done}/{event.total}: {words}", err=True)
