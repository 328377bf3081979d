"""geoseg export."""

from __future__ import annotations

from typing import Any

import click

from geoseg.config import ExportConfig

from .options import PATH, overwrite_option
from .progress import run_job
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.argument("model", type=PATH)
@click.option("--onnx", type=PATH, help="ONNX file to write, for the QGIS plugin Deepness and others.")
@click.option(
    "--mlm", type=PATH,
    help="STAC Item to write, with the Machine Learning Model extension (JSON): it describes the ONNX file, or the "
    "model file without one.",
)  # fmt: skip
@click.option(
    "--tile-size", type=int,
    help="Height and width of the images that the ONNX file takes. Deepness needs one.  [default: any]",
)  # fmt: skip
@overwrite_option
@click.pass_context
def export(context: click.Context, /, **settings: Any) -> None:
    """Write MODEL for other programs: its network as ONNX, and a STAC Item that describes it."""
    config = ExportConfig(**settings)
    from geoseg.jobs.export import ExportJob

    with ExportJob(config) as job:
        run_job(job, context)
    for path in config.outputs:
        announce(path)
