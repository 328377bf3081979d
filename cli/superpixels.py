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
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.argument("scene", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write: .tif for a raster of ids, .gpkg or .fgb for polygons with band statistics.",
)
@click.option(
    "--size",
    type=int,
    default=SegmentConfig.size,
    show_default=True,
    help="Approximate side of a superpixel in pixels.",
)
@click.option(
    "--compactness",
    type=float,
    default=SegmentConfig.compactness,
    show_default=True,
    help="Weight of spatial distance against colour distance.",
)
@click.option(
    "--iterations",
    type=int,
    default=SegmentConfig.iterations,
    show_default=True,
    help="Number of iterations of SLIC.",
)
@click.option(
    "--min-size",
    type=int,
    help="Merge superpixels of fewer pixels into a neighbour.  [default: a quarter of size x size]",
)
@bands_option
@block_size_option
@click.option("--workers", type=int, help="Number of threads.  [default: number of cores, at most 8]")
@assume_crs_option
@overwrite_option
@run_options
@opening_options
@click.pass_context
def superpixels(context: click.Context, /, **settings: Any) -> None:
    """Cut SCENE into superpixels: a raster of ids, or polygons with the mean and standard deviation of each band.

    The same command continues an interrupted run.
    """
    config = SegmentConfig(**settings)
    from geoseg.jobs.superpixels import SuperpixelsJob

    with SuperpixelsJob(config) as job:
        run_job(job, context)
    announce(job.output)
