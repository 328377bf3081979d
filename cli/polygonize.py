"""geoseg polygonize."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import PolygonizeConfig

from .options import (
    LOCATION,
    PATH,
    NameList,
    assume_crs_option,
    min_area_option,
    opening_options,
    overwrite_option,
    sld_option,
)
from .progress import run_job


@click.command()
@click.argument("raster", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="File to write, by its suffix: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .geojsons or .shp.",
)
@click.option("--confidence", type=LOCATION, help="Raster on the same pixels: write its mean over each polygon.")
@min_area_option
@click.option(
    "--simplify",
    type=float,
    metavar="TOLERANCE",
    help="Take vertices away, in units of the CRS; neighbours keep their common edges, in memory.",
)
@click.option("--classes", type=NameList(), help="Ids or names of the classes to write: 1,3.  [default: all]")
@click.option(
    "--field", default=PolygonizeConfig.field, show_default=True, help="Name of the column with the ids of classes."
)
@sld_option
@assume_crs_option
@overwrite_option
@opening_options
@click.pass_context
def polygonize(context: click.Context, /, **settings: Any) -> None:
    """Turn a class RASTER, geoseg's or any of integers, into polygons: a region each, exactly along its pixels."""
    config = PolygonizeConfig(**settings)
    from geoseg.jobs.polygonize import PolygonizeJob

    with PolygonizeJob(config) as job:
        run_job(job, context)
    click.echo(config.out)
