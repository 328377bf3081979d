"""geoseg predict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.config import MODEL_NAME, ROUNDS, Blend, Match, PredictConfig

from .options import (
    LOCATION,
    PATH,
    PeriodType,
    areas_option,
    assume_crs_option,
    bands_option,
    block_size_option,
    device_options,
    engine_options,
    extra_option,
    min_area_option,
    opening_options,
    overwrite_option,
    rescale_option,
    run_options,
    sld_option,
)
from .scenes import run_scenes, scenes_options, stops_all
from .streams import show
from .usage import Command

if TYPE_CHECKING:
    from geoseg.jobs.predictions import Predictions


@click.command(cls=Command)
@click.argument("scenes", type=LOCATION, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Class raster to write, or a folder.")
@click.option(
    "-m",
    "--model",
    type=PATH,
    help=f"Model file.  [default: {MODEL_NAME} in this folder; if there is none, a model learnt from the scenes, "
    "which is kept next to the output]",
)
@click.option("--relearn", is_flag=True, help="Learn the model from the scenes, even if there is one.")
@click.option("--confidence", type=PATH, help="Also write the confidence of each pixel's class (1..255) to this file.")
@click.option(
    "--polygons",
    type=PATH,
    help="Also write the regions as polygons: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .shp or .pmtiles.",
)
@areas_option
@min_area_option
@sld_option
@click.option("--legend", is_flag=True, help="Also write a picture of the classes' colours and names.")
@click.option("--stac", is_flag=True, help="Also write a STAC Item, for catalogues.")
@click.option(
    "--datetime",
    type=PeriodType(),
    help="Acquisition time of the scenes, for --stac: 2020, 2020-07-14, 2020-07-14T10:30Z or START/END, in UTC.  "
    "[default: the time in the file]",
)
@bands_option
@extra_option
@rescale_option
@click.option(
    "--match",
    type=click.Choice(get_args(Match)),
    help="Give the bands of each scene, as a whole, the statistics of the imagery that the model learnt from: for "
    "dates that differ in light or season.  [default: off]",
)
@click.option(
    "--smooth",
    type=int,
    metavar="ROUNDS",
    help=f"Rounds in which superpixels follow similar neighbours, at most 10; 0 is off.  [default: {ROUNDS}]",
)
@click.option("--aoi", type=PATH, help="Vector file; pixels outside its polygons become nodata.")
@click.option("--aoi-layer", metavar="NAME", help="Layer of the GeoPackage to use.  [default: the one with polygons]")
@click.option(
    "--bounds",
    type=float,
    nargs=4,
    metavar="LEFT BOTTOM RIGHT TOP",
    help="Write only this part, in the scene's CRS. Its pixels equal those of the full map.",
)
@click.option(
    "--tile-size", type=int, help="Side of the network's windows in pixels, a multiple of 32.  [default: the model's]"
)
@click.option("--overlap", type=int, help="Overlap of the windows in pixels, a multiple of 32.  [default: the model's]")
@click.option(
    "--blend",
    type=click.Choice(get_args(Blend)),
    default=PredictConfig.blend,
    show_default=True,
    help="How overlapping windows are combined.",
)
@block_size_option
@click.option("--batch-size", type=int, help="Windows per forward pass.  [default: 1 on a CPU, 4 on a GPU]")
@engine_options
@device_options
@assume_crs_option
@overwrite_option
@run_options
@click.option("--dry-run", is_flag=True, help="Only print the plan as JSON: blocks, windows, memory, disk space.")
@scenes_options
@opening_options
@click.pass_context
def predict(context: click.Context, /, **settings: Any) -> None:
    """Map SCENES with a model: a class raster (GeoTIFF), its QGIS style and a preview of each.

    SCENES are files, folders, quoted patterns ('scenes/**/*.tif') and lists of these (@scenes.txt, or - for standard
    input). The same command continues an interrupted prediction.
    """
    config = PredictConfig(**settings)
    from geoseg.jobs.engines import engine_of
    from geoseg.jobs.predictions import Predictions

    predictions = Predictions(config, stops_all(context))
    if config.dry_run:
        _plan(predictions)
        return
    with engine_of(config, config.device) as engine:
        run_scenes(predictions, context, config.json, engine)


def _plan(predictions: Predictions) -> None:
    """Print the plan of each scene."""
    from geoseg.jobs.predict import PredictJob

    plans = []
    for job in predictions.jobs():
        with predictions.sparing_others(job), job:
            if isinstance(job, PredictJob):
                plans.append(job.summary() | predictions.model_summary())
    if plans:
        show(json.dumps(plans if len(predictions.scenes) > 1 else plans[0], indent=1))
    predictions.finish()
