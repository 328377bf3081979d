"""geoseg plan."""

from __future__ import annotations

import shlex
from typing import Any

import click

from geoseg.config import PlanConfig, PredictConfig, SegmentScenesConfig

from .predict import predict
from .streams import show
from .superpixels import superpixels
from .usage import Command

_PLANNED: dict[str, tuple[click.Command, Any]] = {
    "predict": (predict, PredictConfig),
    "superpixels": (superpixels, SegmentScenesConfig),
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
    """Write the run of a map, and print the commands that compute it in shards, on any machines that see the run.

    ARGUMENTS are those of geoseg predict, or the word superpixels and those of that command.
    """
    config = PlanConfig(**settings)
    name, *rest = config.arguments if config.arguments[0] in _PLANNED else ("predict", *config.arguments)
    command, kind = _PLANNED[name]
    with command.make_context(name, rest, parent=context) as inner:
        planned = kind(**inner.params)
    from geoseg.jobs.plan import commands_for, plan_runs

    runs = []
    try:
        for place in plan_runs(planned, shlex.join(["geoseg", name, *rest])):
            runs.append(place)
    finally:
        for line in commands_for(runs, config.shards) if runs else ():
            show(line)
