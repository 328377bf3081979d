"""A training from folder to model file: data, statistics, steps, checkpoints, log, picture."""

from __future__ import annotations

import io
import json
import logging
import math
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.config import STRIDE, TrainConfig, WindowConfig
from geoseg.errors import InputError, OutputError, RunError
from geoseg.guards import find_rasters
from geoseg.losses import pool, pool_weights
from geoseg.model import Model, colour_scale, save_model, versions
from geoseg.network import NetworkSpec, build, select_device, select_precision, settle_statistics
from geoseg.patches import Imagery, PatchSampler
from geoseg.pictures import outlined, painted, rgb, save_png, side_by_side
from geoseg.publish import check_target, publish_bytes
from geoseg.scene import Scene
from geoseg.statistics import BandStats, band_stats
from geoseg.training import GOOD_EVERY, Step, Trainer, train

log = logging.getLogger(__name__)

_PICTURES = 6
_SETTLING = 16
_UNSEEN = 1 << 40
"""A step no training reaches: its patches are fresh ones."""


class Training:
    """A training that is ready to start: everything is checked, nothing is written yet.

    `steps()` does the work and writes the model to `config.out`, with its log (`.metrics.jsonl`) and picture
    (`.png`) beside it; while it runs, a `.checkpoint` lies there too. A context manager: it holds scenes open.

    config: its `data` is a folder, or one file; `scenes` overrides it with files.

    Raises:
        InputMissingError, InputError, BandError: imagery that is not there, cannot be read, or does not fit together.
        OutputError: a model, or an interrupted training, is there already.
        UnavailableError, SettingError: a device, an encoder or weights that cannot be had.
    """

    def __init__(self, config: TrainConfig, scenes: Sequence[Path] | None = None) -> None:
        self.config = config
        self.out = config.out
        self.metrics = config.out.with_suffix(".metrics.jsonl")
        self.picture = config.out.with_suffix(".png")
        self.checkpoint = config.out.with_suffix(".checkpoint")
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        paths = find_rasters(config.data) if scenes is None else list(scenes)
        check_target(config.out, config.overwrite, tuple(paths))
        self.resuming = self._resuming()
        self.scenes = _open_all(paths, config.bands)

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        for scene in self.scenes:
            scene.close()

    def steps(self) -> Generator[Step]:
        """Train; yield every step; write checkpoints on the way and the model at the end.

        Raises:
            DivergedError: see `train`. WriteError: the disk failed.
        """
        config, recipe = self.config, self.config.settled
        stats = band_stats(self.scenes)
        dtype = str(np.result_type(*(scene.dtype for scene in self.scenes)))
        spec = NetworkSpec(config.encoder, len(self.scenes[0].bands), recipe.classes)
        network = build(spec, config.seed, config.encoder_weights)
        sampler = PatchSampler(
            Imagery(self.scenes),
            stats,
            config.superpixels,
            colour_scale(stats, dtype),
            recipe.patch_size,
            config.seed,
            self.device,
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
                yield step
        self._settle(trainer)
        self._publish(trainer, stats, dtype)

    def _settle(self, trainer: Trainer) -> None:
        """Fit the statistics of batch normalisation to the final weights, on patches no step has seen."""
        count = trainer.recipe.batch_size
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            batches = (trainer.sampler.batch(_UNSEEN + i, count, pool) for i in range(_SETTLING))
            images = (batch.image.to(self.device) for batch in batches)
            settle_statistics(trainer.network, images, self.precision)

    def _publish(self, trainer: Trainer, stats: BandStats, dtype: str) -> None:
        recipe = self.config.settled
        model = Model(
            network=trainer.network,
            bands=self.scenes[0].band_names,
            dtype=dtype,
            stats=stats,
            superpixels=self.config.superpixels,
            windows=WindowConfig(),
            classes=ClassMap.default(recipe.classes),
            provenance={
                "recipe": {"name": self.config.recipe, **asdict(recipe)},
                "seed": self.config.seed,
                "steps": trainer.step,
                "encoder_weights": self.config.encoder_weights,
                "precision": str(self.precision).removeprefix("torch."),
                "device": self.device.type,
                "data": {
                    "scenes": len(self.scenes),
                    "pixels": stats.pixels,
                    "names": [scene.path.name for scene in self.scenes[:100]],
                },
                "versions": versions(),
            },
        )
        save_png(self._picture(trainer, model), self.picture)
        save_model(model, self.out)
        self.checkpoint.unlink(missing_ok=True)

    def _picture(self, trainer: Trainer, model: Model) -> NDArray[np.uint8]:
        """Six patches: the imagery, its superpixels, and the class of each."""
        sheet = []
        for sample in range(_PICTURES):
            pixels, valid, labels = trainer.sampler.plain(sample)
            image = torch.from_numpy(model.stats.normalise(pixels, valid))[None].to(self.device)
            weights, _ = pool_weights(torch.from_numpy(labels)[None].long().to(self.device), int(labels.max()), STRIDE)
            with torch.inference_mode():
                means = pool(trainer.network(image), weights)[0].cpu().numpy()
            classes = np.concatenate([[0], means.argmax(axis=1) + 1])[labels]
            view = rgb(pixels, model.stats.low, model.stats.high)
            sheet.append([view, outlined(view, labels), painted(classes, model.classes)])
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
            "data": {"names": [scene.path.name for scene in self.scenes], "statistics": stats.to_json()},
        }

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


def _open_all(paths: Sequence[Path], bands: tuple[int, ...] | None) -> list[Scene]:
    """Open every file, and report all that cannot be read in one message."""
    scenes: list[Scene] = []
    problems: list[InputError] = []
    quiet = logging.getLogger("geoseg.scene")
    level = quiet.level
    # Training does not care where on Earth a patch lies: one remark per file would bury the rest.
    quiet.setLevel(logging.ERROR)
    try:
        for path in paths:
            try:
                scenes.append(Scene(path, bands))
            except InputError as error:
                problems.append(error)
    finally:
        quiet.setLevel(level)
    if problems:
        for scene in scenes:
            scene.close()
        if len(problems) == 1:
            raise problems[0]
        raise InputError(f"{len(problems)} of {len(paths)} files cannot be used: " + "; ".join(map(str, problems[:10])))
    return scenes


def _finite(step: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a skipped step's loss is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in step.items()}
