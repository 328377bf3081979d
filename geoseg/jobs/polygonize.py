"""geoseg polygonize: a class raster to polygons."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from geoseg.config import PolygonizeConfig
from geoseg.files.atomic import Staging, interrupted, publish_bytes, remove_leftovers
from geoseg.files.finished import difference
from geoseg.files.lock import OutputLocks
from geoseg.files.record import record_path, write_record
from geoseg.jobs.job import Job
from geoseg.jobs.results import PolygonsResult
from geoseg.outputs.area_tables import area_table
from geoseg.outputs.names import POLYGONS, check_areas, check_polygons, polygon_sld, stale_polygon_files
from geoseg.outputs.polygons import MAX_VERTICES, ClassLayer, RowsRead
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.georeference import require_rectified
from geoseg.vector.crs import check_format
from geoseg.version import __version__

log = logging.getLogger(__name__)

_COUNT = "polygons"
"""Entry of the record: their number."""

_REMEDY = "run the same command again when it is complete"


class PolygonizeJob(Job[RowsRead]):
    """The polygons of one class raster. A context manager.

    Args:
        config: The settings.
        max_vertices: Limit of vertices for `config.simplify`.

    Raises:
        InputMissingError, InputError, BandError, SettingError: The raster or its confidence is missing, damaged or
            unsuitable; see `ClassRaster`.
        OutputError: The output cannot or must not be written.
    """

    stage = "polygonize"
    unit = "step"

    def __init__(self, config: PolygonizeConfig, *, max_vertices: int = MAX_VERTICES) -> None:
        self.config = config
        self.record = record_path(config.out)
        with ExitStack() as stack:
            self.raster = stack.enter_context(ClassRaster(config.raster, config.assume_crs, opening=config))
            self._check()
            self.confidence = None
            self._scenes = [self.raster.scene]
            if config.confidence is not None:
                self.confidence = Confidence(config.confidence, self.raster.scene, config.auxiliary)
                stack.enter_context(self.confidence)
                self._scenes.append(self.confidence.scene)
            self._classes = None if config.classes is None else self.raster.chosen(config.classes)
            self.layer = ClassLayer(
                config.out,
                self.raster,
                config.field,
                config.min_area,
                config.simplify,
                None if self._classes is None else self.raster.ids_of(self._classes),
                self.confidence,
                max_vertices,
            )
            self._inputs = stack.pop_all()
        self.total = len(list(self.raster.spans))

    def close(self) -> None:
        """Close the rasters."""
        self._inputs.close()

    def run(self, command: str = "") -> Generator[RowsRead]:
        """Polygonize the raster, yield the progress, then publish the polygons and their record.

        Raises:
            InputError: A part of the raster cannot be read, or it or its confidence has changed since it was opened.
            SettingError: There are too many vertices to simplify.
            LockedError: Another process works on the same output.
            WriteError: The file system failed; an old file is intact.
        """
        out = self.config.out
        # The lock goes first: what is left of a process that ends in between has to show that it is not done.
        with Staging(out) as staging, OutputLocks(out):
            # Another process may have finished since the output was checked.
            self._check_output()
            yield from self._write(staging)

    def _write(self, staging: Staging) -> Generator[RowsRead]:
        """Write the files and put them in place."""
        out = self.config.out
        # A style that an interrupted process put in place is geoseg's own, not the user's, and may be replaced.
        own_style = interrupted(out)
        remove_leftovers(out.parent, out.stem)
        staged = staging.path(out)
        yield from self.layer.write(staged)
        occurring = {entry.id for entry in self.layer.classes}
        absent = [name for name, value in (self._classes or {}).items() if value not in occurring]
        if absent:
            log.warning("%s: there are no polygons of %s", self.config.raster, ", ".join(absent))
        if self.confidence is not None:
            self.confidence.warn_of_units()
        self.layer.write_style(replace=own_style, sld=self.config.sld, path=staged)
        if self.config.areas is not None:
            table = area_table(self.layer.areas, self.layer.classes)
            publish_bytes(staging.path(self.config.areas), table)
        for scene in self._scenes:
            scene.check_unchanged(_REMEDY)
        self._publish(staging)

    def describe(self, receipt: RowsRead) -> str:
        """Return which rows were read."""
        return f"rows {receipt.rows.start}-{receipt.rows.stop} read"

    def closing(self) -> str:
        """Return the number of polygons."""
        return f"{self.layer.count} polygons"

    @property
    def result(self) -> PolygonsResult:
        """The files, once `run` is exhausted."""
        return PolygonsResult(self.config.out, self.record, self.layer.count, tuple(self.layer.classes))

    def difference(self) -> str | None:
        """Return how the polygons that exist differ from those to make; None if they are finished."""
        config = self.config
        wanted = [config.out, *([config.areas] if config.areas else []), *([polygon_sld(config.out)] * config.sld)]
        expected = {name: value for name, value in self._provenance().items() if name != _COUNT}
        sources = [path for scene in self._scenes for path in scene.files]
        return difference(self.record, expected, wanted, sources, found=(_COUNT,))

    def _check(self) -> None:
        config, scene = self.config, self.raster.scene
        require_rectified(config.raster, scene.georeference)
        self._check_output()
        driver = POLYGONS[config.out.suffix.lower()]
        for remark in check_format(config.out, driver, config.raster, scene.georeference, scene.shape):
            log.warning("%s", remark)

    def _check_output(self) -> None:
        config = self.config
        confidence = [config.confidence] if config.confidence else []
        inputs = [config.raster, *self.raster.scene.files, *confidence]
        check_polygons(config.out, config.overwrite, inputs)
        if config.areas is not None:
            check_areas(config.areas, config.overwrite or interrupted(config.out), inputs)

    def _publish(self, staging: Staging) -> None:
        areas = [] if self.config.areas is None else [self.config.areas]
        staging.commit([self.record, *stale_polygon_files(self.config.out), *areas])
        files = [*self.layer.files(), *areas]
        write_record(self.record, self._provenance(), files, staging.permissions(self.record))

    def _provenance(self) -> dict[str, Any]:
        config = self.config
        settings = {
            "min_area": str(config.min_area) if config.min_area else None,
            "simplify": config.simplify,
            "classes": None if self._classes is None else list(self._classes),
            "confidence": config.confidence.name if config.confidence else None,
            **({"field": config.field} if config.field != PolygonizeConfig.field else {}),
        }
        return {
            "geoseg": __version__,
            "raster": self.raster.scene.summary(),
            "settings": settings,
            _COUNT: self.layer.count,
        }
