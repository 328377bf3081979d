"""geoseg train: imagery to a model file, a log and a picture."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.datasets import open_dataset, protocol_note, recognise
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.errors import LockedError, OutputError, SettingError
from geoseg.files.atomic import remove_leftovers
from geoseg.files.lock import BEAT_SECONDS, DEAD_SECONDS
from geoseg.files.targets import check_target
from geoseg.jobs.colouring import in_own_colours
from geoseg.jobs.imagery import added_bands, pixel_size_of, scaling_of, warn_of_fills
from geoseg.jobs.job import Job
from geoseg.jobs.results import TrainResult
from geoseg.jobs.training_facts import fingerprint, provenance
from geoseg.jobs.training_images import TrainingImages
from geoseg.launch import Launch
from geoseg.learning.batch_norm import common_statistics
from geoseg.learning.checkpoints import Checkpoints, folder_of, has_checkpoint, launch_of, records, verify
from geoseg.learning.imagery import Imagery
from geoseg.learning.judgement import judged
from geoseg.learning.log import TrainingLog
from geoseg.learning.loop import train
from geoseg.learning.meeting import device_name, join
from geoseg.learning.patches import NORMALISATION_STEPS, PatchSampler
from geoseg.learning.step import Step
from geoseg.learning.team import torch_threads
from geoseg.learning.trainer import Trainer
from geoseg.location import Location
from geoseg.model.file import Model, save_model
from geoseg.model.inference import select_device, select_precision
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import frozen_statistics, settle_statistics
from geoseg.outputs.pictures import save_png
from geoseg.outputs.training_picture import training_picture
from geoseg.raster.statistics import BandStats, colour_scale
from geoseg.recipes import Recipe, SuperpixelConfig, WindowConfig

log = logging.getLogger(__name__)

NORMALISATION_BATCHES = 16
"""Number of batches from which the final statistics of batch normalisation are estimated."""

_PHASES = ("learning colours", "separating classes", "steadying classes")
"""Names of the phases of a training (`geoseg.learning.trainer`)."""


class TrainJob(Job[Step]):
    """One training. A context manager, which locks the model against other trainings.

    `run` writes a log (`.metrics.jsonl`) and a picture (`.png`, updated on the way) next to the model, and the model
    itself at the end. Until then a folder of checkpoints lies there as well.

    Where a launcher started several processes, they train together, and only the first of them writes. Construction,
    and each step of `run`, then wait for the others. A process that was started in place of one that ended continues
    its training.

    Args:
        config: The settings. A recipe of None is that of the benchmark whose layout the folder has, otherwise
            orthophoto.
        scenes: Files to learn from, instead of `config.data`.
        reason: A line to show before the work, which says why a model is learnt.
        recipe: Hyper-parameters, instead of those of `config`.
        statistics_images: Largest number of images of a benchmark from which band statistics are estimated.
        launch: The processes that train together; by default, this one trains alone.

    Attributes:
        world: The processes that train together.
        threads: How many threads train here, on a CPU.
        images: The images to learn from, without unusable ones.

    Raises:
        InputMissingError, InputError, BandError: Images are missing, cannot be read, or do not fit together.
        OutputError: The model, or an interrupted training of it, exists already.
        LockedError: Another process trains this model.
        UnavailableError, SettingError: A device, an encoder or its weights are not available, or bands were chosen for
            a benchmark; or the processes do not find one another, or have different devices than processes need.
        ElsewhereError: Another process failed.
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
        launch: Launch | None = None,
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
        self.checkpoints: Checkpoints | None = None
        self._launch = Launch() if launch is None else launch
        if self.recipe.batch_size < self._launch.size:
            raise SettingError(
                f"a step has {self.recipe.batch_size} patches, fewer than there are processes ({self._launch.size}); "
                "start fewer of them, or give a larger --batch-size"
            )
        self.device = select_device(device_name(config.device, self._launch))
        self.precision = select_precision(config.precision, self.device)
        self.bad_images = BadImages(config.max_bad)
        self.world = join(self._launch, self.device)
        self.threads = torch.get_num_threads() if config.threads is None else config.threads
        with self.world.failing_together(), ExitStack() as stack:
            self._open(scenes, stack)
            self._inputs = stack.pop_all()

    def _open(self, scenes: Sequence[Location] | None, stack: ExitStack) -> None:
        self.dataset = stack.enter_context(self._dataset(scenes))
        self.resuming, self.done_before = self.world.from_first(lambda: self._take_output(stack))
        self.images = TrainingImages(self.dataset, self.config, self.bad_images, self.world, self._statistics_images)

    def _take_output(self, stack: ExitStack) -> tuple[bool, int]:
        """Lock the model; return whether a training of it is continued, and after which step."""
        self._check()
        self.checkpoints = self._locked()
        stack.callback(self.checkpoints.close)
        resuming = self._is_resuming(self.checkpoints)
        return resuming, self._kept_step() if resuming else 0

    def _locked(self) -> Checkpoints:
        """Lock the checkpoints; to continue, wait until a dead process on another machine counts as dead."""
        until = time.monotonic() + DEAD_SECONDS + 3 * BEAT_SECONDS
        while True:
            try:
                return Checkpoints(self.out, self._launch.name)
            except LockedError:
                if not self._is_restarted() or time.monotonic() > until:
                    raise
                time.sleep(1)

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
        with self.world.failing_together(), torch_threads(self.threads):
            yield from self._run()
            self.world.leave()

    def _run(self) -> Generator[Step]:
        config, recipe, world = self.config, self.recipe, self.world
        if world.first:
            remove_leftovers(self.out.parent, self.out.stem)
            warn_of_fills(self.images.sources)
        stats = self.images.statistics()
        dtype = str(np.result_type(*{source.dtype for source in self.images.sources}))
        spec = NetworkSpec(config.encoder, len(self.dataset.bands), recipe.classes, recipe.edges)
        network = world.from_first(lambda: build(spec, config.seed, config.encoder_weights))
        sampler = PatchSampler(
            Imagery(self.images.sources, self.images.of_protocol, self.bad_images), stats, self.superpixels,
            colour_scale(stats, dtype), recipe.patch_size, config.seed, self.device, world=world,
        )  # fmt: skip
        trainer = Trainer(network, sampler, recipe, self.device, self.precision, world, self.threads)
        if trainer.in_groups:
            torch.set_num_threads(1)
        own = self._fingerprint(stats)
        world.agree({**own, "device": self.device.type, "minutes": config.minutes, "weights": config.weights})
        state = world.from_first(lambda: self._kept_state(own, trainer))
        if state is not None:
            trainer.load(state)
        self.done_before = trainer.step
        self._estimate(trainer)
        with self._log(trainer.step) as training_log:
            for step in train(trainer, config.minutes):
                if training_log is not None:
                    training_log.add(step)
                self._estimate(trainer)
                if trainer.at_checkpoint:
                    self.images.check_scenes(network=False)
                    self.images.share_faults()
                    if training_log is not None and self.checkpoints is not None:
                        training_log.sync()
                        self.checkpoints.save(trainer.step, own, trainer.state())
                if world.first and not math.isnan(step.criterion):
                    with trainer.averages.applied(), frozen_statistics(network):
                        save_png(training_picture(trainer), self.picture)
                self._steps = step.step
                yield step
        with trainer.averages.applied(selected=config.weights == "selected"):
            self._settle(trainer)
            self.images.share_faults()
            world.from_first(lambda: self._publish(trainer, dtype))

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
        count = len(self.images.sources)
        unit = ("image" if self.images.of_protocol else "scene") + "s" * (count != 1)
        precision = str(self.precision).removeprefix("torch.")
        limit = f" or {self.config.minutes:g} minutes" if self.config.minutes else ""
        line = (
            f"learning {self.recipe.classes} classes from {count} {unit} on {self._devices()} "
            f"({precision}), at most {self.total} steps{limit}"
        )
        continued = f"; continues after step {self.done_before}" if self.done_before else ""
        return "\n".join([*self._notes, line + continued])

    def closing(self) -> str:
        """Return the paths of the files."""
        return f"model {self.out}, log {self.metrics}, picture {self.picture}"

    def kept(self) -> str:
        """Return where the checkpoints are; empty if there are none yet."""
        exist = self.checkpoints is not None and self.checkpoints.exist
        return f"{folder_of(self.out)} holds the work so far" if exist else ""

    @property
    def result(self) -> TrainResult:
        """The files, once `run` is exhausted."""
        return TrainResult(self.out, self.metrics, self.picture, self.recipe.classes, self._steps)

    def _devices(self) -> str:
        return str(self.device) if self.world.size == 1 else f"{self.device.type} in {self.world.size} processes"

    def _dataset(self, scenes: Sequence[Location] | None) -> Dataset:
        config = self.config
        if scenes is not None:
            return Orthophotos(scenes, config.bands, self.bad_images, config, config.indices, config.extra)
        return open_dataset(
            config.data, config.recipe or "", config.bands, self.bad_images, config, config.indices, config.extra
        )  # fmt: skip

    def _check(self) -> None:
        # A training that is resumed was allowed to replace the model when it started.
        resumed = (self.config.resume and has_checkpoint(self.out)) or self._is_restarted()
        check_target(self.out, self.config.overwrite or resumed, tuple(self.dataset.files))

    def _is_restarted(self) -> bool:
        """Whether the launcher started this process to continue what an earlier one of the same launch has begun."""
        return self._launch.restarted and launch_of(self.out) == self._launch.name

    def _is_resuming(self, checkpoints: Checkpoints) -> bool:
        config, exist = self.config, checkpoints.exist
        if self._is_restarted():
            return True
        if config.resume and not exist:
            log.warning("%s: no interrupted training to resume; starting over", checkpoints.path)
        if exist and not config.resume and not config.overwrite:
            raise OutputError(
                f"{checkpoints.path}: an interrupted training is here; --resume continues it, --overwrite starts over"
            )
        return config.resume and exist

    def _kept_step(self) -> int:
        intact = (record for record in reversed(records(folder_of(self.out))) if verify(record) is None)
        return next((int(record.stem.removeprefix("step-")) for record in intact), 0)

    def _kept_state(self, own: dict[str, Any], trainer: Trainer) -> dict[str, Any] | None:
        """The state to continue from; None to begin anew, without the checkpoints of any earlier training."""
        assert self.checkpoints is not None
        if self.resuming:
            return self.checkpoints.newest(own, trainer.state())
        self.checkpoints.clear()
        return None

    def _log(self, done: int) -> AbstractContextManager[TrainingLog | None]:
        return TrainingLog(self.metrics, done) if self.world.first else nullcontext()

    def _estimate(self, trainer: Trainer) -> None:
        if self.config.minutes and trainer.progress:
            self.total = max(trainer.step, min(self.recipe.steps, round(trainer.step / trainer.progress)))

    def _settle(self, trainer: Trainer) -> None:
        """Fit the statistics of batch normalisation to the final weights, on patches that no step has used."""
        count = trainer.recipe.batch_size
        with ThreadPoolExecutor(self.world.reading_threads) as threads, common_statistics(self.world):
            steps = range(NORMALISATION_STEPS, NORMALISATION_STEPS + NORMALISATION_BATCHES)
            batches = (trainer.sampler.batch(step, count, threads) for step in steps)
            images = (batch.image.to(self.device) for batch in batches)
            settle_statistics(trainer.network, images, self.precision)

    def _publish(self, trainer: Trainer, dtype: str) -> None:
        assert self.checkpoints is not None
        pixels = trainer.sampler.stats.pixels * len(self.images.sources) // len(self.images.measured)
        model = Model(
            network=trainer.network,
            bands=self.dataset.bands,
            dtype=dtype,
            stats=trainer.sampler.stats,
            superpixels=self.superpixels,
            windows=WindowConfig(),
            classes=ClassMap.default(self.recipe.classes),
            provenance=provenance(self.config, self.recipe, trainer, self.images.sources, pixels),
            pixel_size=pixel_size_of(self.images.sources),
            scaling=scaling_of(self.images.sources),
            **added_bands(self.images.sources),
        )
        model = in_own_colours(judged(model, trainer, self.out))
        save_png(training_picture(trainer, model.classes), self.picture)
        self.images.check()
        self.checkpoints.check()
        save_model(model, self.out)
        self.checkpoints.clear()

    def _fingerprint(self, stats: BandStats) -> dict[str, Any]:
        return fingerprint(self.config, self.recipe, self.superpixels, self.precision, self.images.sources, stats)
