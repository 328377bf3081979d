"""geoseg change: two class rasters of one place to transitions: as a raster, as tables of areas, and as polygons."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config import ChangeConfig
from geoseg.files.atomic import Staging, publish_bytes, remove_leftovers, scratch_folder
from geoseg.files.lock import OutputLocks
from geoseg.files.record import provenance_tags, read_intact, warn_of_left, write_record
from geoseg.grid import Block, Span, Window
from geoseg.jobs.job import Job
from geoseg.jobs.results import ChangeResult
from geoseg.outputs.change_files import ChangeFiles
from geoseg.outputs.class_areas import ClassArea, class_areas
from geoseg.outputs.comparison import common_classes, differing_settings
from geoseg.outputs.names import POLYGONS
from geoseg.outputs.polygons import ClassLayer
from geoseg.outputs.styles import file_qml, raster_sld
from geoseg.outputs.transitions import Transitions
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.cog import write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import require_rectified
from geoseg.raster.ground import Ground
from geoseg.raster.mosaic import TIFF_BLOCK, RasterSpec
from geoseg.raster.overlap import common_windows
from geoseg.raster.sieve import sieve_parts
from geoseg.vector.crs import check_format
from geoseg.version import __version__

log = logging.getLogger(__name__)

_REMEDY = "run the same command again when it is complete"


@dataclass(frozen=True)
class RowsCompared:
    """Progress of a comparison: the rows of both maps that were compared, counted from the first common one."""

    rows: Span


class ChangeJob(Job[RowsCompared]):
    """What changed between two maps. A context manager.

    Args:
        config: The settings.

    Attributes:
        transitions: The transitions between the classes of both maps.

    Raises:
        InputMissingError, InputError, BandError, SettingError: A map is missing, damaged or unsuitable; see
            `ClassRaster`. The maps have no classes in common, see `common_classes`, or no pixels, see `common_windows`.
        OutputError: An output cannot or must not be written.
    """

    stage = "change"
    unit = "step"

    def __init__(self, config: ChangeConfig) -> None:
        self.config = config
        self.outputs = ChangeFiles(config.out, config.polygons)
        with ExitStack() as stack:
            self.old, self.new = (
                stack.enter_context(ClassRaster(path, config.assume_crs, opening=config))
                for path in (config.old, config.new)
            )
            self._check_output()
            classes, self._model = common_classes(self.old, self.new)
            self.transitions = Transitions(classes)
            *windows, off = common_windows(self.old.scene, self.new.scene, config.snap)
            self.windows = (windows[0], windows[1])
            self._tell(off)
            self._georeference = self.old.scene.georeference.shifted(self.windows[0])
            self._check()
            self._inputs = stack.pop_all()
        height = len(self.windows[0].rows)
        self._spans = [Span(row, min(row + TIFF_BLOCK, height)) for row in range(0, height, TIFF_BLOCK)]
        self.total = len(self._spans)
        self._areas: dict[int, ClassArea] = {}
        self._alone = 0
        self._count: int | None = None

    def close(self) -> None:
        """Close the maps."""
        self._inputs.close()

    def run(self, command: str = "") -> Generator[RowsCompared]:
        """Compare the maps, yield the progress, then publish all files, the record last.

        Raises:
            InputError: A part of a map cannot be read, has a class without a name, or the map has changed since it was
                opened.
            LockedError: Another process works on the same output.
            WriteError: The file system failed; old files are intact.
        """
        outputs, old = self.outputs, read_intact(self.outputs.record)
        with Staging(outputs.raster) as staging, OutputLocks(*outputs.main):
            # Another process may have finished since the outputs were checked.
            self._check_output()
            for path in outputs.main:
                remove_leftovers(path.parent, path.stem)
            with scratch_folder(outputs.raster) as folder:
                parts: list[tuple[Block, Path]] = []
                with self.new.scene.caching(TIFF_BLOCK, floor=self._cache):
                    for index, rows in enumerate(self._spans):
                        parts += self._compare(index, rows, folder)
                        yield RowsCompared(rows)
                self._write(outputs.relocated(staging.path), folder, parts)
            for raster in (self.old, self.new):
                raster.scene.check_unchanged(_REMEDY)
            staging.commit(outputs.stale)
            content = {**self._provenance(), "classes": self.transitions.class_map.to_json()}
            files = [path for path in outputs.files if path.exists()]
            new = write_record(outputs.record, content, files, staging.permissions(outputs.record))
        warn_of_left(outputs.raster, old, new)

    def describe(self, receipt: RowsCompared) -> str:
        """Return which rows were compared."""
        return f"rows {receipt.rows.start}-{receipt.rows.stop} compared"

    def closing(self) -> str:
        """Return how much changed, and what could not be compared."""
        alone = f"; {self._alone} more have a class on one date only" if self._alone else ""
        return f"{self.result.summary}{alone}"

    @property
    def result(self) -> ChangeResult:
        """The files, once `run` is exhausted."""
        outputs = self.outputs
        return ChangeResult(
            outputs.raster, outputs.polygons, outputs.matrix, outputs.areas, outputs.style, outputs.record,
            {value: (*self.transitions.pair(value), area) for value, area in self._areas.items()}, self._count,
        )  # fmt: skip

    @property
    def _cache(self) -> int:
        return sum(raster.scene.cache_bytes(TIFF_BLOCK) for raster in (self.old, self.new))

    def _tell(self, off: float) -> None:
        """Warn of what makes two maps differ where nothing changed."""
        config, differing = self.config, differing_settings(self.old, self.new)
        if differing:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in differing)
            log.warning(
                "%s: was not made with the same %s as %s, which may show as change", config.new, options, config.old
            )
        if off:
            log.warning("%s: lies %.2f of a pixel off %s: borders may seem to change", config.new, off, config.old)

    def _check(self) -> None:
        config, polygons = self.config, self.config.polygons
        if config.min_area is not None:
            Ground(self._georeference, self.windows[0].shape).threshold(config.min_area)
        if polygons is not None:
            require_rectified(config.old, self._georeference)
            driver = POLYGONS[polygons.suffix.lower()]
            for remark in check_format(polygons, driver, config.old, self._georeference, self.windows[0].shape):
                log.warning("%s", remark)

    def _check_output(self) -> None:
        config = self.config
        self.outputs.check(config.overwrite, [config.old, config.new, *self.old.scene.files, *self.new.scene.files])

    def _compare(self, index: int, rows: Span, folder: Path) -> list[tuple[Block, Path]]:
        """Write the transitions of some rows of the common pixels as a part; none where there is none."""
        positions = []
        for raster, window in zip((self.old, self.new), self.windows, strict=True):
            first = window.rows.start
            values = raster.read(Span(first + rows.start, first + rows.stop))[:, window.cols.start : window.cols.stop]
            positions.append(self.transitions.index(raster).of(values))
        ids = self.transitions.of(*positions)
        self._alone += int(np.count_nonzero((positions[0] > 0) != (positions[1] > 0)))
        if not ids.any():
            return []
        block = Block(index, Window(rows, Span(0, ids.shape[1])))
        path = folder / f"part-{index:06d}.tif"
        write_part(path, ids)
        return [(block, path)]

    def _write(self, staged: ChangeFiles, folder: Path, parts: list[tuple[Block, Path]]) -> None:
        """Write all files but the record."""
        classes, config = self.transitions.class_map, self.config
        extent = Window.of(0, 0, *self.windows[0].shape)
        spec = RasterSpec(
            extent, self._georeference, classes.dtype, "classes", provenance_tags(self._provenance()),
            self.old.scene.area_or_point, classes,
        )  # fmt: skip
        if config.min_area is not None:
            parts, _ = sieve_parts(folder, spec, parts, config.min_area)
        write_cog(staged.raster, spec, parts)
        with ClassRaster(staged.raster, known=classes) as raster:
            self._areas = class_areas(raster)
            used = [raster.land_class(value) for value in self._areas]
            publish_bytes(staged.style, file_qml(used))
            if config.sld:
                publish_bytes(staged.sld, raster_sld(used, self.outputs.raster.stem))
            publish_bytes(staged.matrix, self.transitions.matrix(self._areas))
            publish_bytes(staged.areas, self.transitions.table(self._areas))
            if staged.polygons is not None:
                self._write_polygons(raster, staged.polygons, staged.style)

    def _write_polygons(self, raster: ClassRaster, path: Path, style: Path) -> None:
        """Write the regions that changed."""
        changed = np.array(sorted({*self._areas} - self.transitions.unchanged), np.int64)
        pair = self.transitions.pair
        sides = {"from_class": lambda value: pair(value)[0].name, "to_class": lambda value: pair(value)[1].name}
        layer = ClassLayer(path, raster, classes=changed, texts=sides)
        for _ in layer.write():
            pass
        layer.write_style(replace=path.with_suffix(".qml") != style, sld=self.config.sld)
        self._count = layer.count

    def _provenance(self) -> dict[str, Any]:
        area = self.config.min_area
        return {
            "geoseg": __version__,
            "old": self.old.scene.summary(),
            "new": self.new.scene.summary(),
            "model_sha256": self._model,
            "settings": {
                "min_area": str(area) if area else None,
                "snap": self.config.snap,
                "polygons_without": sorted(self.transitions.unchanged),
                "old_window": _numbers(self.windows[0]),
                "new_window": _numbers(self.windows[1]),
            },
        }


def _numbers(window: Window) -> list[int]:
    return [window.rows.start, window.cols.start, *window.shape]
