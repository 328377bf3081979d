"""geoseg predict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.config import MODEL_NAME, Blend, PredictConfig, TrainConfig, opening_of
from geoseg.errors import InputMissingError

from .options import (
    LOCATION,
    PATH,
    PeriodType,
    assume_crs_option,
    bands_option,
    block_size_option,
    described,
    device_options,
    min_area_option,
    note,
    opening_options,
    overwrite_option,
    run_blocks,
    run_options,
    sld_option,
)
from .train import learnt_path, run_training

if TYPE_CHECKING:
    from geoseg.runs.local import Receipt


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
    quiet, command = context.obj["quiet"], context.obj["command"]
    from geoseg.jobs.predict import MapJob, check_items
    from geoseg.location import local
    from geoseg.model.file import load_model
    from geoseg.outputs.names import outputs_of
    from geoseg.raster.guards import regular_file

    # Everything that would be refused is refused before a model is learnt for it.
    targets = outputs_of(config)
    for path in local(*config.scenes):
        regular_file(path)
    check_items(config)
    model_path = _model_path(config, command, quiet)
    model = load_model(regular_file(model_path))
    for scene, outputs in targets:
        with MapJob(config, scene, outputs, model) as job:
            if config.dry_run:
                click.echo(json.dumps(job.summary(), indent=1))
                continue
            run_blocks(job.run(command), len(job.plan.blocks), job.outputs.run, _describe, context)
        click.echo(outputs.classes)


def _describe(receipt: Receipt) -> str:
    return described(receipt, f"{receipt.windows} windows, ")


def _model_path(config: PredictConfig, command: str, quiet: bool) -> Path:
    """Return the model to use, after learning it from the scenes where none is given and none is here."""
    if config.model is not None:
        return config.model
    if Path(MODEL_NAME).exists():
        return Path(MODEL_NAME)
    learnt = learnt_path(config.out)
    if learnt.exists() and not config.overwrite:
        note(quiet, f"using {learnt}, learnt here before")
        return learnt
    if config.dry_run:
        raise InputMissingError(
            f"{MODEL_NAME}: no model yet; geoseg train writes one, or predict without --dry-run learns one"
        )
    from geoseg.jobs.train import Training
    from geoseg.learning.checkpoints import interrupted

    note(
        quiet,
        f"no {MODEL_NAME} here: first learning one from {'the scene' if len(config.scenes) == 1 else 'the scenes'}",
    )
    wanted = TrainConfig(
        data=config.scenes[0],
        out=learnt,
        recipe="quick",
        bands=config.bands,
        device=config.device,
        precision=config.precision,
        **opening_of(config),
    )
    resume = interrupted(learnt)
    wanted = replace(wanted, resume=resume, overwrite=learnt.exists() and not resume)
    with Training(wanted, config.scenes) as training:
        run_training(training, command, quiet)
    return learnt
