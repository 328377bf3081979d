"""geoseg evaluate: score a class raster or a model against labels, and draw the confusion matrix."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import ExitStack
from pathlib import Path

from geoseg.config import EvaluateConfig
from geoseg.errors import OutputError
from geoseg.evaluation.protocol import ProtocolEvaluation
from geoseg.evaluation.rasters import RasterEvaluation, find_pairs
from geoseg.evaluation.report import Counted, Report
from geoseg.evaluation.sources import open_source
from geoseg.files.targets import check_target
from geoseg.jobs.job import Job
from geoseg.location import local
from geoseg.outputs.pictures import save_png


class EvaluateJob(Job[Counted]):
    """One evaluation. A context manager.

    The labels are the rasters in `config.labels`, or without it those of a data set's protocol.

    Raises:
        InputMissingError, InputError, BandError: Files are missing, damaged, or do not fit together.
        OutputError: The picture cannot be written, or would replace a file that must stay.
        SettingError, UnavailableError: Settings contradict each other, or the device is not available.
    """

    stage = "evaluate"

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self._files = ExitStack()
        self._report: Report | None = None
        try:
            self._evaluation = self._open()
        except BaseException:
            self._files.close()
            raise
        self.total, self.unit = self._evaluation.total, self._evaluation.unit

    def close(self) -> None:
        """Close the data set, where it holds files open."""
        self._files.close()

    def run(self, command: str = "") -> Generator[Counted]:
        """Predict and count, yield every step, then write the picture; `report` is there at the end.

        Raises:
            InputMissingError, InputError: A file is missing or damaged, or no pixel has both a label and a prediction.
            WriteError: The file system failed.
        """
        self._report = yield from self._evaluation.run()
        if self.config.picture is not None:
            save_png(self._report.picture(), self.config.picture)

    def describe(self, receipt: Counted) -> str:
        """Return the image and its pixels."""
        return f"{receipt.image.name}, {receipt.pixels / 1e6:.1f} Mpx"

    @property
    def report(self) -> Report:
        """The scores, once `run` is exhausted."""
        if self._report is None:
            raise RuntimeError("there is no report until the job has run to its end")
        return self._report

    def _open(self) -> RasterEvaluation | ProtocolEvaluation:
        if self.config.labels is None:
            evaluation = self._files.enter_context(ProtocolEvaluation(self.config))
            _check_picture(self.config, evaluation.dataset.files)
            return evaluation
        source, pairs = open_source(self.config), find_pairs(self.config)
        # The evaluation reads all label rasters to check them, which takes time: the picture is refused before that.
        _check_picture(self.config, [path for pair in pairs for path in local(*pair)])
        return RasterEvaluation(self.config, source, pairs)


def _check_picture(config: EvaluateConfig, inputs: Collection[Path]) -> None:
    """Refuse a picture that cannot be written, that is not named as a PNG, or that would replace an input."""
    if config.picture is None:
        return
    check_target(config.picture, config.overwrite, local(config.file, config.label_map, *inputs))
    if config.picture.suffix.lower() != ".png":
        raise OutputError(f"{config.picture}: the picture is a PNG; name it {config.picture.stem}.png")
