"""geoseg status."""

from __future__ import annotations

import json
from pathlib import Path

import click

from geoseg.config import StatusConfig

from .options import PATH


@click.command()
@click.argument("run", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(run: Path, as_json: bool) -> None:
    """Say how far a RUN is, the directory beside an unfinished output (or that output): finished blocks, which process
    is at work, and the command that continues it."""
    config = StatusConfig(run, as_json)
    from geoseg.jobs.status import run_status, status_json

    found = run_status(config.run)
    facts = status_json(found)
    if config.json:
        click.echo(json.dumps(facts, indent=None if found is None else 1))
        return
    if found is None:
        click.echo(f"{config.run}: is finished")
        return
    total = "" if found.blocks is None else f" of {found.blocks}"
    damaged = f", {found.damaged} damaged" if found.damaged else ""
    click.echo(f"{found.path}: {found.finished}{total} blocks finished{damaged}, {facts['mebibytes']} MiB")
    click.echo(found.state)
    if facts["command"] and not found.working:
        click.echo(f"to go on, in {facts['folder']}: {facts['command']}")
