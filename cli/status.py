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
    """Say how far a RUN is, the directory beside an unfinished output (or that output): finished blocks, who is at
    work, and the command that goes on."""
    config = StatusConfig(run, as_json)
    from geoseg.files.record import record_path
    from geoseg.outputs.names import run_beside
    from geoseg.runs.directory import status as look

    beside = run_beside(config.run)
    if not beside.is_dir() and record_path(config.run).is_file() and config.run.is_file():
        click.echo(json.dumps({"run": None, "state": "finished"}) if config.json else f"{config.run}: is finished")
        return
    found = look(beside if beside.is_dir() and not config.run.is_dir() else config.run)
    facts = {
        "run": str(found.path),
        "finished": found.finished,
        "blocks": found.blocks,
        "damaged": found.damaged,
        "mebibytes": round(found.bytes / (1 << 20), 1),
        "state": found.state,
        "command": found.facts.get("command") or None,
        "folder": found.facts.get("folder"),
    }
    if config.json:
        click.echo(json.dumps(facts, indent=1))
        return
    of = "" if found.blocks is None else f" of {found.blocks}"
    damaged = f", {found.damaged} damaged" if found.damaged else ""
    click.echo(f"{found.path}: {found.finished}{of} blocks finished{damaged}, {facts['mebibytes']} MiB")
    click.echo(found.state)
    if facts["command"] and not found.working:
        click.echo(f"to go on, in {facts['folder']}: {facts['command']}")
