"""geoseg status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from geoseg.config import StatusConfig
from geoseg.location import Location

from .options import LOCATION
from .streams import show
from .terminal import echo
from .usage import Command

if TYPE_CHECKING:
    from geoseg.jobs.status import TrainingStatus
    from geoseg.runs.status import RunStatus

_SHOWN = 12
"""Stretches of missing blocks that are told."""


@click.command(cls=Command)
@click.argument("run", type=LOCATION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(run: Location, as_json: bool) -> None:
    """Show the progress of RUN: what is finished, the process at work, and how to continue.

    RUN is the run directory of an unfinished output, or that output; a folder of run directories; or the folder of an
    unfinished training, or its model.
    """
    config = StatusConfig(run, as_json)
    from geoseg.jobs.status import status_json, statuses
    from geoseg.runs.status import RunStatus

    found = statuses(config.run)
    if config.json:
        fields = [status_json(each) for each in found]
        show(json.dumps(fields if len(fields) > 1 else fields[0], indent=None if found == [None] else 1))
        return
    for each in found:
        _tell(config.run, each)
    runs = [each for each in found if isinstance(each, RunStatus)]
    if len(runs) > 1:
        finished, blocks = sum(each.finished for each in runs), sum(each.blocks or 0 for each in runs)
        echo(f"{len(runs)} runs: {finished} of {blocks} blocks finished")


def _tell(run: Location, found: RunStatus | TrainingStatus | None) -> None:
    from geoseg.jobs.status import TrainingStatus, status_json

    if found is None:
        echo(f"{run}: is finished")
        return
    size = status_json(found)["mebibytes"]
    if isinstance(found, TrainingStatus):
        kept = "no intact checkpoint" if found.step is None else f"{found.step} steps kept"
        checkpoints = f"{found.checkpoints} checkpoint{'s' * (found.checkpoints != 1)} intact, {found.damaged} damaged"
        echo(f"{found.path}: {kept}, {checkpoints}, {size} MiB")
        echo(found.state)
        if not found.working:
            echo("to continue: the command that began it (geoseg train with --resume, or geoseg predict)")
        return
    total = "" if found.blocks is None else f" of {found.blocks}"
    damaged = f", {found.damaged} damaged" if found.damaged else ""
    echo(f"{found.path}: {found.finished}{total} blocks finished{damaged}, {size} MiB")
    echo(found.state)
    if found.planned and found.missing and found.finished:
        more = len(found.missing) - _SHOWN
        echo(f"missing: {', '.join(found.missing[:_SHOWN])}" + (f" and {more} more stretches" if more > 0 else ""))
    if found.command and not found.working:
        echo(f"to continue, in {found.folder}: {found.command}")
