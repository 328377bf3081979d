"""geoseg polygonize: a class raster to polygons."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from geoseg.config import PolygonizeConfig
from geoseg.files.atomic import Staging, interrupted, remove_leftovers
from geoseg.files.record import record_path, write_record
from geoseg.jobs.job import Job
from geoseg.jobs.results import PolygonsResult
from geoseg.outputs.names import check_polygons, stale_polygons
from geoseg.outputs.polygons import ClassLayer, RowsRead
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.georeference import require_rectified
from geoseg.version import __version__


class PolygonizeJob(Job[RowsRead]):
    """The polygons of one class raster. A context manager.

    Raises:
        InputMissingError, InputError, BandError, SettingError: The raster, or its confidence; see `ClassRaster`.
        OutputError: An output that cannot or must not be written.
    """

    stage = "polygonize"
    unit = "step"

    def __init__(self, config: PolygonizeConfig) -> None:
        self.config = config
        self.record = record_path(config.out)
        with ExitStack() as stack:
            self.raster = stack.enter_context(ClassRaster(config.raster, config.assume_crs, opening=config))
            require_rectified(config.raster, self.raster.scene.georeference)
            confidence = [config.confidence] if config.confidence else []
            check_polygons(config.out, config.overwrite, [config.raster, *self.raster.scene.files, *confidence])
            self.layer = ClassLayer(
                config.out, self.raster, config.field, config.min_area, config.simplify,
                self.raster.ids_of(config.classes) if config.classes else None,
                stack.enter_context(Confidence(config.confidence, self.raster.scene, config.auxiliary))
                if config.confidence else None,
            )  # fmt: skip
            self._open = stack.pop_all()

        self.total = len(list(self.raster.spans))

    def close(self) -> None:
        """Close the rasters."""
        self._open.close()

    def run(self, command: str = "") -> Generator[RowsRead]:
        """Read the raster, yield how far it is, then publish the polygons and their record.

        Raises:
            InputError: A part of the raster cannot be read.
            WriteError: The disk failed; an old file is intact.
        """
        out = self.config.out
        # A style that a killed process has put in place is its own, and no user's.
        again = interrupted(out)
        remove_leftovers(out.parent, out.stem)
        with Staging(out) as staging:
            staged = staging.path(out)
            yield from self.layer.write(staged)
            self.layer.style(replace=again, sld=self.config.sld, at=staged)
            staging.commit([self.record, *stale_polygons(out)])
            write_record(self.record, self._facts(), self.layer.files())

    def describe(self, receipt: RowsRead) -> str:
        """Return which rows were read."""
        return f"rows {receipt.rows.start}-{receipt.rows.stop} read"

    def closing(self) -> str:
        """Return how many polygons there are."""
        return f"{self.layer.count} polygons"

    @property
    def result(self) -> PolygonsResult:
        """The file, once `run` has come to its end."""
        return PolygonsResult(self.config.out, self.record, self.layer.count, tuple(self.layer.classes))

    def _facts(self) -> dict[str, Any]:
        config = self.config
        settings = {
            "min_area": str(config.min_area) if config.min_area else None,
            "simplify": config.simplify,
            "classes": list(config.classes) if config.classes else None,
            "confidence": config.confidence.name if config.confidence else None,
        }
        return {
            "geoseg": __version__,
            "raster": self.raster.scene.summary(),
            "settings": settings,
            "polygons": self.layer.count,
        }
