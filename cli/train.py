"""geoseg train."""

from __future__ import annotations

from typing import Any, get_args

import click

from geoseg.config import TrainConfig, Weights
from geoseg.recipes import RecipeName

from .options import LOCATION, PATH, bands_option, device_options, opening_options, overwrite_option
from .progress import run_job


@click.command()
@click.option(
    "--data", type=LOCATION, required=True, help="Folder of imagery (GeoTIFF, JPEG, PNG, JPEG 2000), or one file."
)
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=TrainConfig.out,
    show_default=True,
    help="Model file; its log and picture go beside it.",
)
@click.option(
    "--recipe",
    type=click.Choice(get_args(RecipeName)),
    help="A named set of training settings; the options below override it.  [default: the protocol of the data set "
    "that the folder looks like, else orthophoto]",
)
@click.option(
    "--classes",
    type=int,
    help="Number of classes to learn; up to 12 are learnt as land cover, more as its shades.  [default: the recipe's]",
)
@click.option("--steps", type=int, help="Optimiser steps.  [default: the recipe's]")
@click.option(
    "--minutes", type=float, help="Stop after this time; the schedule follows the clock.  [default: no limit]"
)
@click.option("--batch-size", type=int, help="Patches per step.  [default: the recipe's]")
@click.option("--patch-size", type=int, help="Side of a patch in pixels, a multiple of 32.  [default: the recipe's]")
@click.option(
    "--encoder",
    default=TrainConfig.encoder,
    show_default=True,
    help="Our own six convolutions, or an encoder of segmentation-models-pytorch, such as resnet18, mobilenet_v2.",
)
@click.option(
    "--encoder-weights",
    metavar="NAME|FILE",
    help="Start the encoder from these weights: imagenet (downloaded), or a file.  [default: random]",
)
@bands_option
@click.option(
    "--superpixel-size",
    type=int,
    help="Side of a superpixel in pixels.  [default: the recipe's]",
)
@click.option(
    "--compactness",
    type=float,
    default=TrainConfig.compactness,
    show_default=True,
    help="Weight of distance against colour in superpixels.",
)
@device_options
@click.option("--seed", type=int, default=TrainConfig.seed, show_default=True, help="Decides every random choice.")
@click.option(
    "--weights",
    type=click.Choice(get_args(Weights)),
    default=TrainConfig.weights,
    show_default=True,
    help="What the model gets: the weights that a criterion without labels prefers, or the last ones.",
)
@click.option(
    "--max-bad",
    type=int,
    default=TrainConfig.max_bad,
    show_default=True,
    help="Go on without images that cannot be read or do not fit their labels, up to this many of them.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted training, exactly.")
@overwrite_option
@opening_options
@click.pass_context
def train(context: click.Context, /, **settings: Any) -> None:
    """Learn classes from a folder of imagery, without labels.

    Writes one model file, a log of every step (.metrics.jsonl) and a picture of what was learnt (.png).
    """
    config = TrainConfig(**settings)
    from geoseg.jobs.train import TrainJob

    with TrainJob(config) as job:
        run_job(job, context, _resuming(context.obj["command"]))
    click.echo(config.out)


def _resuming(command: str) -> str:
    """The command that continues where `command` was interrupted."""
    return " ".join(word for word in command.split(" ") if word not in ("--overwrite", "--resume")) + " --resume"
