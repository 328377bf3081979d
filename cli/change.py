"""geoseg change."""

from __future__ import annotations

import json
from typing import Any

import click

from geoseg.config import ChangeConfig

from .options import (
    LOCATION,
    PATH,
    assume_crs_option,
    min_area_option,
    opening_options,
    overwrite_option,
    sld_option,
)
from .progress import run_job
from .streams import announce, show
from .usage import Command


@click.command(cls=Command)
@click.argument("old", type=LOCATION)
@click.argument("new", type=LOCATION)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    help="Raster of transitions to write; its style and tables of areas are written next to it.",
)
@click.option(
    "--polygons",
    type=PATH,
    help="Also write the regions that changed as polygons: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .shp or "
    ".pmtiles.",
)
@min_area_option
@click.option(
    "--snap",
    is_flag=True,
    help="Compare the nearest pixels where those of both maps are of one size, but shifted by part of a pixel.",
)
@sld_option
@assume_crs_option
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print what changed as JSON.")
@opening_options
@click.pass_context
def change(context: click.Context, /, as_json: bool, **settings: Any) -> None:
    """Compare two maps of one place and one model, OLD and NEW: which class became which, where, and how much.

    \b
    geoseg predict 2018.tif 2020.tif --model model.safetensors --out maps
    geoseg change maps/2018-classes.tif maps/2020-classes.tif --out change.tif
    """
    config = ChangeConfig(json=as_json, **settings)
    from geoseg.jobs.change import ChangeJob

    with ChangeJob(config) as job:
        run_job(job, context)
    if config.json:
        show(json.dumps(job.result.to_json(), indent=1))
    else:
        announce(config.out)
