"""Where the predictions that are scored come from: a model that maps images in memory, or a class raster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.config import EvaluateConfig, Opening, PredictConfig
from geoseg.errors import BandError, InputError
from geoseg.files.record import find_record
from geoseg.grid import Block, Grid, partition
from geoseg.location import Location, Remote
from geoseg.model.file import load_model
from geoseg.model.inference import select_device, select_precision
from geoseg.prediction.bands import open_for
from geoseg.prediction.plan import Plan, plan
from geoseg.prediction.predictor import Predictor
from geoseg.raster.guards import regular_file
from geoseg.raster.scene import EVERY_BAND, Scene

BLOCK = PredictConfig.block_size
"""Pixels a side that are predicted, read and counted at once."""

_LARGEST_ID = 65535


class Source(Protocol):
    """Where predictions come from.

    names: of the clusters 1..K, as far as they are known beforehand. facts: what is told of the file.
    limit: the highest id there may be. predicted: the blocks of a scene in raster order, each with its cluster ids.
    """

    names: tuple[str, ...]

    def facts(self) -> dict[str, Any]: ...
    def open(self, path: Location) -> Scene: ...
    def limit(self, scene: Scene) -> int: ...
    def blocks(self, scene: Scene) -> tuple[Block, ...]: ...
    def predicted(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]: ...


class ModelSource:
    """What a model makes of images, by the core of `predict`, in memory."""

    def __init__(self, config: EvaluateConfig) -> None:
        self._config = config
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.model = load_model(regular_file(config.file))
        self.names = tuple(entry.name for entry in self.model.classes.classes)

    def facts(self) -> dict[str, Any]:
        provenance = self.model.provenance
        kept = {key: provenance[key] for key in ("weights", "steps", "seed") if provenance.get(key) is not None}
        settings = {"device": self.device.type, "precision": str(self.precision).removeprefix("torch.")}
        return {"kind": "model", "sha256": self.model.sha256, **kept, **settings}

    def open(self, path: Location) -> Scene:
        return open_for(self.model, path, self._config.bands, opening=self._config, quiet=True)

    def limit(self, scene: Scene) -> int:
        return len(self.names)

    def blocks(self, scene: Scene) -> tuple[Block, ...]:
        return self._plan(scene).blocks

    def predicted(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]:
        planned = self._plan(scene)
        with Predictor(
            scene,
            self.model,
            planned,
            self.device,
            self.precision,
            blend=PredictConfig.blend,
            batch_size=1 if self.device.type == "cpu" else 8,
            workers=min(8, os.cpu_count() or 1),
        ) as predictor:
            for block in planned.blocks:
                prepared = predictor.prepare(block)
                yield block, predictor.finish(prepared, predictor.logits(prepared)).layers["classes"]

    def _plan(self, scene: Scene) -> Plan:
        windows = self.model.windows
        grid = Grid(scene.shape, windows.tile_size, windows.overlap)
        return plan(grid, self.model.superpixels, scene.extent, BLOCK)


class RasterSource:
    """A class raster: ids 1..K, 0 and what its file marks as nodata are nodata."""

    def __init__(self, path: Location, opening: Opening) -> None:
        self._opening = opening
        with Scene(path, EVERY_BAND, stored=True, opening=opening, quiet=True) as scene:
            self._provenance = scene.provenance or {}
        if self._provenance.get("layer", "classes") != "classes":
            raise InputError(f"{path}: holds the {self._provenance['layer']} of a map; give its class raster")
        record = find_record(path) if self._provenance and not isinstance(path, Remote) else None
        classes = None if record is None else record.classes
        self.names = tuple(entry.name for entry in classes.classes) if classes else ()

    def facts(self) -> dict[str, Any]:
        kept = {key: self._provenance[key] for key in ("model_sha256",) if key in self._provenance}
        return {"kind": "classes", **kept}

    def open(self, path: Location) -> Scene:
        try:
            scene = Scene(path, stored=True, opening=self._opening, quiet=True)
        except BandError:
            raise BandError(f"{path}: has more than one band; a class raster has one") from None
        if len(scene.bands) == 1 and scene.dtype.kind in "iu":
            return scene
        scene.close()
        told = f"{len(scene.bands)} band{'s' * (len(scene.bands) > 1)} of {scene.dtype}"
        raise BandError(f"{path}: has {told}; a class raster has one, of integers (geoseg predict writes them)")

    def limit(self, scene: Scene) -> int:
        return min(_LARGEST_ID, int(np.iinfo(scene.dtype).max))

    def blocks(self, scene: Scene) -> tuple[Block, ...]:
        return tuple(partition(scene.extent, BLOCK))

    def predicted(self, scene: Scene) -> Iterator[tuple[Block, NDArray[Any]]]:
        for block in self.blocks(scene):
            pixels, valid = scene.read(block.window)
            ids = np.where(valid, pixels[0], 0)
            if ids.min() < 0 or ids.max() > _LARGEST_ID:
                strange = ids.min() if ids.min() < 0 else ids.max()
                raise InputError(
                    f"{scene.path}: has the value {strange}; class ids are 1 to {_LARGEST_ID}, 0 is nodata"
                )
            yield block, ids
