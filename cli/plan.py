"""geoseg plan."""

from __future__ import annotations

import shlex
from typing import Any

import click

from geoseg.config import PlanConfig, PolygonizeRastersConfig, PredictConfig, SegmentScenesConfig

from .polygonize import polygonize
from .predict import predict
from .streams import show
from .superpixels import superpixels
from .terminal import echo
from .usage import Command

_PLANNED: dict[str, tuple[click.Command, Any]] = {
    "predict": (predict, PredictConfig),
    "superpixels": (superpixels, SegmentScenesConfig),
    "polygonize": (polygonize, PolygonizeRastersConfig),
}


@click.command(cls=Command, context_settings={"ignore_unknown_options": True}, options_metavar="[--shards N]")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, required=True)
@click.option(
    "--shards",
    type=int,
    default=PlanConfig.shards,
    show_default=True,
    help="Number of parts into which the printed commands divide the blocks.",
)
@click.pass_context
def plan(context: click.Context, /, **settings: Any) -> None:
    """Prepare a map to be computed by several processes, on any machines that see its run directory.

    Everything is checked, the run directory is written, and the commands are printed that compute and publish it:
    geoseg plan scene.tif -m model.safetensors --out classes.tif --shards 16.

    ARGUMENTS are those of geoseg predict, or the word superpixels or polygonize and those of that command.
    """
    config = PlanConfig(**settings)
    name, *rest = config.arguments if config.arguments[0] in _PLANNED else ("predict", *config.arguments)
    command, kind = _PLANNED[name]
    with command.make_context(name, list(rest), parent=context) as inner:
        planned = kind(**inner.params)
    from geoseg.jobs.plan import commands_for, describe, plan_runs

    runs = []
    try:
        for place in plan_runs(planned, shlex.join(["geoseg", name, *rest])):
            runs.append(place)
    finally:
        if runs:
            echo(describe(runs, config.shards), err=True)
        for line in commands_for(runs, config.shards) if runs else ():
            show(line)
