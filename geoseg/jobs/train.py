"""geoseg train: imagery to a model file, a log and a picture."""

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

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.datasets import open_dataset, protocol_note, recognise
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.errors import OutputError
from geoseg.files.atomic import remove_leftovers
from geoseg.files.record import versions
from geoseg.files.stamps import Stamps
from geoseg.files.targets import check_target
from geoseg.jobs.colouring import in_own_colours
from geoseg.jobs.imagery import in_common_units, pixel_size_of, scaling_of, warn_of_fills
from geoseg.jobs.job import Job
from geoseg.jobs.results import TrainResult
from geoseg.learning.checkpoints import Checkpoints, has_checkpoint, records, verify
from geoseg.learning.imagery import Imagery
from geoseg.learning.judgement import judged
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
from geoseg.raster.scene import Scene
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats, band_stats, colour_scale
from geoseg.recipes import Recipe, SuperpixelConfig, WindowConfig

log = logging.getLogger(__name__)

NORMALISATION_BATCHES = 16
"""Number of batches from which the final statistics of batch normalisation are estimated."""

_PHASES = ("learning colours", "separating classes", "steadying classes")
"""Names of the phases of a training (`geoseg.learning.trainer`)."""

_REMEDY = "when it is complete, start over with --overwrite"

_MAX_NAMES = 100
"""How many names of images are stored in the model; data sets have up to 51,804 images."""


class TrainJob(Job[Step]):
    """One training. A context manager, which locks the model against other trainings.

    `run` writes a log (`.metrics.jsonl`) and a picture (`.png`, updated on the way) next to the model, and the model
    itself at the end. Until then a folder of checkpoints lies there as well.

    Args:
        config: The settings. A recipe of None is that of the benchmark whose layout the folder has, otherwise
            orthophoto.
        scenes: Files to learn from, instead of `config.data`.
        reason: A line to show before the work, which says why a model is learnt.
        recipe: Hyper-parameters, instead of those of `config`.
        statistics_images: Largest number of images of a benchmark from which band statistics are estimated.

    Attributes:
        sources: The images to learn from, without unusable ones.

    Raises:
        InputMissingError, InputError, BandError: Images are missing, cannot be read, or do not fit together.
        OutputError: The model, or an interrupted training of it, exists already.
        LockedError: Another process trains this model.
        UnavailableError, SettingError: A device, an encoder or its weights are not available, or bands were chosen for
            a benchmark.
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
        self._notes = [line for line in (reason, protocol_note(config.data, config.recipe, recognised)) if line]
        if config.recipe is None:
            config = replace(config, recipe=recognised or "orthophoto")
        self.config = config
        self.recipe = config.settled if recipe is None else recipe
        self.superpixels = SuperpixelConfig(self.recipe.superpixel_size, config.compactness)
        self.total = self.recipe.steps
        self._statistics_images = statistics_images
        self._steps, self._phase = 0, -1
        self.out = config.out
        self.metrics = config.out.with_suffix(".metrics.jsonl")
        self.picture = config.out.with_suffix(".png")
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.bad_images = BadImages(config.max_bad)
        with ExitStack() as stack:
            self.dataset = stack.enter_context(self._dataset(scenes))
            self._check()
            self.checkpoints = Checkpoints(config.out)
            stack.callback(self.checkpoints.close)
            self.resuming = self._is_resuming()
            self.done_before = self._kept_step() if self.resuming else 0
            self._protocol = not isinstance(self.dataset, Orthophotos)
            self._stamps = Stamps.of(self.dataset.files if self._protocol else ())
            self.bad_images.check(self.dataset.sources)
            self.sources = self._usable()
            self._inputs = stack.pop_all()

    def close(self) -> None:
        """Close the images and unlock the model."""
        self._inputs.close()

    def run(self, command: str = "") -> Generator[Step]:
        """Train, yield every step, write checkpoints on the way and the model at the end.

        Raises:
            DivergedError: See `train`.
            WriteError: The file system failed.
            LockedError: Another process has taken over.
            InputError: More images are damaged than may be left out, or an image has changed since it was opened.
        """
        config, recipe = self.config, self.recipe
        remove_leftovers(self.out.parent, self.out.stem)
        warn_of_fills(self.sources)
        stats = self._statistics()
        dtype = str(np.result_type(*{source.dtype for source in self.sources}))
        spec = NetworkSpec(config.encoder, len(self.dataset.bands), recipe.classes, recipe.edges)
        network = build(spec, config.seed, config.encoder_weights)
        sampler = PatchSampler(
            Imagery(self.sources, self._protocol, self.bad_images), stats, self.superpixels, colour_scale(stats, dtype),
            recipe.patch_size, config.seed, self.device,
        )  # fmt: skip
        trainer = Trainer(network, sampler, recipe, self.device, self.precision)
        fingerprint = self._fingerprint(stats)
        if self.resuming:
            trainer.load(self.checkpoints.newest(fingerprint, trainer.state()))
        else:
            self.checkpoints.clear()
        self.done_before = trainer.step
        self._estimate(trainer)
        with TrainingLog(self.metrics, trainer.step) as training_log:
            for step in train(trainer, config.minutes):
                training_log.add(step)
                self._estimate(trainer)
                if trainer.at_checkpoint:
                    self._check_scenes(network=False)
                    training_log.sync()
                    self.checkpoints.save(trainer.step, fingerprint, trainer.state())
                if not math.isnan(step.criterion):
                    with trainer.averages.applied(), frozen_statistics(network):
                        save_png(training_picture(trainer), self.picture)
                self._steps = step.step
                yield step
        with trainer.averages.applied(selected=config.weights == "selected"):
            self._settle(trainer)
            self._publish(trainer, dtype)

    def describe(self, receipt: Step) -> str:
        """Return the phase with its loss, how many classes are in use, and the speed."""
        # exp of the entropy of the shares: n classes of equal size give n.
        used = f"{receipt.perplexity:.0f} of {self.recipe.classes} classes in use"
        speed = f"{receipt.images_per_second:.0f} patches/s"
        return f"loss {receipt.loss:.3f}, {used}, {_PHASES[receipt.phase]}, {speed}"

    def remark(self, receipt: Step) -> str:
        """Return the note of the step, if it has one, and what changes with its phase."""
        begins = receipt.phase > self._phase >= 0
        self._phase = receipt.phase
        change = f"{_PHASES[receipt.phase]} from here on; the loss has other terms, so it jumps" if begins else ""
        words = "; ".join(filter(None, [receipt.note, change]))
        return f"step {receipt.step}: {words}" if words else ""

    def opening(self) -> str:
        """Return how many classes are learnt from how many images, and on which device."""
        count = len(self.sources)
        unit = ("image" if self._protocol else "scene") + "s" * (count != 1)
        precision = str(self.precision).removeprefix("torch.")
        limit = f" or {self.config.minutes:g} minutes" if self.config.minutes else ""
        line = (
            f"learning {self.recipe.classes} classes from {count} {unit} on {self.device} "
            f"({precision}), at most {self.total} steps{limit}"
        )
        continued = f"; continues after step {self.done_before}" if self.done_before else ""
        return "\n".join([*self._notes, line + continued])

    def closing(self) -> str:
        """Return the paths of the files."""
        return f"model {self.out}, log {self.metrics}, picture {self.picture}"

    def kept(self) -> str:
        """Return where the checkpoints are; empty if there are none yet."""
        return f"{self.checkpoints.path} holds the work so far" if self.checkpoints.exist else ""

    @property
    def result(self) -> TrainResult:
        """The files, once `run` is exhausted."""
        return TrainResult(self.out, self.metrics, self.picture, self.recipe.classes, self._steps)

    def _dataset(self, scenes: Sequence[Location] | None) -> Dataset:
        config = self.config
        if scenes is not None:
            return Orthophotos(scenes, config.bands, self.bad_images, config)
        return open_dataset(config.data, config.recipe or "", config.bands, self.bad_images, config)

    def _check(self) -> None:
        # A training that is resumed was allowed to replace the model when it started.
        resumed = self.config.resume and has_checkpoint(self.config.out)
        check_target(self.config.out, self.config.overwrite or resumed, tuple(self.dataset.files))

    def _is_resuming(self) -> bool:
        config, exist = self.config, self.checkpoints.exist
        if config.resume and not exist:
            log.warning("%s: no interrupted training to resume; starting over", self.checkpoints.path)
        if exist and not config.resume and not config.overwrite:
            raise OutputError(
                f"{self.checkpoints.path}: an interrupted training is here; --resume continues it, --overwrite starts "
                "over"
            )
        return config.resume and exist

    def _kept_step(self) -> int:
        intact = (record for record in reversed(records(self.checkpoints.path)) if verify(record) is None)
        return next((int(record.stem.removeprefix("step-")) for record in intact), 0)

    def _estimate(self, trainer: Trainer) -> None:
        if self.config.minutes and trainer.progress:
            self.total = max(trainer.step, min(self.recipe.steps, round(trainer.step / trainer.progress)))

    def _usable(self) -> list[ImageSource]:
        """The images without a known fault.

        Raises:
            InputMissingError, InputError: More images are faulty than may be left out.
        """
        sources = in_common_units(self.bad_images.usable(self.dataset.sources))
        self.bad_images.enforce_limit(len(sources) + len(self.bad_images.errors))
        return sources

    def _check_scenes(self, network: bool) -> None:
        """Refuse to go on with scenes that have changed; images of a benchmark are checked at the end only."""
        for source in self.sources:
            if isinstance(source, Scene):
                source.check_unchanged(_REMEDY, network)

    def _statistics(self) -> BandStats:
        """The band statistics of the images. Images that turn out to be damaged are left out, here and in `sources`."""
        try:
            stats = band_stats(self._measured(), on_error=self.bad_images.add)
        finally:
            measured, self.sources = self.sources, self._usable()
        return stats if len(self.sources) == len(measured) else band_stats(self._measured())

    def _measured(self) -> Sequence[ImageSource]:
        """The images for band statistics: all scenes, or an evenly spaced selection of a benchmark's images."""
        sources = self.sources
        count = min(len(sources), self._statistics_images) if self._protocol else len(sources)
        return [sources[i * len(sources) // count] for i in range(count)]

    def _settle(self, trainer: Trainer) -> None:
        """Fit the statistics of batch normalisation to the final weights, on patches that no step has used."""
        count = trainer.recipe.batch_size
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            steps = range(NORMALISATION_STEPS, NORMALISATION_STEPS + NORMALISATION_BATCHES)
            batches = (trainer.sampler.batch(step, count, threads) for step in steps)
            images = (batch.image.to(self.device) for batch in batches)
            settle_statistics(trainer.network, images, self.precision)

    def _publish(self, trainer: Trainer, dtype: str) -> None:
        model = Model(
            network=trainer.network,
            bands=self.dataset.bands,
            dtype=dtype,
            stats=trainer.sampler.stats,
            superpixels=self.superpixels,
            windows=WindowConfig(),
            classes=ClassMap.default(self.recipe.classes),
            provenance=self._provenance(trainer),
            pixel_size=pixel_size_of(self.sources),
            scaling=scaling_of(self.sources),
        )
        model = in_own_colours(judged(model, trainer, self.out))
        save_png(training_picture(trainer, model.classes), self.picture)
        self._check_scenes(network=True)
        self._stamps.check(self.config.data, _REMEDY)
        self.checkpoints.check()
        save_model(model, self.out)
        self.checkpoints.clear()

    def _provenance(self, trainer: Trainer) -> dict[str, Any]:
        config, chosen = self.config, trainer.averages.selected
        selected = config.weights == "selected" and chosen is not None
        return {
            "recipe": {"name": config.recipe, **asdict(self.recipe)},
            "seed": config.seed,
            "steps": trainer.step,
            "weights": "selected" if selected else "last",
            "selected": chosen and {key: chosen[key] for key in ("step", "criterion")},
            "encoder_weights": config.encoder_weights,
            "precision": str(self.precision).removeprefix("torch."),
            "device": self.device.type,
            "data": {
                "scenes": len(self.sources),
                "pixels": trainer.sampler.stats.pixels * len(self.sources) // len(self._measured()),
                "names": self._names()[:_MAX_NAMES],
                "names_sha256": self._names_sha256(),
            },
            "versions": versions("torch"),
        }

    def _fingerprint(self, stats: BandStats) -> dict[str, Any]:
        config = self.config
        return {
            "recipe": asdict(self.recipe),
            "encoder": config.encoder,
            "superpixels": asdict(self.superpixels),
            "seed": config.seed,
            "precision": str(self.precision),
            "data": {"scenes": len(self.sources), "names": self._names_sha256(), "statistics": stats.to_json()},
        }

    def _names(self) -> list[str]:
        return [source.path.name for source in self.sources]

    def _names_sha256(self) -> str:
        return hashlib.sha256("\n".join(self._names()).encode(errors="surrogateescape")).hexdigest()
