"""geoseg check."""

from __future__ import annotations

import json
from typing import Any

import click

from geoseg.config import CheckConfig
from geoseg.errors import InputError

from .options import PATH


@click.command()
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option("--scene", type=PATH, help="Scene that a map or superpixels were made of: hold them against it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, /, files: Any, scene: Any, as_json: bool) -> None:
    """Read all of FILES and say whether they are whole: scenes, models, what geoseg wrote, run directories.

    Whatever is wrong is told, not only the first of it; nothing is written.
    """
    config = CheckConfig(files, scene, as_json)
    from geoseg.jobs import check as checking

    findings = []
    for path in config.files:
        for finding in checking.check(path, config.scene):
            findings.append(finding)
            if not config.json:
                click.echo(f"{'ok   ' if finding.fine else 'WRONG'}  {finding.file}: {finding.what}")
    if config.json:
        click.echo(json.dumps([finding.to_json() for finding in findings], indent=1))
    if not all(finding.fine for finding in findings):
        context.exit(InputError.exit_code)
