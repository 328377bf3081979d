"""geoseg predict."""

from __future__ import annotations

import json
from typing import Any, get_args

import click

from geoseg.config import MODEL_NAME, Blend, PredictConfig

from .options import (
    LOCATION,
    PATH,
    PeriodType,
    assume_crs_option,
    bands_option,
    block_size_option,
    device_options,
    min_area_option,
    opening_options,
    overwrite_option,
    run_options,
    sld_option,
)
from .progress import run_job


@click.command()
@click.argument("scenes", type=LOCATION, nargs=-1, required=True)
@click.option(
    "-o", "--out", type=PATH, required=True, help="Class raster to write; a folder where there are several scenes."
)
@click.option(
    "-m",
    "--model",
    type=PATH,
    help=f"Model file.  [default: {MODEL_NAME} in this folder; where there is none, one is learnt from the scenes]",
)
@click.option("--confidence", type=PATH, help="Also write the confidence of each pixel's class (1..255) to this file.")
@click.option(
    "--polygons",
    type=PATH,
    help="Also write the polygons of the classes: .gpkg, .fgb, .parquet, .geojson, .geojsonl or .shp.",
)
@min_area_option
@sld_option
@click.option("--legend", is_flag=True, help="Also write a picture of the classes' colours and names.")
@click.option("--stac", is_flag=True, help="Also write a STAC Item, for catalogues.")
@click.option(
    "--datetime",
    type=PeriodType(),
    help="When the scenes were taken, for --stac: 2020, 2020-07-14, 2020-07-14T10:30Z or START/END, in UTC.  "
    "[default: what the file says]",
)
@bands_option
@click.option("--aoi", type=PATH, help="Vector file: classify only inside its polygons.")
@click.option(
    "--bounds",
    type=float,
    nargs=4,
    metavar="LEFT BOTTOM RIGHT TOP",
    help="Write only this part, in the scene's CRS; its pixels are those of the whole map.",
)
@click.option(
    "--tile-size", type=int, help="Window of the network in pixels, a multiple of 32.  [default: the model's]"
)
@click.option("--overlap", type=int, help="Overlap of windows in pixels, a multiple of 32.  [default: the model's]")
@click.option(
    "--blend",
    type=click.Choice(get_args(Blend)),
    default=PredictConfig.blend,
    show_default=True,
    help="How overlapping windows are joined.",
)
@block_size_option
@click.option("--batch-size", type=int, help="Windows per forward pass.  [default: 1 on a CPU, 8 on a GPU]")
@click.option("--workers", type=int, help="Threads; on a CPU each computes a window.  [default: the cores, at most 8]")
@device_options
@assume_crs_option
@overwrite_option
@run_options
@click.option("--dry-run", is_flag=True, help="Print the plan as JSON (blocks, windows, memory, disk) and stop.")
@opening_options
@click.pass_context
def predict(context: click.Context, /, **settings: Any) -> None:
    """Map SCENES with a model: a class raster (cloud-optimised GeoTIFF), its QGIS style and a preview.

    An interrupted prediction is continued by the same command.
    """
    config = PredictConfig(**settings)
    from geoseg.jobs.predict import PredictJob, prediction_jobs

    for job in prediction_jobs(config):
        with job:
            if isinstance(job, PredictJob) and config.dry_run:
                click.echo(json.dumps(job.summary(), indent=1))
                continue
            run_job(job, context)
        if isinstance(job, PredictJob):
            click.echo(job.outputs.classes)
