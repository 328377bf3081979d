"""geoseg status."""

from __future__ import annotations

import json

import click

from geoseg.config import StatusConfig
from geoseg.location import Location

from .options import LOCATION
from .streams import show
from .terminal import echo
from .usage import Command


@click.command(cls=Command)
@click.argument("run", type=LOCATION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(run: Location, as_json: bool) -> None:
    """Show the progress of RUN: what is finished, the process at work, and how to continue.

    RUN is the run directory of an unfinished output, or that output; or the folder of an unfinished training, or its
    model.
    """
    config = StatusConfig(run, as_json)
    from geoseg.jobs.status import TrainingStatus, run_status, status_json

    found = run_status(config.run)
    fields = status_json(found)
    if config.json:
        show(json.dumps(fields, indent=None if found is None else 1))
        return
    if found is None:
        echo(f"{config.run}: is finished")
        return
    if isinstance(found, TrainingStatus):
        kept = "no intact checkpoint" if found.step is None else f"{found.step} steps kept"
        checkpoints = f"{found.checkpoints} checkpoint{'s' * (found.checkpoints != 1)} intact, {found.damaged} damaged"
        echo(f"{found.path}: {kept}, {checkpoints}, {fields['mebibytes']} MiB")
        echo(found.state)
        if not found.working:
            echo("to continue: the command that began it (geoseg train with --resume, or geoseg predict)")
        return
    total = "" if found.blocks is None else f" of {found.blocks}"
    damaged = f", {found.damaged} damaged" if found.damaged else ""
    echo(f"{found.path}: {found.finished}{total} blocks finished{damaged}, {fields['mebibytes']} MiB")
    echo(found.state)
    if found.command and not found.working:
        echo(f"to continue, in {found.folder}: {found.command}")
