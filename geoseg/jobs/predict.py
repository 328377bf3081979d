"""geoseg predict, for one scene: a scene and a model to a map. `geoseg.jobs.predictions` does several."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.areas.aoi import AreaOfInterest
from geoseg.areas.features import Feature, features_of
from geoseg.classes import LandClass
from geoseg.config import MODEL_NAME, PredictConfig
from geoseg.errors import SettingError
from geoseg.files.finished import difference
from geoseg.files.record import EARLIER, versions
from geoseg.grid import Grid, Window
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.results import MapResult
from geoseg.jobs.workers import gpus_for, processes_for
from geoseg.location import Location
from geoseg.model.file import Model
from geoseg.model.inference import device_class, select_device, select_precision
from geoseg.outputs.delivery import PREDICTED, Delivery, undelivered
from geoseg.outputs.map import MapFiles, check_item
from geoseg.outputs.names import POLYGONS, Outputs
from geoseg.prediction.bands import open_for, recorded_bands
from geoseg.prediction.device_pipeline import DevicePredictor
from geoseg.prediction.experts import rounds_of, steps_of
from geoseg.prediction.fit import Fit, fit
from geoseg.prediction.memory import Demand, check_memory, demand_of
from geoseg.prediction.plan import default_batch_size, default_workers, plan, strip_of
from geoseg.prediction.predictor import Predictor
from geoseg.raster.cog import GDAL_VERSION
from geoseg.raster.georeference import require_rectified
from geoseg.raster.ground import Ground
from geoseg.raster.scene import Scene
from geoseg.raster.sieve import margin
from geoseg.runs.local import Receipt, Stages
from geoseg.runs.run import Run
from geoseg.vector.crs import check_format
from geoseg.version import __version__

log = logging.getLogger(__name__)


class PredictJob(BlockJob):
    """The map of one scene by one model. A context manager.

    Args:
        config: The settings; the other arguments replace its scenes, model and outputs.
        path: The scene.
        outputs: The files to write; all that `config` names are among them.
        model: The model.
        notes: Lines to show before the work.
        learnt_from: The model was just learnt from the scene, so there is no need to say how it differs.
        delivery: Puts the outputs into a cloud store.

    Attributes:
        fit: How the scene is read for the model.
        plan: Blocks, windows and halo.
        extent: The part of the scene that is written.
        around: That part and a margin that decides what its small regions become.

    Raises:
        InputMissingError, InputError: The scene is missing or damaged, or its type of pixels is not the model's.
        BandError: Its bands are not those of the model.
        OutputError: An output cannot or must not be written.
        SettingError: The bounds lie outside the scene, the outputs lack a file that the settings name, there is too
            little memory, or the model was never saved.
        UnavailableError: The device is not available.
    """

    stage = "predict"

    def __init__(
        self, config: PredictConfig, path: Location, outputs: Outputs, model: Model, notes: Sequence[str] = (),
        learnt_from: bool = False, delivery: Delivery | None = None,
    ) -> None:  # fmt: skip
        if model.sha256 is None and not config.dry_run:
            raise SettingError("the model was never saved, so the map cannot name it; use what save_model returns")
        if model.changed:
            raise SettingError("the model's weights were changed since it was loaded or saved; save it, and use that")
        for name in ("confidence", "polygons", "areas"):
            if getattr(config, name) is not None and getattr(outputs, name) is None:
                raise SettingError(f"{name} is {getattr(config, name)}, which the outputs lack; name it there too")
        self.config, self.path, self.outputs, self.model, self._notes = config, path, outputs, model, notes
        self.delivery = delivery
        self.run_path, self.restart = config.run or outputs.run, config.restart
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        self.batch_size = config.batch_size or default_batch_size(self.device.type)
        self.workers = config.threads_with(self.device.type == "cuda") or default_workers(self.device.type)
        self.scene = open_for(model, path, config.bands, config.assume_crs, config, extras=config.extra)
        try:
            self.extent = extent_of(self.scene, config.bounds)
            self._check(path)
            self.fit = self._fit(learnt_from)
            for remark in filter(None, (self.fit.fill, *self.fit.remarks)):
                log.warning("%s: %s", path, remark)
            self.taken = check_item(path, self.scene, self.extent, config.datetime) if config.stac else None
            self.around = self._around()
            self.aoi = self._area_of_interest()
            windows = config.windows(model.windows)
            grid = Grid(self.scene.shape, windows.tile_size, windows.overlap)
            rounds = rounds_of(model, config.rounds)
            steps = steps_of(model, rounds)
            strip = strip_of(self.scene.block_shape)
            self.plan = plan(
                grid, model.superpixels, self.extent, self._block_size(), self.around, rounds, steps, strip
            )
            if not config.dry_run:
                self._check_memory()
        except BaseException:
            self.scene.close()
            raise
        self.blocks = self.plan.blocks
        self.total = len(self.blocks)
        self._used: tuple[LandClass, ...] | None = None

    def describe(self, receipt: Receipt) -> str:
        """Return pixels, windows, and seconds over all threads."""
        return receipt.summary(f"{receipt.windows} window{'s' * (receipt.windows != 1)}")

    def opening(self) -> str:
        """Return the notes given to the job, and what engine there is."""
        return "\n".join(filter(None, [*self._notes, super().opening()]))

    @property
    def result(self) -> MapResult:
        """The files, once `run` is exhausted."""
        outputs = self.outputs
        found = MapResult(
            outputs.classes, outputs.confidence, outputs.polygons, outputs.style, outputs.preview, outputs.record,
            self.model.classes, self._used,
        )  # fmt: skip
        return found if self.delivery is None else self.delivery.relocated(found)

    def summary(self) -> dict[str, Any]:
        """Return the plan as JSON values: sizes, counts, and estimates of memory and disk space in MiB."""
        config, outputs = self.config, self.outputs
        return {
            "scene": str(self.scene.path),
            "rows": len(self.extent.rows),
            "cols": len(self.extent.cols),
            "megapixels": round(self.extent.pixels / 1e6, 1),
            "bands": list(self.scene.file_bands),
            "blocks": self.total,
            "block_size": self.plan.blocks.block_shape[1],
            "windows": self.plan.window_count,
            "tile_size": self.plan.grid.tile_size,
            "overlap": self.plan.grid.overlap,
            "halo": self.plan.halo,
            "device": str(self.device),
            "precision": str(self.precision).removeprefix("torch."),
            "memory_mib": self._demand().peak >> 20,
            "disk_mib": self._disk_bytes() >> 20,
            "outputs": [self.shown(path) for path in outputs.planned(config.sld, config.legend, config.stac)],
        }

    @contextmanager
    def coordinated(self, command: str | None, planned: bool = False) -> Iterator[Run]:
        """Make the folders of the outputs, then yield the run as every `BlockJob` does."""
        self.outputs.make_folders()
        with super().coordinated(command, planned) as run:
            yield run

    def difference(self) -> str | None:
        """Return how the map that exists differs from the one to make; None if it is finished; see `difference`."""
        wanted = self.outputs.planned(self.config.sld, self.config.legend, self.config.stac)[:-1]
        return difference(
            self.outputs.record,
            {**self._provenance(), "classes": self.model.classes.to_json()},
            [path for path in wanted if path.suffix not in (".prj", ".cpg")],
            self.scene.files,
        )

    def _fit(self, learnt_from: bool) -> Fit:
        config = self.config
        # A plan needs no mapping, for which all of the scene is read.
        planned = config.dry_run and config.match is not None
        match = None if planned else config.match
        return fit(self.model, self.scene, self.path, config.rescale or planned, learnt_from, match)

    def _area_of_interest(self) -> AreaOfInterest | None:
        config = self.config
        if config.aoi is None:
            return None
        return AreaOfInterest(config.aoi, self.scene.georeference, self.around, self.extent, config.aoi_layer)

    def _features(self) -> list[Feature]:
        """The features of the area of interest, where a table of areas is wanted."""
        config = self.config
        if self.outputs.areas is None or config.aoi is None:
            return []
        return features_of(config.aoi, self.scene.georeference, self.extent, config.aoi_layer)

    def _around(self) -> Window:
        min_area = self.config.min_area
        if min_area is None:
            return self.extent
        return margin(self.scene.georeference, self.extent, self.scene.extent, min_area)

    def _check(self, path: Location) -> None:
        """Refuse outputs that cannot be written, and areas that are unknown."""
        config, georeference = self.config, self.scene.georeference
        self._check_outputs()
        for remark in polygon_remarks(path, self.scene, self.extent, self.outputs):
            log.warning("%s", remark)
        if config.min_area is not None:
            Ground(georeference, self.scene.shape).threshold(config.min_area)

    def _check_outputs(self) -> None:
        inputs = inputs_of(self.config, self.scene)
        self.outputs.check(self.config.overwrite, inputs)
        if self.delivery is not None:
            self.delivery.check(self.main_outputs(), inputs)

    def main_outputs(self) -> tuple[Path, ...]:
        return self.outputs.main

    def _stale_files(self) -> tuple[Path, ...]:
        return self.outputs.stale

    def _output_files(self) -> tuple[Path, ...]:
        return self.outputs.files

    @contextmanager
    def stages(self) -> Iterator[Stages[Any, Any]]:
        """Yield what computes a block of the map."""
        kind = DevicePredictor if self.device.type == "cuda" else Predictor
        predictor = kind(
            self.scene, self.model, self.plan, self.device, self.precision, self.config.blend,
            self.batch_size, self.workers, self.aoi, self.outputs.confidence is not None,
            conversion=self.fit.conversion, blocks=self._computed,
        )  # fmt: skip
        with self.scene.caching(self.plan.read_rows, cols=self.plan.cached_cols(self.scene.path)), predictor:
            yield Stages(predictor.prepare, predictor.logits, predictor.finish, self._check_scene, predictor.depth)

    def worker_settings(self) -> PredictConfig | None:
        """Return the settings for this scene alone; None if the model has no file that is known."""
        if self.config.model is None:
            return None
        outputs = self.outputs
        config = replace(
            self.config.within_worker(self.device.type == "cuda"), scenes=(self.path,), out=outputs.classes,
            confidence=outputs.confidence, polygons=outputs.polygons, areas=outputs.areas, run=self.run_path,
            relearn=False, restart=False, tree=False, json=False,
        )  # fmt: skip
        return config if self.delivery is None else undelivered(config, self.delivery, PREDICTED)

    def _publish(self, run: Run) -> None:
        files = MapFiles(
            self.config, self.scene.path.name, self.scene, self.extent, self.model.classes, self._provenance(),
            self.taken, self.plan.blocks, self.plan.written, self.around, self._features(),
        )  # fmt: skip
        self._used = files.publish(run, self.outputs)

    def _settings(self) -> dict[str, Any]:
        config, superpixels = self.config, self.model.superpixels
        return {
            **recorded_bands(self.scene),
            "tile_size": self.plan.grid.tile_size,
            "overlap": self.plan.grid.overlap,
            "blend": config.blend,
            "superpixels": dict(vars(superpixels)),
            "extent": [self.extent.rows.start, self.extent.cols.start, *self.extent.shape],
            "aoi_sha256": self.aoi.digest if self.aoi else None,
            "precision": str(self.precision).removeprefix("torch."),
            **({"smooth": self.plan.rounds} if self.model.experts else {}),
            **({"rescale": True} if config.rescale else {}),
            **({"match": config.match} if config.match else {}),
            **({"conversion": self.fit.conversion.to_json()} if self.fit.conversion else {}),
        }

    def _provenance(self) -> dict[str, Any]:
        area = self.config.min_area
        return {
            "geoseg": __version__,
            "scene": self.scene.summary(),
            "model_sha256": self.model.sha256,
            "settings": {**self._settings(), "min_area": str(area) if area else None},
            "device": self.device.type,
            **({EARLIER: earlier} if (earlier := self.model.provenance.get(EARLIER)) else {}),
            **({"clusters": origins} if (origins := self.model.classes.origins) else {}),
        }

    def _fingerprint(self) -> dict[str, Any]:
        settings = self._settings() | {"block_size": self.config.block_size, "batch_size": self.batch_size}
        if self.around != self.extent:
            # Blocks of another margin have the same numbers.
            settings["margin of min_area"] = [self.around.rows.start, self.around.cols.start, *self.around.shape]
        return {
            "scene": self.scene.identity(),
            "model": self.model.sha256,
            "settings": settings,
            "layers": ["classes", *(["confidence"] if self.outputs.confidence else [])],
            "versions": versions("torch", "numba") | {"gdal": GDAL_VERSION},
            "device": device_class(self.device),
        }

    def _block_size(self) -> int:
        """The side of a block: that of the settings, reduced to the extent, because larger blocks only cost memory."""
        return min(self.config.block_size, -(-max(self.extent.shape) // 512) * 512)

    def _disk_bytes(self) -> int:
        """Estimated size of parts and rasters."""
        layers = 1 + (self.outputs.confidence is not None)
        pixels = self.around.pixels * (self.total - len(self.nodata_blocks)) // self.total
        return pixels * layers * np.dtype(self.model.classes.dtype).itemsize * 2 // 3

    def _check_memory(self) -> None:
        processes = processes_for(self.config, len(gpus_for(self.config.device)) if self.config.engine == "dask" else 0)
        if processes:
            check_memory(str(self.path), self._demand(), processes=processes)

    def _demand(self) -> Demand:
        size = self._block_size()
        return demand_of(self.scene, self.model, self.plan, size, self.batch_size, self.workers, self.device)


def polygon_remarks(path: Location, scene: Scene, extent: Window, outputs: Outputs) -> list[str]:
    """Refuse polygons that the format of their file cannot hold; return warnings of what it does to them."""
    if outputs.polygons is None:
        return []
    require_rectified(path, scene.georeference)
    driver = POLYGONS[outputs.polygons.suffix.lower()]
    return check_format(outputs.polygons, driver, path, scene.georeference.shifted(extent), extent.shape)


def inputs_of(config: PredictConfig, scene: Scene | None = None) -> tuple[Location, ...]:
    """All files that are read, with those of `scene`, and must not be overwritten."""
    files = () if scene is None else scene.files
    return (*config.scenes, *files, config.model or Path(MODEL_NAME), *([config.aoi] if config.aoi else []))


def extent_of(scene: Scene, bounds: tuple[float, float, float, float] | None) -> Window:
    """The pixels to write: those that touch `bounds`, or all without bounds."""
    if bounds is None:
        return scene.extent
    window = scene.georeference.window(bounds).intersect(scene.extent)
    if not window.pixels:
        raise SettingError(
            f"bounds {bounds} lie outside {scene.path.name}; the order is: left bottom right top, in its CRS"
        )
    return window
