"""geoseg polygonize."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import PolygonizeConfig

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
from .progress import run_job
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.argument("raster", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write, in the format of its suffix: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .geojsons or .shp.",
)
@click.option(
    "--confidence", type=LOCATION, help="Confidence raster on the same pixels; its mean is written for each polygon."
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
@click.option("--field", default=PolygonizeConfig.field, show_default=True, help="Name of the column of class ids.")
@sld_option
@assume_crs_option
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
    """Turn a class RASTER (any raster of integers) into polygons, one for each region, exactly along its pixels."""
    config = PolygonizeConfig(**settings)
    from geoseg.jobs.polygonize_stripes import polygonize_job

    with polygonize_job(config) as job:
        run_job(job, context)
    announce(config.out)
