"""geoseg polygonize."""

from __future__ import annotations

from typing import Any, get_args

import click

from geoseg.config import PolygonFormat, PolygonizeRastersConfig

from .options import (
    LOCATION,
    PATH,
    areas_option,
    assume_crs_option,
    min_area_option,
    opening_options,
    overwrite_option,
    sld_option,
)
from .scenes import run_scenes, scenes_options, stops_all
from .usage import Command


@click.command(cls=Command)
@click.argument("rasters", type=LOCATION, nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write, in the format of its suffix: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .geojsons, .shp or "
    ".pmtiles (vector tiles); or a folder.",
)
@click.option(
    "--format",
    type=click.Choice(get_args(PolygonFormat)),
    help="With a folder as --out: the format of the files in it.  [default: gpkg]",
)
@click.option(
    "--confidence",
    type=LOCATION,
    help="Confidence raster on the same pixels, or the folder of these; its mean is written for each polygon.",
)
@areas_option
@min_area_option
@click.option(
    "--simplify",
    type=float,
    metavar="TOLERANCE",
    help="Simplify by this tolerance, in units of the CRS. Neighbours keep their common edges; needs more memory.",
)
@click.option(
    "--classes",
    multiple=True,
    metavar="CLASS[,CLASS...]",
    callback=lambda _, __, given: given or None,
    help="Ids or names of the classes to write: 1,3; can be repeated.  [default: all]",
)
@click.option(
    "--field", default=PolygonizeRastersConfig.field, show_default=True, help="Name of the column of class ids."
)
@sld_option
@assume_crs_option
@scenes_options
@overwrite_option
@click.option(
    "--run",
    type=LOCATION,
    help="Run directory to keep finished stripes of rows in, from which an interrupted command continues.",
)
@click.option("--keep-run", is_flag=True, help="Keep the run directory with the finished stripes.")
@click.option("--restart", is_flag=True, help="Discard the finished stripes of an interrupted run and start over.")
@opening_options
@click.pass_context
def polygonize(context: click.Context, /, **settings: Any) -> None:
    """Turn class RASTERS (any rasters of integers) into polygons, one for each region, exactly along its pixels.

    RASTERS are files, folders of maps, quoted patterns ('maps/**/*-classes.tif') and lists of these (@maps.txt, or -
    for standard input).
    """
    config = PolygonizeRastersConfig(**settings)
    from geoseg.jobs.several import PolygonsOfRasters

    run_scenes(PolygonsOfRasters(config, stops_all(context)), context, config.json)
