"""geoseg report: a map, its scene and its classes as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import ExitStack

from geoseg.config import ReportConfig
from geoseg.errors import OutputError
from geoseg.files.atomic import publish_bytes, remove_leftovers
from geoseg.files.targets import check_target
from geoseg.jobs.job import Job
from geoseg.jobs.results import ReportResult
from geoseg.location import local
from geoseg.naming.origin import find_confidence, open_scene
from geoseg.naming.page import PAGES, MapView, report_page
from geoseg.naming.page_text import page_text
from geoseg.naming.sheet import SheetRow, class_sheet
from geoseg.outputs.scene_picture import SceneCopy, Tones
from geoseg.outputs.survey import Survey
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.ground import Ground

log = logging.getLogger(__name__)

_REMEDY = "run the same command again when it is complete"


class ReportJob(Job[str]):
    """The report of one map. A context manager.

    Args:
        config: The settings.

    Raises:
        InputMissingError, InputError, BandError, SettingError: The map, its confidence or its scene is missing, damaged
            or unsuitable; see `ClassRaster` and `geoseg.naming.origin.open_scene`.
        OutputError: The output cannot or must not be written.
    """

    stage = "report"
    unit = "step"

    def __init__(self, config: ReportConfig) -> None:
        self.config, self.out = config, config.page_path
        with ExitStack() as stack:
            self.raster = stack.enter_context(ClassRaster(config.raster, opening=config))
            path = config.confidence or find_confidence(config.raster)
            self.confidence = None
            if path is not None:
                self.confidence = stack.enter_context(Confidence(path, self.raster.scene, config.auxiliary))
            self.scene, self._part = open_scene(self.raster, config.scene, config.bands, config.auxiliary)
            stack.enter_context(self.scene)
            self._check_output()
            self._survey = Survey(self.raster, self.confidence)
            self._copy = SceneCopy(self.scene, self._part, self._survey.values.shape)
            self._inputs = stack.pop_all()
        self._rows: tuple[SheetRow, ...] = ()
        self.total = self._survey.total + self._copy.total + 1

    def close(self) -> None:
        """Close the rasters."""
        self._inputs.close()

    def run(self, command: str = "") -> Generator[str]:
        """Read map and scene, yield the progress, then publish the page.

        Raises:
            InputError: A part of a raster cannot be read, or one has changed since it was opened.
            WriteError: The file system failed; an old report is intact.
        """
        for rows in self._survey.steps():
            yield f"rows {rows.start}-{rows.stop} of the map read"
        for rows in self._copy.steps():
            yield f"rows {rows.start}-{rows.stop} of the scene read"
        if self.confidence is not None:
            self.confidence.warn_of_units()
        tones = Tones.of(self.scene)
        self._rows = class_sheet(
            self.raster, self.scene, self.confidence, part=self._part, survey=self._survey, tones=tones
        )
        yield "examples of the classes chosen"
        page = report_page(page_text(self.config, self.raster, self.scene, self.confidence, self._rows), self._rows,
                           self._view(tones))  # fmt: skip
        for scene in (self.raster.scene, self.scene, *([self.confidence.scene] if self.confidence else [])):
            scene.check_unchanged(_REMEDY)
        # Another process may have written it since.
        self._check_output()
        remove_leftovers(self.out.parent, self.out.stem)
        publish_bytes(self.out, page)

    def describe(self, receipt: str) -> str:
        """Return what was done."""
        return receipt

    @property
    def result(self) -> ReportResult:
        """The page, once `run` is exhausted."""
        return ReportResult(self.out, tuple(row.entry for row in self._rows if row.area))

    def _view(self, tones: Tones) -> MapView:
        survey, georeference = self._survey, self.raster.scene.georeference
        distance = None
        # Degrees of longitude and latitude are of unlike length, so that no scale would fit.
        if georeference.crs and not georeference.crs.is_geographic:
            distance = Ground(georeference, self.raster.scene.shape).sampling_distance
        return MapView(
            survey.values.astype("int64") - self.raster.offset,
            survey.values != 0,
            tones.picture(self._copy.means, self._copy.valid),
            self._copy.valid,
            None if distance is None else distance * survey.scale,
        )

    def _check_output(self) -> None:
        config = self.config
        inputs = (config.raster, config.scene, config.confidence, *self.raster.scene.files, *self.scene.files)
        check_target(self.out, config.overwrite, local(*inputs))
        if self.out.suffix.lower() not in PAGES:
            raise OutputError(f"{self.out}: a report is HTML; name it {self.out.with_suffix(PAGES[0]).name}")
