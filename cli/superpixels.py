"""geoseg superpixels."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import SegmentConfig

from .options import (
    LOCATION,
    PATH,
    assume_crs_option,
    bands_option,
    block_size_option,
    opening_options,
    overwrite_option,
    run_options,
)
from .progress import run_job


@click.command()
@click.argument("scene", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write: .tif for a raster of ids, .gpkg or .fgb for polygons with the statistics of their pixels.",
)
@click.option(
    "--size", type=int, default=SegmentConfig.size, show_default=True, help="Side of a superpixel in pixels, about."
)
@click.option(
    "--compactness",
    type=float,
    default=SegmentConfig.compactness,
    show_default=True,
    help="Weight of distance against colour.",
)
@click.option(
    "--iterations",
    type=int,
    default=SegmentConfig.iterations,
    show_default=True,
    help="Steps of assigning pixels and moving centres.",
)
@click.option(
    "--min-size",
    type=int,
    help="Pixels below which a superpixel is given to a neighbour.  [default: a quarter of size x size]",
)
@bands_option
@block_size_option
@click.option("--workers", type=int, help="Threads.  [default: the cores, at most 8]")
@assume_crs_option
@overwrite_option
@run_options
@opening_options
@click.pass_context
def superpixels(context: click.Context, /, **settings: Any) -> None:
    """Cut SCENE into superpixels: a raster of ids, or polygons with the mean and deviation of each band.

    An interrupted run is continued by the same command.
    """
    config = SegmentConfig(**settings)
    from geoseg.jobs.superpixels import SuperpixelsJob

    with SuperpixelsJob(config) as job:
        run_job(job, context)
    click.echo(config.out)
