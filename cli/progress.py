"""How the progress of a job is shown on standard error: a bar, lines, JSON for programs, or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from .interruption import resumable

if TYPE_CHECKING:
    from geoseg.jobs.job import Job, Progress

Display = Literal["auto", "bar", "plain", "json", "none"]
DISPLAYS = get_args(Display)

_LINES = 20
"""Lines that the plain display shows of a job, besides notes."""


def run_job(job: Job[Any], context: click.Context) -> None:
    """Run `job` under the display that was asked for; an interruption says how to go on."""
    from geoseg.jobs.job import follow

    command: str = context.obj["command"]

    def hint() -> str | None:
        kept = job.kept()
        return f"{kept}; to go on: {job.resuming(command)}" if kept else kept

    display: Display = context.obj["progress"]
    with resumable(hint), closing(follow(job, command)) as events, _shown(display, job.unit) as show:
        for event in events:
            show(event)


@contextmanager
def _shown(display: Display, unit: str) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows one event."""
    if display == "auto":
        display = "bar" if sys.stderr.isatty() else "plain"
    if display == "bar":
        from tqdm import tqdm

        with tqdm(unit=unit, dynamic_ncols=True, file=sys.stderr) as bar:
            yield lambda event: _update(bar, event)
    else:
        yield {"plain": _print_line, "json": _print_json, "none": lambda _: None}[display]


def _update(bar: Any, event: Progress) -> None:
    if event.kind == "step":
        bar.set_postfix_str(event.message, refresh=False)
        bar.update()
        return
    if event.kind == "start":
        bar.reset(total=event.total)
    if event.message:
        bar.write(event.message, file=sys.stderr)


def _print_line(event: Progress) -> None:
    if event.kind == "step":
        if event.done % max(1, event.total // _LINES) == 0 or event.done == event.total:
            click.echo(f"{event.unit} {event.done}/{event.total}: {event.message}", err=True)
    elif event.message:
        click.echo(event.message, err=True)


def _print_json(event: Progress) -> None:
    print_json(**event.to_json())


def print_json(**fields: Any) -> None:
    """Print one JSON object as a line on standard error."""
    click.echo(json.dumps(fields), err=True)
