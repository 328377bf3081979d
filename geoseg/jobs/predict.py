"""The map of one scene from file to files: checks, plan, run."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from typing import Any

import numpy as np

from geoseg import __version__
from geoseg.config import PredictConfig
from geoseg.errors import SettingError
from geoseg.files.atomic import check_space, remove_leftovers
from geoseg.files.record import versions
from geoseg.grid import Grid, Window
from geoseg.location import Location
from geoseg.model.file import Model
from geoseg.model.inference import device_class, select_device, select_precision
from geoseg.outputs.map import MapFiles, check_item
from geoseg.outputs.names import Outputs
from geoseg.prediction.bands import open_for
from geoseg.prediction.plan import MEMO_BYTES, plan
from geoseg.prediction.predictor import Predictor
from geoseg.raster.aoi import AreaOfInterest
from geoseg.raster.cog import GDAL_VERSION
from geoseg.raster.georeference import require_rectified
from geoseg.raster.ground import Ground
from geoseg.raster.scene import EVERY_BAND, Scene
from geoseg.runs.directory import Run, work_facts
from geoseg.runs.local import Receipt, compute

log = logging.getLogger(__name__)


_MOST_WORKERS = 8
"""Each worker holds the activations of a window, some 200 MB: more of them only where they are asked for."""


class MapJob:
    """One scene, one model, one output: everything is checked, nothing is written yet. Use it as a context manager.

    Raises:
        InputMissingError, InputError, BandError: the scene, or its bands against the model's.
        OutputError: an output that cannot or must not be written.
        SettingError, UnavailableError: bounds outside the scene, a model never saved, a device that is not there.
    """

    def __init__(self, config: PredictConfig, path: Location, outputs: Outputs, model: Model) -> None:
        if model.sha256 is None:
            raise SettingError("the model was never saved; save_model gives it the SHA-256 that runs and records name")
        self.config, self.outputs, self.model = config, outputs, model
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        outputs.check(config.overwrite, (path,))
        self.scene = open_for(model, path, config.bands, config.assume_crs, config)
        try:
            outputs.check(config.overwrite, self.scene.files)
            if config.polygons is not None:
                require_rectified(path, self.scene.georeference)
            windows = config.windows(model.windows)
            self.extent = _extent(self.scene, config.bounds)
            self.taken = check_item(path, self.scene, self.extent, config.datetime) if config.stac else None
            if config.min_area is not None:
                # What cannot be known is refused before any work.
                ground = Ground(self.scene.georeference)
                ground.least(config.min_area)
                told = ground.told_excess(self.extent) if config.min_area.unit == "m2" else None
                if told is not None and outputs.polygons is None:
                    log.warning("%s: %s", path, told)
            self.aoi = AreaOfInterest(config.aoi, self.scene.georeference) if config.aoi else None
            grid = Grid(self.scene.shape, windows.tile_size, windows.overlap)
            self.plan = plan(grid, model.superpixels, self.extent, min(config.block_size, _largest(self)))
        except BaseException:
            self.scene.close()
            raise
        self.batch_size = config.batch_size or (1 if self.device.type == "cpu" else 8)
        self.workers = config.workers or min(_MOST_WORKERS, os.cpu_count() or 1)

    def __enter__(self) -> MapJob:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def summary(self) -> dict[str, Any]:
        """Return the plan: sizes, counts, and estimates of memory and disk in MiB."""
        outputs = self.outputs
        positions = {position for block in self.plan.blocks for position in self.plan.windows(block)}
        return {
            "scene": str(self.scene.path),
            "rows": len(self.extent.rows),
            "cols": len(self.extent.cols),
            "megapixels": round(self.extent.pixels / 1e6, 1),
            "bands": list(self.scene.bands),
            "blocks": len(self.plan.blocks),
            "block_size": max(len(block.window.cols) for block in self.plan.blocks),
            "windows": len(positions),
            "tile_size": self.plan.grid.tile_size,
            "overlap": self.plan.grid.overlap,
            "halo": self.plan.halo,
            "device": str(self.device),
            "precision": str(self.precision).removeprefix("torch."),
            "memory_mib": self._memory() >> 20,
            "disk_mib": self._disk() >> 20,
            "outputs": [str(path) for path in (outputs.classes, outputs.confidence, outputs.polygons) if path],
        }

    def run(self, command: str = "") -> Generator[Receipt]:
        """Compute the blocks that are missing in the run directory, yield their receipts, then publish the outputs.

        command: what goes on if this is interrupted, for the manifest to tell.

        Raises:
            RunError: the run directory belongs to something else. LockedError: another process is at work there.
            WriteError: the disk failed; the run is kept.
        """
        config, outputs = self.config, self.outputs
        facts = work_facts(command, len(self.plan.blocks))
        with Run(outputs.run, self._fingerprint(), facts, config.restart) as run:
            with run.beginning():
                # Another process may have finished since the outputs were looked at.
                outputs.check(config.overwrite, self.scene.files)
                check_space(outputs.run, self._disk())
            for path in outputs.files:
                remove_leftovers(path.parent, path.stem)
            predictor = Predictor(
                self.scene, self.model, self.plan, self.device, self.precision, config.blend, self.batch_size,
                self.workers, self.aoi, outputs.confidence is not None,
            )  # fmt: skip
            rows = max(len(block.window.rows) for block in self.plan.blocks) + 2 * self.plan.halo
            with self.scene.caching(rows), predictor:
                yield from compute(predictor.prepare, predictor.logits, predictor.finish, run, self.plan.blocks)
            files = MapFiles(
                config, self.scene, self.extent, self.model.classes, self._provenance(), self.taken, self.plan.blocks
            )
            files.publish(run, outputs)

    def _settings(self) -> dict[str, Any]:
        config, superpixels = self.config, self.model.superpixels
        return {
            "bands": list(self.scene.bands),
            "tile_size": self.plan.grid.tile_size,
            "overlap": self.plan.grid.overlap,
            "blend": config.blend,
            "superpixels": dict(vars(superpixels)),
            "extent": [self.extent.rows.start, self.extent.cols.start, *self.extent.shape],
            "aoi_sha256": self.aoi.digest if self.aoi else None,
            "precision": str(self.precision).removeprefix("torch."),
        }

    def _provenance(self) -> dict[str, Any]:
        area = self.config.min_area
        return {
            "geoseg": __version__,
            "scene": self.scene.summary(),
            "model_sha256": self.model.sha256,
            "settings": {**self._settings(), "min_area": str(area) if area else None},
            "device": self.device.type,
        }

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "scene": self.scene.identity(),
            "model": self.model.sha256,
            "settings": self._settings() | {"block_size": self.config.block_size, "batch_size": self.batch_size},
            "layers": ["classes", *(["confidence"] if self.outputs.confidence else [])],
            "versions": versions("torch", "numba") | {"gdal": GDAL_VERSION},
            "device": device_class(self.device),
        }

    def _disk(self) -> int:
        """Bytes of parts and rasters, roughly."""
        layers = 1 + (self.outputs.confidence is not None)
        return self.extent.pixels * layers * np.dtype(self.model.classes.dtype).itemsize * 2 // 3

    def _memory(self) -> int:
        """Bytes at the peak, roughly: libraries, the network at its widest, blocks in flight, memo, GDAL's cache."""
        side = max(max(block.window.shape) for block in self.plan.blocks) + 2 * self.plan.halo
        read = min(side, self.scene.shape[0]) * min(side, self.scene.shape[1])
        bands, tile = len(self.scene.bands), self.plan.grid.tile_size
        at_once = self.workers if self.device.type == "cpu" else 1
        windows = at_once * self.batch_size * min(tile, self.scene.shape[0]) * min(tile, self.scene.shape[1])
        cells = self.plan.grid.extent.pixels // 16 * len(self.model.classes) * 4
        return (
            (700 << 20) + windows * (150 + 8 * bands) + read * (30 + bands * (2 + self.scene.dtype.itemsize))
            + min(MEMO_BYTES, cells) + self.scene.cache_bytes(side)
        )  # fmt: skip


def check_items(config: PredictConfig) -> None:
    """Refuse, before a model is learnt for them, scenes of which the STAC Items that are asked for cannot be written.

    Raises:
        InputMissingError, InputError, SettingError: see `Scene` and `check_item`.
    """
    for path in config.scenes if config.stac else ():
        with Scene(path, EVERY_BAND, config.assume_crs, opening=config) as scene:
            check_item(path, scene, _extent(scene, config.bounds), config.datetime)


def _largest(job: MapJob) -> int:
    """A block larger than the extent costs memory for nothing."""
    return -(-max(job.extent.shape) // 512) * 512


def _extent(scene: Scene, bounds: tuple[float, float, float, float] | None) -> Window:
    """The pixels to write: those that touch `bounds`, or all."""
    if bounds is None:
        return scene.extent
    window = scene.georeference.window(bounds).intersect(scene.extent)
    if not window.pixels:
        raise SettingError(
            f"bounds {bounds} lie outside of {scene.path.name}; they read: left bottom right top in its CRS"
        )
    return window
