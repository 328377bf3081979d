"""The polygons of one class raster from file to file: checks, work, publication."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from geoseg import __version__
from geoseg.config import PolygonizeConfig
from geoseg.files.atomic import Staging, interrupted, remove_leftovers
from geoseg.files.record import record_path, write_record
from geoseg.outputs.names import check_polygons, stale_polygons
from geoseg.outputs.polygons import (
    ClassLayer,
    Progress,
)
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.georeference import require_rectified

log = logging.getLogger(__name__)


class PolygonizeJob:
    """One class raster, one file of polygons: everything is checked, nothing is written yet. A context manager.

    Raises:
        InputMissingError, InputError, BandError, SettingError: the raster, or its confidence; see `ClassRaster`.
        OutputError: an output that cannot or must not be written.
    """

    def __init__(self, config: PolygonizeConfig) -> None:
        self.config = config
        inputs = [config.raster, *([config.confidence] if config.confidence else [])]
        check_polygons(config.out, config.overwrite, inputs)
        self.record = record_path(config.out)
        with ExitStack() as stack:
            self.raster = stack.enter_context(ClassRaster(config.raster, config.assume_crs, opening=config))
            require_rectified(config.raster, self.raster.scene.georeference)
            check_polygons(config.out, config.overwrite, self.raster.scene.files)
            self.layer = ClassLayer(
                config.out, self.raster, config.field, config.min_area, config.simplify,
                self.raster.chosen(config.classes) if config.classes else None,
                stack.enter_context(Confidence(config.confidence, self.raster.scene, config.beside))
                if config.confidence else None,
            )  # fmt: skip
            self._open = stack.pop_all()

    def __enter__(self) -> PolygonizeJob:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self) -> Generator[Progress]:
        """Read the raster, yield how far it is, then publish the polygons and their record.

        Raises:
            InputError: a part of the raster cannot be read. WriteError: the disk failed; an old file is intact.
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
