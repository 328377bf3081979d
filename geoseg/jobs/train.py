"""geoseg train: imagery to a model file, with its log and picture."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.datasets import open_dataset, recognise
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.errors import OutputError
from geoseg.files.atomic import check_target, remove_leftovers
from geoseg.files.record import versions
from geoseg.jobs.job import Job
from geoseg.jobs.results import TrainResult
from geoseg.learning.checkpoints import Checkpoints, interrupted
from geoseg.learning.imagery import Imagery
from geoseg.learning.log import TrainingLog
from geoseg.learning.loop import train
from geoseg.learning.patches import NORMALISATION_STEPS, PatchSampler
from geoseg.learning.trainer import Step, Trainer
from geoseg.location import Location
from geoseg.model.file import Model, save_model
from geoseg.model.inference import select_device, select_precision
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import frozen_statistics, settle_statistics
from geoseg.outputs.pictures import save_png
from geoseg.outputs.training_picture import training_picture
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats, band_stats, colour_scale
from geoseg.recipes import ProtocolName, Recipe, SuperpixelConfig, WindowConfig

log = logging.getLogger(__name__)

NORMALISATION_BATCHES = 16
"""Batches that the final statistics of batch normalisation are estimated from."""

_NAMED = 100


class TrainJob(Job[Step]):
    """A training, from imagery to a model file. A context manager that also keeps other processes away.

    `run` writes the model to `config.out`, last, with its log (`.metrics.jsonl`) and picture (`.png`, remade on the
    way) beside it; until then checkpoints lie there too.

    Args:
        config: The settings. A recipe of None becomes that of the protocol whose data the folder looks like, or
            orthophoto.
        scenes: Files to learn from, instead of `config.data`.
        reason: Why a model is learnt, to be shown before the work.
        recipe: Overrides the hyper-parameters that `config` names.
        statistics_images: Images of a protocol that band statistics are taken of, at most.

    Attributes:
        sources: The images that are learnt from; those that cannot be used are not among them.

    Raises:
        InputMissingError, InputError, BandError: Imagery that is missing, cannot be read, or does not fit together.
        OutputError: A model, or an interrupted training, exists already.
        LockedError: Another process trains this model.
        UnavailableError, SettingError: A device, an encoder or weights that are not available; bands chosen for a
            protocol.
    """

    stage = "train"
    unit = "step"

    def __init__(
        self,
        config: TrainConfig,
        scenes: Sequence[Location] | None = None,
        reason: str = "",
        *,
        recipe: Recipe | None = None,
        statistics_images: int = 2000,
    ) -> None:
        recognised = recognise(config.data) if scenes is None else None
        self._lines = [line for line in (reason, _about_protocol(config, recognised)) if line]
        self.config = config = _with_recipe(config, recognised)
        self.recipe = config.settled if recipe is None else recipe
        self.superpixels = SuperpixelConfig(self.recipe.superpixel_size, config.compactness)
        self.total = self.recipe.steps
        self._statistics_images = statistics_images
        self._steps = 0
        self.out = config.out
        self.metrics = config.out.with_suffix(".metrics.jsonl")
        self.picture = config.out.with_suffix(".png")
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.bad_images = BadImages(config.max_bad)
        with ExitStack() as stack:
            self.dataset = stack.enter_context(self._opened(scenes))
            # What is resumed was allowed to replace a model when it began.
            going_on = config.resume and interrupted(config.out)
            check_target(config.out, config.overwrite or going_on, tuple(self.dataset.files))
            self.checkpoints = Checkpoints(config.out)
            stack.callback(self.checkpoints.close)
            self.resuming = self._resuming()
            self._protocol = not isinstance(self.dataset, Orthophotos)
            self.bad_images.check(self.dataset.sources)
            self.sources = self._usable()
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close the imagery and let other processes in."""
        self._open.close()

    def run(self, command: str = "") -> Generator[Step]:
        """Train, yield every step, write checkpoints on the way and the model at the end.

        Raises:
            DivergedError: See `train`.
            WriteError: The disk failed.
            LockedError: Another process has taken over.
        """
        config, recipe = self.config, self.recipe
        remove_leftovers(self.out.parent, self.out.stem)
        stats = self._statistics()
        dtype = str(np.result_type(*{source.dtype for source in self.sources}))
        spec = NetworkSpec(config.encoder, len(self.dataset.bands), recipe.classes, recipe.edges)
        network = build(spec, config.seed, config.encoder_weights)
        sampler = PatchSampler(
            Imagery(self.sources, self._protocol, self.bad_images),
            stats,
            self.superpixels,
            colour_scale(stats, dtype),
            recipe.patch_size,
            config.seed,
            self.device,
            recipe.start,
        )
        trainer = Trainer(network, sampler, recipe, self.device, self.precision)
        fingerprint = self._fingerprint(stats)
        if self.resuming:
            trainer.load(self.checkpoints.newest(fingerprint, trainer.state()))
        else:
            self.checkpoints.clear()
        with TrainingLog(self.metrics, trainer.step) as training_log:
            for step in train(trainer, config.minutes):
                training_log.add(step)
                if trainer.at_checkpoint:
                    training_log.sync()
                    self.checkpoints.save(trainer.step, fingerprint, trainer.state())
                if not math.isnan(step.criterion):
                    with trainer.averages.applied(), frozen_statistics(network):
                        save_png(self._picture(trainer), self.picture)
                self._steps = step.step
                yield step
        with trainer.averages.applied(selected=config.weights == "selected"):
            self._settle(trainer)
            self._publish(trainer, dtype)

    def describe(self, receipt: Step) -> str:
        """Return loss, information, perplexity and speed."""
        return (
            f"loss {receipt.loss:.3f}, information {receipt.information:.2f}, perplexity {receipt.perplexity:.1f}, "
            f"{receipt.images_per_second:.1f} images/s"
        )

    def remark(self, receipt: Step) -> str:
        """Return what was done about trouble."""
        return f"step {receipt.step}: {receipt.note}" if receipt.note else ""

    def opening(self) -> str:
        """Return what is learnt, from what and where."""
        unit = "image" if self._protocol else "scene"
        precision = str(self.precision).removeprefix("torch.")
        line = (
            f"learning {self.config.settled.classes} classes from {len(self.sources)} {unit}s on {self.device} "
            f"({precision}), at most {self.total} steps"
        )
        return "\n".join([*self._lines, line])

    def closing(self) -> str:
        """Return the files."""
        return f"model {self.out}, log {self.metrics}, picture {self.picture}"

    @property
    def result(self) -> TrainResult:
        """The files, once `run` has come to its end."""
        return TrainResult(self.out, self.metrics, self.picture, self.config.settled.classes, self._steps)

    def kept(self) -> str:
        """Return where the checkpoints are."""
        return f"{self.checkpoints.path} holds the work so far" if self.checkpoints.exist else ""

    def _opened(self, scenes: Sequence[Location] | None) -> Dataset:
        config = self.config
        if scenes is not None:
            return Orthophotos(scenes, config.bands, self.bad_images, config)
        return open_dataset(config.data, config.recipe or "", config.bands, self.bad_images, config)

    def _usable(self) -> list[ImageSource]:
        """The images that nothing is known to be wrong with.

        Raises:
            InputMissingError, InputError: more of them than may be left out.
        """
        sources = self.bad_images.usable(self.dataset.sources)
        self.bad_images.enforce_limit(len(sources) + len(self.bad_images.errors))
        return sources

    def _statistics(self) -> BandStats:
        """The statistics of the images; those that turn out to be damaged are left out, and of the sources too."""
        try:
            stats = band_stats(self._measured(), on_error=self.bad_images.add)
        finally:
            measured, self.sources = self.sources, self._usable()
        return stats if len(self.sources) == len(measured) else band_stats(self._measured())

    def _measured(self) -> Sequence[ImageSource]:
        """The images that band statistics are taken of: all scenes; of a protocol some, in equal steps."""
        sources = self.sources
        count = min(len(sources), self._statistics_images) if self._protocol else len(sources)
        return [sources[i * len(sources) // count] for i in range(count)]

    def _settle(self, trainer: Trainer) -> None:
        """Fit the statistics of batch normalisation to the final weights, on patches no step has seen."""
        count = trainer.recipe.batch_size
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            steps = range(NORMALISATION_STEPS, NORMALISATION_STEPS + NORMALISATION_BATCHES)
            batches = (trainer.sampler.batch(step, count, threads) for step in steps)
            images = (batch.image.to(self.device) for batch in batches)
            settle_statistics(trainer.network, images, self.precision)

    def _publish(self, trainer: Trainer, dtype: str) -> None:
        recipe, stats, chosen = self.recipe, trainer.sampler.stats, trainer.averages.selected
        selected = self.config.weights == "selected" and chosen is not None
        model = Model(
            network=trainer.network,
            bands=self.dataset.bands,
            dtype=dtype,
            stats=stats,
            superpixels=self.superpixels,
            windows=WindowConfig(),
            classes=ClassMap.default(recipe.classes),
            provenance={
                "recipe": {"name": self.config.recipe, **asdict(recipe)},
                "seed": self.config.seed,
                "steps": trainer.step,
                "weights": "selected" if selected else "last",
                "selected": chosen and {key: chosen[key] for key in ("step", "criterion")},
                "encoder_weights": self.config.encoder_weights,
                "precision": str(self.precision).removeprefix("torch."),
                "device": self.device.type,
                "data": {
                    "scenes": len(self.sources),
                    "pixels": stats.pixels * len(self.sources) // len(self._measured()),
                    "names": self._names()[:_NAMED],
                    "names_sha256": self._digest(),
                },
                "versions": versions("torch"),
            },
        )
        save_png(self._picture(trainer), self.picture)
        self.checkpoints.check()
        save_model(model, self.out)
        self.checkpoints.clear()

    def _picture(self, trainer: Trainer) -> NDArray[np.uint8]:
        return training_picture(trainer)

    def _resuming(self) -> bool:
        config, there = self.config, self.checkpoints.exist
        if config.resume and not there:
            log.warning("%s: no interrupted training to resume; beginning anew", self.checkpoints.path)
        if there and not config.resume and not config.overwrite:
            raise OutputError(
                f"{self.checkpoints.path}: an interrupted training is here; --resume continues it, --overwrite begins "
                "anew"
            )
        return config.resume and there

    def _fingerprint(self, stats: BandStats) -> dict[str, Any]:
        config = self.config
        return {
            "recipe": asdict(self.recipe),
            "encoder": config.encoder,
            "superpixels": asdict(self.superpixels),
            "seed": config.seed,
            "precision": str(self.precision),
            "data": {"scenes": len(self.sources), "names": self._digest(), "statistics": stats.to_json()},
        }

    def _names(self) -> list[str]:
        return [source.path.name for source in self.sources]

    def _digest(self) -> str:
        """The hash of all names: data sets have up to 51,804."""
        return hashlib.sha256("\n".join(self._names()).encode(errors="surrogateescape")).hexdigest()


def _with_recipe(config: TrainConfig, recognised: ProtocolName | None) -> TrainConfig:
    return config if config.recipe is not None else replace(config, recipe=recognised or "orthophoto")


def _about_protocol(config: TrainConfig, recognised: ProtocolName | None) -> str:
    """Tell that the folder looks like the data of a protocol that was not asked for by name."""
    if recognised is None:
        return ""
    name = "Potsdam" if recognised.startswith("potsdam") else "COCO-Stuff"
    if config.recipe is None:
        return f"{config.data} looks like {name}: training by its protocol, --recipe {recognised}"
    if config.recipe.rstrip("0123456789") != recognised.rstrip("0123456789"):
        return f"{config.data} looks like {name}: --recipe {recognised} trains by its protocol"
    return ""
