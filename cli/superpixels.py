"""geoseg superpixels."""

from __future__ import annotations

from typing import Any, get_args

import click

from geoseg.config import SegmentFormat, SegmentScenesConfig

from .options import (
    LOCATION,
    PATH,
    assume_crs_option,
    bands_option,
    block_size_option,
    engine_options,
    opening_options,
    overwrite_option,
    run_options,
)
from .scenes import run_scenes, scenes_options, stops_all
from .usage import Command


@click.command(cls=Command)
@click.argument("scenes", type=LOCATION, nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write: .tif for a raster of ids, .gpkg or .fgb for polygons with band statistics; or a folder.",
)
@click.option(
    "--format",
    type=click.Choice(get_args(SegmentFormat)),
    help="With a folder as --out: the format of the files in it.  [default: gpkg]",
)
@click.option(
    "--size",
    type=int,
    default=SegmentScenesConfig.size,
    show_default=True,
    help="Approximate side of a superpixel in pixels.",
)
@click.option(
    "--compactness",
    type=float,
    default=SegmentScenesConfig.compactness,
    show_default=True,
    help="Weight of spatial distance against colour distance.",
)
@click.option(
    "--iterations",
    type=int,
    default=SegmentScenesConfig.iterations,
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
@engine_options
@assume_crs_option
@scenes_options
@overwrite_option
@run_options
@opening_options
@click.pass_context
def superpixels(context: click.Context, /, **settings: Any) -> None:
    """Cut SCENES into superpixels: a raster of ids, or polygons with the mean and standard deviation of each band.

    SCENES are files, folders, quoted patterns ('scenes/**/*.tif') and lists of these (@scenes.txt, or - for standard
    input). The same command continues an interrupted run.
    """
    config = SegmentScenesConfig(**settings)
    from geoseg.jobs.engines import engine_of
    from geoseg.jobs.several import SuperpixelsOfScenes

    with engine_of(config) as engine:
        run_scenes(SuperpixelsOfScenes(config, stops_all(context)), context, config.json, engine)
