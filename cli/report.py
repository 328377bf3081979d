"""geoseg report."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import ReportConfig

from .options import LOCATION, PATH, BandList, opening_options, overwrite_option
from .progress import run_job
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.argument("raster", type=LOCATION)
@click.option("-o", "--out", type=PATH, help="HTML file to write.  [default: RASTER with .report.html for its suffix]")
@click.option(
    "--scene",
    type=LOCATION,
    help="Scene that the map was made from.  [default: the one it names, beside it, in the folder above or here]",
)
@click.option(
    "--confidence",
    type=LOCATION,
    help="Confidence raster on the same pixels.  [default: the one that was written with the map]",
)
@click.option(
    "-b",
    "--bands",
    type=BandList(),
    help="Bands of the scene to show, by number from 1 or by name: 4,3,2.  [default: the first three of the map's]",
)
@click.option("--title", help="Heading of the page.  [default: made of the scene's name]")
@overwrite_option
@opening_options
@click.pass_context
def report(context: click.Context, /, **settings: Any) -> None:
    """Show the map RASTER, its scene and its classes in one HTML file, in which the classes can be named."""
    config = ReportConfig(**settings)
    from geoseg.jobs.report import ReportJob

    with ReportJob(config) as job:
        run_job(job, context)
    announce(job.out)
