"""The map of one scene from file to files: checks, plan, run, publication."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.aoi import AreaOfInterest
from geoseg.classes import ClassMap
from geoseg.config import MODEL_NAME, PredictConfig
from geoseg.engines.local import Receipt, compute
from geoseg.errors import BandError, OutputError, SettingError
from geoseg.grid import Span, Window
from geoseg.model import Model, versions
from geoseg.network import select_device, select_precision
from geoseg.pictures import painted, save_png, with_legend
from geoseg.prediction import MEMO_BYTES, Predictor, plan
from geoseg.publish import check_target, publish_bytes, sha256
from geoseg.raster import RasterSpec, provenance_tags, read_small, write_cog
from geoseg.run import Run
from geoseg.scene import Scene
from geoseg.styles import raster_qml

log = logging.getLogger(__name__)

RECORD = ".geoseg.json"
"""Suffix of the record that is written last and names the SHA-256 of each output."""

_PREVIEW_PIXELS = 1200
_COLOURS = {"red", "green", "blue"}

_MOST_WORKERS = 8
"""Each worker holds the activations of a window, some 200 MB: more of them only where they are asked for."""


@dataclass(frozen=True)
class Outputs:
    """The files of one map: class raster, its style, preview and record beside it; confidence where asked for."""

    classes: Path
    confidence: Path | None

    @property
    def style(self) -> Path:
        """QGIS style, loaded with the raster."""
        return self.classes.with_suffix(".qml")

    @property
    def preview(self) -> Path:
        """A small picture with a legend."""
        return self.classes.with_suffix(".preview.png")

    @property
    def record(self) -> Path:
        """JSON: provenance and the SHA-256 of every file; present only when all of them are complete."""
        return self.classes.with_suffix(RECORD)

    @property
    def run(self) -> Path:
        """The run directory, there while the work is unfinished."""
        return self.classes.with_name(self.classes.name + ".run")

    def check(self, overwrite: bool, inputs: Sequence[Path]) -> None:
        """Refuse, before any work, outputs that cannot or must not be written.

        Where a run was interrupted while it published, what it had written may be replaced.

        Raises:
            OutputError: not named .tif, the same file twice, or see `check_target`.
        """
        files = [path for path in (self.classes, self.confidence) if path is not None]
        if len({path.resolve() for path in files}) < len(files):
            raise OutputError(f"{self.classes}: classes and confidence are two files; name them differently")
        publishing = self.run.is_dir() and not self.record.exists()
        for path in files:
            check_target(path, overwrite or publishing, tuple(inputs))
            if path.suffix.lower() not in (".tif", ".tiff"):
                raise OutputError(f"{path}: what is written is a GeoTIFF; name it {path.stem}.tif")


class MapJob:
    """One scene, one model, one output: everything is checked, nothing is written yet. Use it as a context manager.

    Raises:
        InputMissingError, InputError, BandError: the scene, or its bands against the model's.
        OutputError: an output that cannot or must not be written.
        SettingError, UnavailableError: bounds outside the scene, a device that is not there.
    """

    def __init__(self, config: PredictConfig, path: Path, outputs: Outputs, model: Model, model_sha256: str) -> None:
        self.config, self.outputs, self.model, self.model_sha256 = config, outputs, model, model_sha256
        self.device = select_device(config.device)
        self.precision = select_precision(config.precision, self.device)
        outputs.check(config.overwrite, (path,))
        self.scene = open_for(model, path, config.bands, config.assume_crs)
        try:
            windows = config.windows(model.windows)
            self.extent = _extent(self.scene, config.bounds)
            self.aoi = AreaOfInterest(config.aoi, self.scene.georeference) if config.aoi else None
            self.plan = plan(
                self.scene,
                model,
                self.extent,
                windows.tile_size,
                windows.overlap,
                min(config.block_size, _largest(self)),
            )
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
        layers = 1 + (self.outputs.confidence is not None)
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
            "disk_mib": self.extent.pixels * layers * 2 // 3 >> 20,
            "outputs": [str(path) for path in (self.outputs.classes, self.outputs.confidence) if path],
        }

    def run(self) -> Generator[Receipt]:
        """Compute the blocks that are missing in the run directory, yield their receipts, then publish the outputs.

        Raises:
            RunError: the run directory belongs to something else. WriteError: the disk failed; the run is kept.
        """
        run = Run(self.outputs.run, self._fingerprint())
        config = self.config
        predictor = Predictor(
            self.scene, self.model, self.plan, self.device, self.precision, config.blend, self.batch_size,
            self.workers, self.aoi,
        )  # fmt: skip
        rows = max(len(block.window.rows) for block in self.plan.blocks) + 2 * self.plan.halo
        with self.scene.caching(rows), predictor:
            yield from compute(predictor, run, self.plan.blocks, self.outputs.confidence is not None)
        self._publish(run)
        if not config.keep_run:
            run.discard()

    def _publish(self, run: Run) -> None:
        outputs, classes = self.outputs, self.model.classes
        outputs.record.unlink(missing_ok=True)
        provenance = self._provenance()
        tags = provenance_tags(json.dumps(provenance, sort_keys=True))
        georeference = self.scene.georeference.shifted(self.extent)
        layers: list[tuple[str, Path, str, ClassMap | None]] = [("classes", outputs.classes, classes.dtype, classes)]
        if outputs.confidence is not None:
            layers.append(("confidence", outputs.confidence, "uint8", None))
        for layer, path, dtype, class_map in layers:
            spec = RasterSpec(self.extent, georeference, dtype, layer, tags, self.scene.area_or_point, class_map)
            parts = [(block, run.part(block, layer)) for block in self.plan.blocks]
            write_cog(path, spec, [(block, part) for block, part in parts if part.exists()])
        publish_bytes(outputs.style, raster_qml(classes))
        save_png(_preview(outputs.classes, self.model), outputs.preview)
        names = outputs.classes.with_name(outputs.classes.name + ".aux.xml")
        files = [path for path in (outputs.classes, outputs.confidence, outputs.style, outputs.preview, names) if path]
        folder = outputs.record.parent
        hashes = {os.path.relpath(path, folder): sha256(path) for path in files if path.exists()}
        record = {**provenance, "classes": classes.to_json(), "files": hashes}
        publish_bytes(outputs.record, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())

    def _settings(self) -> dict[str, Any]:
        config, superpixels = self.config, self.model.superpixels
        return {
            "bands": list(self.scene.bands),
            "tile_size": self.plan.grid.tile_size,
            "overlap": self.plan.grid.overlap,
            "blend": config.blend,
            "superpixels": dict(vars(superpixels)),
            "extent": [*vars_of(self.extent)],
            "aoi_sha256": self.aoi.digest if self.aoi else None,
            "precision": str(self.precision).removeprefix("torch."),
        }

    def _provenance(self) -> dict[str, Any]:
        scene = {"name": self.scene.path.name, "bytes": self.scene.path.stat().st_size, "shape": list(self.scene.shape)}
        return {
            "geoseg": versions()["geoseg"],
            "scene": scene,
            "model_sha256": self.model_sha256,
            "settings": self._settings(),
            "device": self.device.type,
        }

    def _fingerprint(self) -> dict[str, Any]:
        status = self.scene.path.stat()
        return {
            "scene": {"path": str(self.scene.path), "bytes": status.st_size, "modified": status.st_mtime_ns},
            "model": self.model_sha256,
            "settings": self._settings() | {"block_size": self.config.block_size, "batch_size": self.batch_size},
            "layers": ["classes", *(["confidence"] if self.outputs.confidence else [])],
            "versions": versions(),
            "device": self.device.type,
        }

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


def outputs_of(config: PredictConfig) -> list[tuple[Path, Outputs]]:
    """Pair every scene of `config` with its outputs: the one file, or files in the folder `config.out`; check them.

    Raises:
        OutputError: see `Outputs.check`; also an output that is another scene, the model or the area of interest.
    """
    inputs = (*config.scenes, config.model or Path(MODEL_NAME), *([config.aoi] if config.aoi else []))
    if len(config.scenes) == 1 and not config.out.is_dir():
        targets = [(config.scenes[0], Outputs(config.out, config.confidence))]
    else:
        targets = _in_folder(config)
    for _, outputs in targets:
        outputs.check(config.overwrite, inputs)
    return targets


def _in_folder(config: PredictConfig) -> list[tuple[Path, Outputs]]:
    if not config.out.is_dir():
        raise OutputError(f"{config.out}: for several scenes, --out is a folder that exists")
    folder = config.confidence
    if folder is not None and not folder.is_dir():
        raise OutputError(f"{folder}: where --out is a folder, --confidence is one too")
    stems = [scene.stem for scene in config.scenes]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise OutputError(f"{config.out}: two scenes are called {doubled[0]}; predict them into different folders")
    return [
        (
            scene,
            Outputs(
                config.out / f"{scene.stem}-classes.tif", folder / f"{scene.stem}-confidence.tif" if folder else None
            ),
        )
        for scene in config.scenes
    ]


def open_for(model: Model, path: Path, bands: Sequence[int] | None, assume_crs: str | None = None) -> Scene:
    """Open a scene and take from it the bands that `model` expects.

    Raises:
        BandError: the bands do not match; the message names both sides and the way out.
    """
    scene = Scene(path, bands, assume_crs)
    expected, found = model.bands, scene.band_names
    swapped = [f for e, f in zip(expected, found, strict=False) if f != e and {e, f} <= _COLOURS]
    if len(scene.bands) == len(expected) and (bands is not None or not swapped or sorted(found) == sorted(expected)):
        if bands is None and sorted(found) == sorted(expected) and found != expected:
            order = tuple(scene.bands[found.index(name)] for name in expected)
            scene.close()
            log.info("%s: bands taken in the model's order, %s", path, ", ".join(map(str, order)))
            scene = Scene(path, order, assume_crs)
        if str(scene.dtype) != model.dtype:
            log.warning(
                "%s: is %s, the model learnt from %s; its normalisation is kept", path, scene.dtype, model.dtype
            )
        return scene
    scene.close()
    example = ",".join(["1"] * len(expected) if len(found) == 1 else [str(i + 1) for i in range(len(expected))])
    raise BandError(
        f"{path}: {len(found)} band{'s' * (len(found) != 1)} ({', '.join(found)}); the model expects {len(expected)} "
        f"({', '.join(expected)}): choose them with --bands, for instance --bands {example}"
    )


def vars_of(window: Window) -> tuple[int, int, int, int]:
    """Return (first row, first col, rows, cols) of a window."""
    return window.rows.start, window.cols.start, *window.shape


def _largest(job: MapJob) -> int:
    """A block larger than the extent costs memory for nothing."""
    return -(-max(job.extent.shape) // 512) * 512


def _extent(scene: Scene, bounds: tuple[float, float, float, float] | None) -> Window:
    """The pixels whose area touches `bounds` (left, bottom, right, top in the scene's CRS)."""
    if bounds is None:
        return scene.extent
    left, bottom, right, top = bounds
    inverse = ~scene.georeference.transform
    corners = [inverse @ (x, y) for x in (left, right) for y in (bottom, top)]
    # Bounds copied from a file's metadata are rounded; a millionth of a pixel is no pixel.
    cols, rows = (np.array(axis) for axis in zip(*corners, strict=True))
    spans = [
        Span(int(np.floor(axis.min() + 1e-6)), max(int(np.floor(axis.min() + 1e-6)), int(np.ceil(axis.max() - 1e-6))))
        for axis in (rows, cols)
    ]
    window = Window(*spans).intersect(scene.extent)
    if not window.pixels:
        raise SettingError(
            f"bounds {bounds} lie outside of {scene.path.name}; they read: left bottom right top in its CRS"
        )
    return window


def _preview(path: Path, model: Model) -> Any:
    small = read_small(path, _PREVIEW_PIXELS)
    counts = np.bincount(small.ravel(), minlength=len(model.classes) + 1)[1:]
    return with_legend(painted(small, model.classes), model.classes, list(counts / max(1, counts.sum())))
