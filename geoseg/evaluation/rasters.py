"""Evaluation against label rasters: images and labels are paired and checked, then counted block by block."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import IGNORED
from geoseg.config import EvaluateConfig
from geoseg.errors import InputError, SettingError
from geoseg.evaluation.confusion import Confusion
from geoseg.evaluation.label_map import LabelMap, read_label_map
from geoseg.evaluation.labels import LabelRaster
from geoseg.evaluation.pairing import find_images, find_labels, refuse_vectors
from geoseg.evaluation.report import Counted, Report
from geoseg.evaluation.sources import Source
from geoseg.location import Location
from geoseg.raster.folders import find_rasters
from geoseg.raster.georeference import crs_name, same_horizontal_crs
from geoseg.raster.orientation import orientation, warn_of_turned
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

_REMEDY = "run the same command again when it is complete"

_TOLERANCE = 0.01
"""Pixels by which corners of two rasters on one grid may differ, because georeferences are rounded."""


class RasterEvaluation:
    """An evaluation against label rasters that is ready to run: everything is checked, nothing is predicted yet.

    Args:
        config: The settings, with `labels`.
        source: What predicts the images.
        pairs: Each image with its label raster, from `find_pairs`.

    Attributes:
        unit: What a step of `run` is.
        total: The number of steps.

    Raises:
        InputMissingError, InputError, BandError: Files are missing, do not lie on one grid, or have label values that
            the label map does not name.
        SettingError: Settings contradict each other.
    """

    unit = "block"

    def __init__(self, config: EvaluateConfig, source: Source, pairs: Sequence[tuple[Location, Path]]) -> None:
        self._config, self._source, self._pairs = config, source, pairs
        self._given = _read_label_map(config)
        self._surveyed: list[Scene] = []
        self._label_map, self.total, self._max_id = self._survey()

    def run(self) -> Generator[Counted, None, Report]:
        """Predict and count block by block, yield each block, and return the report.

        Raises:
            InputError: No pixel has both a label and a prediction, or a file cannot be decoded, or has changed since
                all of them were checked.
        """
        confusion = Confusion(self._max_id, len(self._label_map.ids))
        for image, label in self._pairs:
            with (
                self._source.open(image) as scene,
                self._open_labels(label) as labels,
                self._caching(scene, labels.scene),
            ):
                for block, predicted in self._source.predict(scene):
                    confusion.add(predicted, self._label_map.class_indices(*labels.read(block.window)))
                    yield Counted(image, block.window.pixels)
        for surveyed in self._surveyed:
            surveyed.check_unchanged(_REMEDY)
        return self._report(confusion)

    def _survey(self) -> tuple[LabelMap, int, int]:
        """Check that all pairs fit; return the label map, the number of blocks and the highest possible cluster id."""
        values: set[int] = set()
        turned: list[tuple[object, int]] = []
        count = max_id = 0
        for image, label in self._pairs:
            with self._source.open(image) as scene, self._open_labels(label) as labels:
                views = [(image, orientation(scene)), (label, orientation(labels.scene))]
                turned += [(path, value) for path, value in views if value != 1]
                self._surveyed += [scene, labels.scene]
                check_grid(image, scene, label, labels.scene)
                blocks = self._source.blocks(scene)
                count += len(blocks)
                max_id = max(max_id, self._source.max_id(scene))
                with self._caching(labels.scene):
                    found = labels.distinct_values(block.window for block in blocks)
            if self._given is not None:
                self._check_known(label, found, self._given)
            values |= found
        warn_of_turned(turned)
        label_map = self._given or LabelMap.from_values(values, self._config.ignore)
        if not any(label_map.index.get(value, IGNORED) != IGNORED for value in values):
            raise InputError(f"{self._config.labels}: every pixel is ignored or nodata; there is nothing to score")
        return label_map, count, max_id

    def _open_labels(self, path: Path) -> LabelRaster:
        return LabelRaster(path, self._given is not None and self._given.colours, self._config.auxiliary)

    def _check_known(self, label: Path, values: set[int], given: LabelMap) -> None:
        unknown = sorted(values - given.index.keys())
        if unknown:
            shown = " and ".join(given.format_value(value) for value in unknown[:3]) + " and more" * (len(unknown) > 3)
            raise InputError(
                f"{label}: has {'colours' if given.colours else 'values'} {shown}, which {self._config.label_map} does "
                "not name; add them there, as null if they are to be ignored"
            )

    def _report(self, confusion: Confusion) -> Report:
        used = np.flatnonzero(confusion.counts.any(axis=1))
        if not used.size:
            raise InputError(f"{self._config.file}: is nodata wherever {self._config.labels} has a label")
        known, first = self._source.names, self._source.first_id
        if first == 0 and used[0] == 0:
            self._warn_of_zeros(confusion)
        elif first == 0:
            confusion, first, used = confusion.without_first(), 1, used - 1
        count = max(len(known), int(used[-1]) + 1)
        names = [*known, *(f"cluster {i + first}" for i in range(len(known), count))]
        facts = {"file": str(self._config.file), **self._source.facts(), "images": len(self._pairs)}
        return Report.from_confusion(facts, names, self._label_map, confusion, first)

    def _warn_of_zeros(self, confusion: Confusion) -> None:
        """Warn that 0 was scored as a cluster where neither the file nor the labels suggest that it is one."""
        if self._source.doubtful_zero and self._label_map.index.get(0, IGNORED) == IGNORED:
            share = confusion.counts[0].sum() / confusion.counts.sum()
            log.warning(
                "%s: declares no nodata, so its value 0 is scored as a class (%.1f %% of pixels); if 0 marks pixels "
                "without one, give --nodata 0",
                self._config.file, 100 * share,
            )  # fmt: skip

    def _caching(self, *scenes: Scene) -> AbstractContextManager[Any]:
        """A context in which these scenes are read side by side without decoding any stored block twice."""
        size = self._source.block_size
        return max(scenes, key=lambda scene: scene.cache_bytes(size)).caching(size * len(scenes))


def find_pairs(config: EvaluateConfig) -> list[tuple[Location, Path]]:
    """Return each image to score, or the class raster, with its label raster.

    Raises:
        InputMissingError: There is no such file or folder.
        InputError: There are no images, or an image has no label raster, or several.
    """
    assert config.labels is not None, "evaluation against label rasters"
    images: Sequence[Location] = [config.file]
    if config.data is not None:
        images = find_images(find_rasters(config.data), config.labels, config.data)
    if not images:
        raise InputError(f"{config.data}: holds no imagery apart from the labels {config.labels}")
    if config.labels.is_file():
        refuse_vectors(config.labels, images[0], config)
    return list(zip(images, find_labels(images, config.labels, config.data), strict=True))


def _read_label_map(config: EvaluateConfig) -> LabelMap | None:
    """The label map that is given, if any, with the values to ignore."""
    if config.label_map is None:
        return None
    given = read_label_map(config.label_map)
    if given.colours and config.ignore:
        raise SettingError(
            f"--ignore {config.ignore[0]} is a value, but {config.label_map} names colours; write null there for the "
            "colours to ignore"
        )
    return given.ignoring(config.ignore)


def check_grid(image: Location, scene: Scene, label: Path, labels: Scene) -> None:
    """Refuse labels that do not share the grid of a scene; if one has no georeference, only sizes are compared.

    Raises:
        InputError: They do not.
    """
    remedy = "resample the labels to its grid, by nearest neighbour (gdalwarp -r near -te ... -ts ...)"
    if scene.shape != labels.shape:
        raise InputError(
            f"{label}: is {labels.shape[1]} x {labels.shape[0]} px, {image} is {scene.shape[1]} x {scene.shape[0]} px; "
            f"{remedy}"
        )
    ours, theirs = scene.georeference, labels.georeference
    if ours.transform.is_identity or theirs.transform.is_identity:
        return
    if not same_horizontal_crs(ours.crs, theirs.crs):
        raise InputError(f"{label}: is in {crs_name(theirs.crs)}, {image} in {crs_name(ours.crs)}; {remedy}")
    rows, cols = scene.shape
    corners = [(x, y) for x in (0, cols) for y in (0, rows)]
    mapped = [~ours.transform @ (theirs.transform @ corner) for corner in corners]
    offset = max(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(corners, mapped, strict=True))
    if offset > _TOLERANCE:
        raise InputError(f"{label}: is up to {offset:.4g} px off {image}; {remedy}")
