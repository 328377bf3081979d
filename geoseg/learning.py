"""A training from folder to model file: data, statistics, steps, checkpoints, log, picture."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.config import STRIDE, TrainConfig, WindowConfig
from geoseg.datasets import Dataset, ImageSource, Orthophotos, open_dataset, recognise
from geoseg.errors import InputError, OutputError, RunError
from geoseg.locations import Location
from geoseg.losses import pool, pool_weights
from geoseg.model import Model, colour_scale, save_model, versions
from geoseg.network import (
    NetworkSpec,
    build,
    frozen_statistics,
    select_device,
    select_precision,
    settle_statistics,
)
from geoseg.patches import Imagery, PatchSampler
from geoseg.pictures import outlined, painted, rgb, save_png, side_by_side
from geoseg.publish import check_target, publish_bytes
from geoseg.statistics import BandStats, band_stats
from geoseg.trainer import Step, Trainer
from geoseg.training import GOOD_EVERY, train

log = logging.getLogger(__name__)

_PICTURES = 6
_SETTLING = 16
_SAMPLED = 2000
"""Images of a protocol that band statistics are taken of, at most."""

_NAMED = 100
_UNSEEN = 1 << 40
"""A step no training reaches: its patches are fresh ones."""


class Training:
    """A training that is ready to start: everything is checked, nothing is written yet.

    `steps()` does the work and writes the model to `config.out`, with its log (`.metrics.jsonl`) and picture
    (`.png`, remade on the way) beside it; while it runs, a `.checkpoint` lies there too. A context manager: it holds
    scenes open.

    config: its `data` is a folder, or one file; `scenes` overrides it with files. A recipe of None becomes that of the
        protocol whose data the folder looks like, or orthophoto.

    Raises:
        InputMissingError, InputError, BandError: imagery that is not there, cannot be read, or does not fit together.
        OutputError: a model, or an interrupted training, is there already.
        UnavailableError, SettingError: a device, an encoder or weights that cannot be had; bands chosen for a protocol.
    """

    def __init__(self, config: TrainConfig, scenes: Sequence[Location] | None = None) -> None:
        self.config = config = _with_recipe(config, scenes is not None)
        self.out = config.out
        self.metrics = config.out.with_suffix(".metrics.jsonl")
        self.picture = config.out.with_suffix(".png")
        self.checkpoint = config.out.with_suffix(".checkpoint")
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.dataset: Dataset
        if scenes is None:
            self.dataset = open_dataset(config.data, config.recipe or "", config.bands, config)
        else:
            self.dataset = Orthophotos(scenes, config.bands, config)
        try:
            check_target(config.out, config.overwrite, tuple(self.dataset.files))
            self.resuming = self._resuming()
        except BaseException:
            self.dataset.close()
            raise
        self._protocol = not isinstance(self.dataset, Orthophotos)
        self.unit = "image" if self._protocol else "scene"

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    def steps(self) -> Generator[Step]:
        """Train; yield every step; write checkpoints on the way and the model at the end.

        Raises:
            DivergedError: see `train`. WriteError: the disk failed.
        """
        config, recipe = self.config, self.config.settled
        stats = band_stats(self._measured())
        dtype = str(np.result_type(*{source.dtype for source in self.dataset.sources}))
        spec = NetworkSpec(config.encoder, len(self.dataset.bands), recipe.classes, recipe.edges)
        network = build(spec, config.seed, config.encoder_weights)
        sampler = PatchSampler(
            Imagery(self.dataset.sources, alike=self._protocol),
            stats,
            config.superpixels,
            colour_scale(stats, dtype),
            recipe.patch_size,
            config.seed,
            self.device,
            recipe.start,
        )
        trainer = Trainer(network, sampler, recipe, self.device, self.precision)
        if self.resuming:
            self._restore(trainer, stats)
        with self.metrics.open("a" if self.resuming else "w") as metrics:
            for step in train(trainer, config.minutes):
                metrics.write(json.dumps(_finite(asdict(step))) + "\n")
                metrics.flush()
                if trainer.step % GOOD_EVERY == 0 and not trainer.watch.in_trouble:
                    self._keep(trainer, stats)
                if not math.isnan(step.criterion):
                    with trainer.averages.applied(), frozen_statistics(network):
                        save_png(self._picture(trainer), self.picture)
                yield step
        with trainer.averages.applied(selected=config.weights == "selected"):
            self._settle(trainer)
            self._publish(trainer, dtype)

    def _measured(self) -> Sequence[ImageSource]:
        """The images that band statistics are taken of: all scenes; of a protocol some, in equal steps."""
        sources = self.dataset.sources
        count = min(len(sources), _SAMPLED) if self._protocol else len(sources)
        return [sources[i * len(sources) // count] for i in range(count)]

    def _settle(self, trainer: Trainer) -> None:
        """Fit the statistics of batch normalisation to the final weights, on patches no step has seen."""
        count = trainer.recipe.batch_size
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            batches = (trainer.sampler.batch(_UNSEEN + i, count, pool) for i in range(_SETTLING))
            images = (batch.image.to(self.device) for batch in batches)
            settle_statistics(trainer.network, images, self.precision)

    def _publish(self, trainer: Trainer, dtype: str) -> None:
        recipe, stats, chosen = self.config.settled, trainer.sampler.stats, trainer.averages.selected
        selected = self.config.weights == "selected" and chosen is not None
        model = Model(
            network=trainer.network,
            bands=self.dataset.bands,
            dtype=dtype,
            stats=stats,
            superpixels=self.config.superpixels,
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
                    "scenes": self.dataset.count,
                    "pixels": stats.pixels * self.dataset.count // len(self._measured()),
                    "names": self._names()[:_NAMED],
                    "names_sha256": self._digest(),
                },
                "versions": versions(),
            },
        )
        save_png(self._picture(trainer), self.picture)
        save_model(model, self.out)
        self.checkpoint.unlink(missing_ok=True)

    def _picture(self, trainer: Trainer) -> NDArray[np.uint8]:
        """Six patches: the imagery, its superpixels, and the class of each."""
        stats, classes = trainer.sampler.stats, ClassMap.default(trainer.recipe.classes)
        pixels, valid, labels = zip(*(trainer.sampler.plain(sample) for sample in range(_PICTURES)), strict=True)
        images = torch.from_numpy(np.stack([stats.normalise(*each) for each in zip(pixels, valid, strict=True)]))
        superpixels = torch.from_numpy(np.stack(labels)).long()
        weights, _ = pool_weights(superpixels.to(self.device), int(superpixels.max()), STRIDE)
        with torch.inference_mode():
            best = pool(trainer.network(images.to(self.device)), weights).argmax(-1).cpu().numpy() + 1
        sheet = []
        for each, cut, chosen in zip(pixels, labels, best, strict=True):
            view = rgb(each, stats.low, stats.high)
            sheet.append([view, outlined(view, cut), painted(np.concatenate([[0], chosen])[cut], classes)])
        half = _PICTURES // 2
        return side_by_side([left + right for left, right in zip(sheet[:half], sheet[half:], strict=True)])

    def _resuming(self) -> bool:
        config = self.config
        if config.resume and not self.checkpoint.exists():
            log.warning("%s: no interrupted training to resume; beginning anew", self.checkpoint)
            return False
        if self.checkpoint.exists() and not config.resume and not config.overwrite:
            raise OutputError(
                f"{self.checkpoint}: an interrupted training is here; --resume continues it, --overwrite begins anew"
            )
        return config.resume

    def _fingerprint(self, stats: BandStats) -> dict[str, Any]:
        config = self.config
        return {
            "recipe": asdict(config.settled),
            "encoder": config.encoder,
            "superpixels": asdict(config.superpixels),
            "seed": config.seed,
            "precision": str(self.precision),
            "data": {"scenes": self.dataset.count, "names": self._digest(), "statistics": stats.to_json()},
        }

    def _names(self) -> list[str]:
        return [source.path.name for source in self.dataset.sources]

    def _digest(self) -> str:
        """The hash of all names: data sets have up to 51,804."""
        return hashlib.sha256("\n".join(self._names()).encode(errors="surrogateescape")).hexdigest()

    def _keep(self, trainer: Trainer, stats: BandStats) -> None:
        buffer = io.BytesIO()
        torch.save({"fingerprint": json.dumps(self._fingerprint(stats)), "trainer": trainer.state()}, buffer)
        publish_bytes(self.checkpoint, buffer.getvalue())

    def _restore(self, trainer: Trainer, stats: BandStats) -> None:
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            found = json.loads(state["fingerprint"])
        except Exception as error:
            raise InputError(
                f"{self.checkpoint}: is damaged ({type(error).__name__}); begin anew with --overwrite"
            ) from error
        wanted = json.loads(json.dumps(self._fingerprint(stats)))
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            raise RunError(
                f"{self.checkpoint}: was training with another {', '.join(differing)}; "
                "use the same settings and data, or begin anew with --overwrite"
            )
        trainer.load(state["trainer"])
        lines = self.metrics.read_text().splitlines(keepends=True) if self.metrics.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= trainer.step]
        publish_bytes(self.metrics, "".join(kept).encode())


def _with_recipe(config: TrainConfig, orthophotos: bool) -> TrainConfig:
    if config.recipe is not None:
        return config
    return replace(config, recipe=(None if orthophotos else recognise(config.data)) or "orthophoto")


def _finite(step: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a skipped step's loss is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in step.items()}
