"""A map, or what a model makes of images, held against label rasters: files are paired, checked, and counted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import IGNORED
from geoseg.config import EvaluateConfig
from geoseg.errors import InputError, OutputError, SettingError
from geoseg.evaluation.label_map import LabelMap, read_label_map
from geoseg.evaluation.labels import LabelRaster, find_images, find_labels
from geoseg.evaluation.report import Report
from geoseg.evaluation.scores import Confusion
from geoseg.evaluation.sources import BLOCK, ModelSource, RasterSource, Source
from geoseg.files.atomic import check_target
from geoseg.location import Location, local
from geoseg.raster.guards import find_rasters
from geoseg.raster.scene import Scene

_TOLERANCE = 0.01
"""Pixels by which the corners of two rasters on one grid may differ: georeferences are rounded."""


@dataclass(frozen=True)
class Counted:
    """One block of an image is counted: `pixels` of it."""

    image: Location
    pixels: int


class Scoring:
    """An evaluation by label rasters that is ready to run: all is read once and checked, nothing is predicted yet.

    Raises:
        InputMissingError, InputError, BandError: files that are not there, do not pair, do not lie on one grid, or
            hold label values that nobody named.
        OutputError: a picture that cannot or must not be written.
        SettingError, UnavailableError: settings that do not go together, a device that is not there.
    """

    unit = "block"

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self._given = _given(config)
        if config.labels is None:
            raise SettingError(f"{config.file}: name the label rasters to score it with --labels")
        check_picture(config, config.labels)
        self._source: Source = ModelSource(config) if config.is_model else RasterSource(config.file, config)
        images = [config.file] if config.data is None else find_images(find_rasters(config.data), config.labels)
        if not images:
            raise InputError(f"{config.data}: holds no imagery besides the labels {config.labels}")
        self.pairs = list(zip(images, find_labels(images, config.labels), strict=True))
        self.label_map, self.blocks, self._clusters = self._survey()

    def run(self) -> Generator[Counted, None, Report]:
        """Predict and count block by block, yield each, and return the report.

        Raises:
            InputError: not one pixel has both a label and a prediction, or a file fails while it is read.
        """
        confusion = Confusion(self._clusters, len(self.label_map.ids))
        for image, label in self.pairs:
            with (
                self._source.open(image) as scene,
                self._labels(label) as labels,
                _caching(scene, labels.scene),
            ):
                for block, predicted in self._source.predicted(scene):
                    confusion.add(predicted, self.label_map.places(*labels.read(block.window)))
                    yield Counted(image, block.window.pixels)
        return self._report(confusion)

    def _survey(self) -> tuple[LabelMap, int, int]:
        """Return label map, number of blocks and the highest id there may be, once all files are known to fit."""
        present: set[int] = set()
        count = clusters = 0
        for image, label in self.pairs:
            with self._source.open(image) as scene, self._labels(label) as labels:
                _check_grid(image, scene, label, labels.scene)
                blocks = self._source.blocks(scene)
                count += len(blocks)
                clusters = max(clusters, self._source.limit(scene))
                with _caching(labels.scene):
                    found = labels.present(block.window for block in blocks)
            if self._given is not None:
                self._check_known(label, found, self._given)
            present |= found
        label_map = self._given or LabelMap.of_values(present, self.config.ignore)
        if not any(label_map.index.get(value, IGNORED) != IGNORED for value in present):
            raise InputError(f"{self.config.labels}: every pixel is ignored or nodata; there is nothing to score")
        return label_map, count, clusters

    def _labels(self, path: Path) -> LabelRaster:
        return LabelRaster(path, self._given is not None and self._given.colours, self.config.beside)

    def _check_known(self, label: Path, found: set[int], given: LabelMap) -> None:
        unknown = sorted(found - given.index.keys())
        if unknown:
            told = " and ".join(given.told(value) for value in unknown[:3]) + " and more" * (len(unknown) > 3)
            raise InputError(
                f"{label}: has {'colours' if given.colours else 'values'} {told}, which {self.config.label_map} does "
                "not name; add them there, as null where they are to be ignored"
            )

    def _report(self, confusion: Confusion) -> Report:
        used = np.flatnonzero(confusion.counts.any(axis=1))
        if not used.size:
            raise InputError(f"{self.config.file}: is nodata wherever {self.config.labels} has a label")
        count = max(len(self._source.names), int(used[-1]) + 1)
        names = [*self._source.names, *(f"cluster {i + 1}" for i in range(len(self._source.names), count))]
        return Report.of(
            {"file": str(self.config.file), **self._source.facts(), "images": len(self.pairs)},
            names,
            self.label_map,
            confusion,
        )


def _given(config: EvaluateConfig) -> LabelMap | None:
    """The label map of the configuration, with what is to be ignored."""
    if config.label_map is None:
        return None
    given = read_label_map(config.label_map)
    if given.colours and config.ignore:
        raise SettingError(
            f"--ignore {config.ignore[0]} is a value, and {config.label_map} names colours; write null there for the "
            "colours to ignore"
        )
    return given.ignoring(config.ignore)


def check_picture(config: EvaluateConfig, *inputs: Location) -> None:
    """Raise OutputError for a picture that cannot or must not be written, such as over one of `inputs`."""
    if config.picture is None:
        return
    check_target(config.picture, config.overwrite, local(config.file, *inputs))
    if config.picture.suffix.lower() != ".png":
        raise OutputError(f"{config.picture}: what is written is a PNG; name it {config.picture.stem}.png")


def _check_grid(image: Location, scene: Scene, label: Path, labels: Scene) -> None:
    """Refuse two rasters that are not on one grid; one without a georeference is compared by its size."""
    way = "bring the labels onto its grid, by nearest neighbour (gdalwarp -r near -te ... -ts ...)"
    if scene.shape != labels.shape:
        raise InputError(
            f"{label}: is {labels.shape[1]} x {labels.shape[0]} px, {image} is {scene.shape[1]} x {scene.shape[0]} px; "
            f"{way}"
        )
    here, there = scene.georeference, labels.georeference
    if here.transform.is_identity or there.transform.is_identity:
        return
    if here.crs and there.crs and here.crs != there.crs:
        raise InputError(f"{label}: has another CRS than {image}; {way}")
    rows, cols = scene.shape
    corners = [(x, y) for x in (0, cols) for y in (0, rows)]
    moved = [~here.transform @ (there.transform @ corner) for corner in corners]
    off = max(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(corners, moved, strict=True))
    if off > _TOLERANCE:
        raise InputError(f"{label}: lies up to {off:.4g} px off {image}; {way}")


def _caching(*scenes: Scene) -> AbstractContextManager[Any]:
    """A context in which no stored block of any of these scenes is decoded twice, while all are read side by side."""
    return max(scenes, key=lambda scene: scene.cache_bytes(BLOCK)).caching(BLOCK * len(scenes))
