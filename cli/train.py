"""geoseg train."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from geoseg.config import TrainConfig, Weights
from geoseg.recipes import RecipeName

from .interruption import resumable
from .options import LOCATION, PATH, bands_option, device_options, note, opening_options, overwrite_option, progress

if TYPE_CHECKING:
    from geoseg.jobs.train import Training
    from geoseg.learning.trainer import Step


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
    from geoseg.jobs.train import Training

    _recognise(config, context.obj["quiet"])
    with Training(config) as training:
        run_training(training, _resuming(context.obj["command"]), context.obj["quiet"])
    click.echo(config.out)


def _resuming(command: str) -> str:
    """The command that goes on where `command` was interrupted."""
    return " ".join(word for word in command.split(" ") if word not in ("--overwrite", "--resume")) + " --resume"


def _recognise(config: TrainConfig, quiet: bool) -> None:
    """Say so where the folder looks like the data of a protocol that was not asked for by its name."""
    from geoseg.datasets import recognise

    found = recognise(config.data)
    if found is None:
        return
    name = "Potsdam" if found.startswith("potsdam") else "COCO-Stuff"
    if config.recipe is None:
        note(quiet, f"{config.data} looks like {name}: training by its protocol, --recipe {found}")
    elif config.recipe.rstrip("0123456789") != found.rstrip("0123456789"):
        note(quiet, f"{config.data} looks like {name}: --recipe {found} trains by its protocol")


def run_training(training: Training, command: str, quiet: bool) -> None:
    """Run a training under a progress display; when it is interrupted, say that `command` goes on."""
    recipe = training.config.settled
    note(
        quiet,
        f"learning {recipe.classes} classes from {len(training.sources)} {training.unit}s on {training.device} "
        f"({str(training.precision).removeprefix('torch.')}), at most {recipe.steps} steps",
    )
    steps = training.steps()

    def hint() -> str:
        if not training.checkpoints.there:
            return "nothing is kept yet"
        return f"{training.checkpoints.path} holds the work so far; to go on: {command}"

    with resumable(hint, quiet), closing(steps):
        for step in progress(steps, recipe.steps, "step", _describe, quiet):
            if step.note:
                note(quiet, f"step {step.step}: {step.note}")
    note(quiet, f"model {training.out}, log {training.metrics}, picture {training.picture}")


def _describe(step: Step) -> str:
    return (
        f"loss {step.loss:.3f}, information {step.information:.2f}, perplexity {step.perplexity:.1f}, "
        f"{step.images_per_second:.1f} images/s"
    )


def learnt_path(out: Path) -> Path:
    """Return where the model goes that `predict` learns for itself: beside its output."""
    return out / "geoseg-model.safetensors" if out.is_dir() else out.with_name(f"{out.stem}-model.safetensors")
