"""geoseg info."""

from __future__ import annotations

import json
from typing import Any

import click

from geoseg.config import InfoConfig
from geoseg.location import Location

from .options import LOCATION, opening_options
from .streams import show
from .terminal import echo
from .usage import Command


@click.command(cls=Command)
@click.argument("file", type=LOCATION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@opening_options
def info(file: Location, as_json: bool, **opening: Any) -> None:
    """Describe FILE: a scene, a model, or a map or polygons that geoseg wrote."""
    config = InfoConfig(file, as_json, **opening)
    from geoseg.jobs.info import file_info

    facts = file_info(config.file, config)
    if config.json:
        show(json.dumps(facts, indent=1))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        echo(f"{name:{width}}  {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
