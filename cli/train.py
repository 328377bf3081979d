"""geoseg train."""

from __future__ import annotations

import shlex
from typing import Any, get_args

import click

from geoseg.config import TrainConfig, Weights
from geoseg.indices import FORMULAS
from geoseg.launch import Launch, passive_waiting
from geoseg.recipes import RecipeName

from .options import LOCATION, PATH, bands_option, device_options, extra_option, opening_options, overwrite_option
from .processes import fall_silent, launched
from .progress import run_job
from .streams import announce
from .usage import Command


@click.command(cls=Command)
@click.option(
    "--data", type=LOCATION, required=True, help="Folder of images (GeoTIFF, JPEG, PNG, JPEG 2000), or one image."
)
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=TrainConfig.out,
    show_default=True,
    help="Model file to write; a log and a picture are written next to it.",
)
@click.option(
    "--recipe",
    type=click.Choice(get_args(RecipeName)),
    help="Named set of training settings; the options below override it.  [default: that of the benchmark whose layout "
    "the folder has, otherwise orthophoto]",
)
@click.option(
    "--classes",
    type=int,
    help="Number of classes: up to 12 are land-cover classes, more divide these further.  [default: the recipe's]",
)
@click.option("--steps", type=int, help="Number of optimiser steps.  [default: the recipe's]")
@click.option(
    "--minutes", type=float, help="Time limit; the learning-rate schedule then follows the clock.  [default: none]"
)
@click.option("--batch-size", type=int, help="Patches per step, of all processes together.  [default: the recipe's]")
@click.option("--patch-size", type=int, help="Side of a patch in pixels, a multiple of 32.  [default: the recipe's]")
@click.option(
    "--encoder",
    default=TrainConfig.encoder,
    show_default=True,
    help="compact (six convolutions), or an encoder of segmentation-models-pytorch such as resnet18 or mobilenet_v2.",
)
@click.option(
    "--encoder-weights",
    metavar="NAME|FILE",
    help="Initial weights of the encoder: imagenet (downloaded), or a file.  [default: random]",
)
@bands_option
@click.option(
    "--index",
    multiple=True,
    metavar="NAME[=BAND,BAND...]",
    help=f"Spectral index to learn from as a further band: {', '.join(FORMULAS)}; can be repeated. Its bands are found "
    "by their names, or given in the order of the formula: ndvi=4,1.",
)
@extra_option
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
    help="Weight of spatial distance against colour distance in superpixels.",
)
@device_options
@click.option(
    "--threads",
    type=int,
    help="Threads that train on a CPU. With the compact encoder, the result does not depend on it.  [default: number "
    "of cores]",
)
@click.option("--seed", type=int, default=TrainConfig.seed, show_default=True, help="Seed of all random choices.")
@click.option(
    "--weights",
    type=click.Choice(get_args(Weights)),
    default=TrainConfig.weights,
    show_default=True,
    help="Which weights are saved: those selected by a criterion without labels, or the last ones.",
)
@click.option(
    "--max-bad",
    type=int,
    default=TrainConfig.max_bad,
    show_default=True,
    help="Largest number of images that may be left out because they cannot be read or do not fit their labels.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted training; the result is the same as without the interruption.",
)
@overwrite_option
@opening_options
@click.pass_context
def train(context: click.Context, /, **settings: Any) -> None:
    """Learn classes from a folder of images, without labels.

    Writes a model file, a log of every step (.metrics.jsonl) and a picture of the learnt classes (.png). On several
    GPUs, torchrun --nproc-per-node=8 -m geoseg starts it in place of geoseg.
    """
    config, launch = TrainConfig(**settings), Launch.of()
    if not launch.first:
        fall_silent(context)
    with passive_waiting():
        from geoseg.jobs.train import TrainJob

    with TrainJob(config, launch=launch) as job:
        run_job(job, context, launched(_resuming(context.obj["command"]), launch))
    if launch.first:
        announce(config.out)


def _resuming(command: str) -> str:
    """The command that continues `command` after an interruption."""
    words = (word for word in shlex.split(command) if word not in ("--overwrite", "--resume"))
    return shlex.join([*words, "--resume"])
