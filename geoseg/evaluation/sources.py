"""Where the predictions that are scored come from: a model, run in memory, or a class raster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.config import EvaluateConfig, Opening, PredictConfig
from geoseg.errors import BandError, InputError
from geoseg.files.record import find_record
from geoseg.grid import Block, Grid, Partition, partition
from geoseg.location import Location, Remote
from geoseg.model.file import load_model
from geoseg.model.inference import select_device, select_precision
from geoseg.prediction.bands import open_for
from geoseg.prediction.experts import rounds_of, steps_of
from geoseg.prediction.fit import Fit, fit
from geoseg.prediction.memory import check_memory, demand_of
from geoseg.prediction.plan import Plan, default_batch_size, default_workers, plan
from geoseg.prediction.predictor import Predictor
from geoseg.raster.class_raster import read_ids
from geoseg.raster.compression import require_lossless
from geoseg.raster.guards import regular_file
from geoseg.raster.scene import EVERY_BAND, Scene

log = logging.getLogger(__name__)

BLOCK_SIZE = PredictConfig.block_size
"""Side of the square, in pixels, that is predicted, read and counted at once."""

_MAX_ID = 65535


class Source(Protocol):
    """Predicts the cluster of every pixel of a scene, or reads it.

    Attributes:
        names: Names of the clusters 1..K, as far as they are known before anything is read.
        block_size: Side of a block in pixels; it bounds memory and does not change results.
        first_id: Id in the file of the cluster that is predicted as 1.
        doubtful_zero: Whether 0 is a cluster only because the file marks no pixel as nodata.
    """

    names: tuple[str, ...]
    block_size: int
    first_id: int
    doubtful_zero: bool

    def facts(self) -> dict[str, Any]:
        """Return what the report says about the file, by name; always its "kind"."""

    def open(self, path: Location) -> Scene:
        """Open an image.

        Raises:
            InputMissingError, InputError: See `Scene`.
            BandError: Its bands are not those expected.
        """

    def max_id(self, scene: Scene) -> int:
        """Return the highest cluster that `predict` can yield."""

    def blocks(self, scene: Scene) -> Partition:
        """Return the blocks that partition `scene`, in raster order."""

    def predict(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]:
        """Yield each of `blocks` with the clusters 1..K of its pixels: integers (rows, cols), 0 for nodata."""


class ModelSource:
    """A model, run over images as `predict` runs it, in memory.

    Args:
        config: The settings; `config.file` is the model.
        block_size: Side of a block in pixels.

    Attributes:
        model: The model.
        device, precision: Where the network runs, and in which arithmetic.
        names: Names of the model's classes.

    Raises:
        InputMissingError, InputError: There is no model, or it is damaged.
        SettingError, UnavailableError: The device is unknown, or not available.
    """

    first_id, doubtful_zero = 1, False

    def __init__(self, config: EvaluateConfig, block_size: int = BLOCK_SIZE) -> None:
        self._config, self.block_size = config, block_size
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.model = load_model(regular_file(config.file))
        named = {entry.id: entry.name for entry in self.model.classes.classes}
        # Merged classes leave ids without a class, which no pixel has.
        self.names = tuple(named.get(i, f"class {i}") for i in range(1, self.model.classes.highest + 1))
        self._fits: dict[Location, Fit] = {}
        if config.smooth and self.model.experts is None:
            log.warning("%s: has no mixture, so --smooth has no effect", config.file)

    def facts(self) -> dict[str, Any]:
        """Return the kind, hash and training of the model, and how it is run."""
        provenance = self.model.provenance
        training = {key: provenance[key] for key in ("weights", "steps", "seed") if provenance.get(key) is not None}
        if self.model.experts is not None:
            training["smooth"] = self._config.rounds
        settings = {"device": self.device.type, "precision": str(self.precision).removeprefix("torch.")}
        return {"kind": "model", "sha256": self.model.sha256, **training, **settings}

    def open(self, path: Location) -> Scene:
        """Open an image with the bands that the model expects; the first one off what it learnt from is told."""
        scene = open_for(self.model, path, self._config.bands, opening=self._config, quiet=True)
        if scene.path not in self._fits:
            try:
                found = fit(self.model, scene, path, self._config.rescale)
            except BaseException:
                scene.close()
                raise
            if not any(other.remarks for other in self._fits.values()):
                for remark in found.remarks:
                    log.warning("%s: %s", path, remark)
            self._fits[scene.path] = found
        return scene

    def max_id(self, scene: Scene) -> int:
        """Return the highest id of the model's classes."""
        return len(self.names)

    def blocks(self, scene: Scene) -> Partition:
        """Return the blocks of the prediction."""
        return self._plan(scene).blocks

    def predict(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]:
        """Predict block by block."""
        planned, batch_size, workers = self._plan(scene), default_batch_size(self.device.type), default_workers()
        demand = demand_of(scene, self.model, planned, self.block_size, batch_size, workers, self.device)
        check_memory(str(scene.path), demand, options=False)
        with Predictor(
            scene,
            self.model,
            planned,
            self.device,
            self.precision,
            PredictConfig.blend,
            batch_size,
            workers,
            conversion=self._fits[scene.path].conversion,
        ) as predictor:
            for block in planned.blocks:
                prepared = predictor.prepare(block)
                yield block, predictor.finish(prepared, predictor.logits(prepared)).layers["classes"]

    def _plan(self, scene: Scene) -> Plan:
        windows = self.model.windows
        grid = Grid(scene.shape, windows.tile_size, windows.overlap)
        rounds = rounds_of(self.model, self._config.rounds)
        return plan(
            grid,
            self.model.superpixels,
            scene.extent,
            self.block_size,
            rounds=rounds,
            steps=steps_of(self.model, rounds),
        )


class RasterSource:
    """A class raster, from geoseg or not, read as `geoseg.raster.class_raster.ClassRaster` reads it.

    What the file marks as nodata is nodata; 0 is a class, unless it is marked so or geoseg wrote the raster.

    Args:
        path: The class raster.
        opening: What may be opened, and how.
        block_size: Side of a block in pixels.

    Attributes:
        names: Names of the classes, if the record beside the raster says them.
        first_id: 1 where 0 is nodata, else 0.

    Raises:
        InputMissingError, InputError: See `Scene`; also for another layer of a map that geoseg wrote.
    """

    def __init__(self, path: Location, opening: Opening, block_size: int = BLOCK_SIZE) -> None:
        self._opening, self.block_size = opening, block_size
        with Scene(path, EVERY_BAND, stored=True, opening=opening, quiet=True) as scene:
            self._provenance, masks = scene.provenance or {}, scene.masks
        self.first_id = 1 if self._provenance or masks == "nodata 0" else 0
        self.doubtful_zero = not self.first_id and masks == "none"
        if self._provenance.get("layer", "classes") != "classes":
            raise InputError(f"{path}: holds the {self._provenance['layer']} of a map; give its class raster")
        record = find_record(path) if self._provenance and not isinstance(path, Remote) else None
        classes = None if record is None else record.classes
        self.names = tuple(entry.name for entry in classes.classes) if classes else ()

    def facts(self) -> dict[str, Any]:
        """Return the kind of the file, and the hash of the model that made it, if known."""
        kept = {key: self._provenance[key] for key in ("model_sha256",) if key in self._provenance}
        return {"kind": "classes", **kept}

    def open(self, path: Location) -> Scene:
        """Open the class raster, which has one band of integers."""
        try:
            scene = Scene(path, stored=True, opening=self._opening, quiet=True, sparse_zeros=True)
        except BandError:
            raise BandError(f"{path}: has more than one band; a class raster has one") from None
        try:
            if len(scene.bands) != 1 or scene.dtype.kind not in "iu":
                bands = f"{len(scene.bands)} band{'s' * (len(scene.bands) > 1)} of {scene.dtype}"
                raise BandError(
                    f"{path}: has {bands}; a class raster has one, of integers (geoseg predict writes them)"
                )
            require_lossless(path, scene.lossy, "class ids")
        except BaseException:
            scene.close()
            raise
        return scene

    def max_id(self, scene: Scene) -> int:
        """Return the highest cluster, by the type of the raster."""
        return min(_MAX_ID, int(np.iinfo(scene.dtype).max)) + 1 - self.first_id

    def blocks(self, scene: Scene) -> Partition:
        """Return the blocks that are read."""
        return partition(scene.extent, self.block_size)

    def predict(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]:
        """Read block by block.

        Raises:
            InputError: A pixel has an id that no class can have.
        """
        for block in self.blocks(scene):
            values, valid = read_ids(scene, block.window, own=bool(self._provenance))
            ids = np.where(valid, values, 0)
            if ids.min() < 0 or ids.max() > _MAX_ID:
                wrong = ids.min() if ids.min() < 0 else ids.max()
                raise InputError(f"{scene.path}: has the value {wrong}; class ids are 0 to {_MAX_ID}")
            yield block, ids if self.first_id else np.where(valid, ids.astype(np.int64) + 1, 0)


def open_source(config: EvaluateConfig, block_size: int = BLOCK_SIZE) -> Source:
    """Return the source of predictions that `config.file` is, by its name.

    Raises:
        InputMissingError, InputError: See `ModelSource` and `RasterSource`.
        SettingError, UnavailableError: See `ModelSource`.
    """
    return ModelSource(config, block_size) if config.is_model else RasterSource(config.file, config, block_size)
