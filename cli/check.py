"""geoseg check."""

from __future__ import annotations

import json
from typing import Any

import click

from geoseg.config import CheckConfig
from geoseg.errors import InputError

from .options import PATH
from .streams import show
from .terminal import echo
from .usage import Command


@click.command(cls=Command)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option("--scene", type=PATH, help="Scene that a map or superpixels were made from, to compare them with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, /, files: Any, scene: Any, as_json: bool) -> None:
    """Read all of FILES and check them: scenes, models, what geoseg wrote, run directories.

    Every fault is listed, not only the first one; nothing is written.
    """
    config = CheckConfig(files, scene, as_json)
    from geoseg.jobs.check import check_files

    findings = []
    for finding in check_files(config):
        findings.append(finding)
        if not config.json:
            echo(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.file}: {finding.message}")
    if config.json:
        show(json.dumps([finding.to_json() for finding in findings], indent=1))
    if not all(finding.ok for finding in findings):
        context.exit(InputError.exit_code)
