"""`geoseg superpixels` and `geoseg polygonize` for one input or many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from geoseg.config import PolygonizeRastersConfig, SegmentScenesConfig
from geoseg.datasets.given import find_given, places
from geoseg.errors import OutputError, SettingError
from geoseg.files.record import record_path
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.jobs.polygonize_stripes import StripedPolygonizeJob
from geoseg.jobs.scene_results import Facts
from geoseg.jobs.scenes import Scenes
from geoseg.jobs.superpixels import SuperpixelsJob
from geoseg.location import Location, target
from geoseg.outputs.folders import (
    chain,
    check_folders,
    name_in,
    refuse_collisions,
    refuse_inputs,
    require_folders,
    run_in,
)
from geoseg.outputs.names import is_folder

_FORMAT = "gpkg"
"""Default format of the files in a folder."""

PolygonsJob = PolygonizeJob | StripedPolygonizeJob

J = TypeVar("J", bound=SuperpixelsJob | PolygonsJob)

Stops = Callable[[BaseException], bool] | None


class _OneFileEach(Scenes[J]):
    """Inputs that have one main output each: a given file, or one in a folder.

    Args:
        given: The inputs, as the command was given them.
        config: The settings.
        kind: What the output is; its name in a folder is `<input>-<kind>`.
        maps: See `find_given`.
        stops: See `Scenes`.

    Raises:
        InputMissingError, InputError: See `find_given`.
        OutputError: Two inputs have the same output, or an output cannot be written.
        SettingError: The format is not that of the given file.
    """

    def __init__(
        self, given: Sequence[Location], config: SegmentScenesConfig | PolygonizeRastersConfig, kind: str, maps: bool,
        stops: Stops,
    ) -> None:  # fmt: skip
        found = find_given(given, maps)
        super().__init__([each.location for each in found], stops=stops)
        self._config = config
        self._in_folder = is_folder(config.out)
        if self._in_folder and target(config.out) is not None:
            raise OutputError(f"{target(config.out)}: is a folder in a bucket; name a file there, for one {self.noun}")
        self._places = places(found) if config.tree else [Path()] * len(found)
        if self._in_folder:
            suffix = f".{config.format or _FORMAT}"
            each = zip(self.scenes, self._places, strict=True)
            self._outs = [name_in(config.out, place, scene, kind, suffix) for scene, place in each]
        else:
            self._outs = [config.out]
            if config.format is not None and config.out.suffix.lower() != f".{config.format}":
                raise SettingError(f"format is {config.format}, and --out is {config.out}: leave --format out")
        require_folders(f"{self.noun}s", len(found), self._targets(), config.tree)

    def jobs(self) -> Iterator[J]:
        """Yield the jobs, after the outputs of all were checked.

        Raises:
            OutputError: See `_OneFileEach`.
            GeosegError: See `Scenes`.
        """
        if self._in_folder:
            refuse_collisions(self._config.out, zip(self.scenes, self._outs, strict=True), self._config.tree)
            refuse_inputs(self.scenes, self._outs)
            check_folders(self._outs, self._new_folders())
        yield from super().jobs()

    def outputs(self, number: int) -> tuple[Path, ...]:
        """Return the output of an input."""
        return (self._outs[number],)

    def record(self, number: int) -> Path:
        """Return its record."""
        return record_path(self._outs[number])

    def open(self, number: int) -> J | None:
        """Open the job of an input; None if its output is there already, made with the same settings.

        Raises:
            GeosegError: See the jobs.
        """
        overwrite = self._config.overwrite
        if overwrite or not self._in_folder or not self.record(number).is_file():
            return self._made(number, overwrite)
        job = self._made(number, True)
        other = job.difference()
        if other is None:
            job.close()
            return None
        if not self._outs[number].exists():
            job.config = replace(job.config, overwrite=False)
            return job
        job.close()
        raise OutputError(f"{self._outs[number]}: exists already, {other}; --overwrite replaces it")

    def _run(self, number: int) -> Location | None:
        """The run directory of an input, in that of the settings if there are several."""
        run = self._config.run
        return run_in(run, self._places[number], self._outs[number]) if run is not None and self._several else run

    @abstractmethod
    def _job(self, number: int, overwrite: bool) -> J:
        """The job of an input."""

    @abstractmethod
    def _targets(self) -> dict[str, Path | None]:
        """Option -> what is written, a file or the folder of several."""

    def _made(self, number: int, overwrite: bool) -> J:
        """The job of an input, in a folder that is made if it is missing, and removed if the input is refused."""
        missing = []
        for folder in self._new_folders(number):
            if not folder.exists():
                missing.append(folder)
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"{folder}: the folder cannot be made ({error.strerror})") from error
        try:
            return self._job(number, overwrite)
        except BaseException:
            for folder in reversed(missing):
                with suppress(OSError):
                    folder.rmdir()
            raise

    def _new_folders(self, number: int | None = None) -> list[Path]:
        """The folders of the outputs of one input, or of all, in the order in which they are made."""
        within = self._places if number is None else [self._places[number]]
        tops = [path for path in self._targets().values() if path is not None and is_folder(path)]
        return list(dict.fromkeys(folder for top in tops for place in within for folder in chain(top, place)))


class SuperpixelsOfScenes(_OneFileEach[SuperpixelsJob]):
    """The superpixels of one scene or many; see `_OneFileEach`."""

    verb = "cut"

    def __init__(self, config: SegmentScenesConfig, stops: Stops = None) -> None:
        self.config = config
        super().__init__(config.scenes, config, "superpixels", False, stops)

    def facts(self, job: SuperpixelsJob) -> Facts:
        """Return the pixels of the scene."""
        return Facts(job.scene.extent.pixels)

    def _job(self, number: int, overwrite: bool) -> SuperpixelsJob:
        config = self.config.of(self.scenes[number], self._outs[number], self._run(number))
        return SuperpixelsJob(replace(config, overwrite=overwrite))

    def _targets(self) -> dict[str, Path | None]:
        return {"--out": self.config.out}


class PolygonsOfRasters(_OneFileEach[PolygonsJob]):
    """The polygons of one class raster or many; see `_OneFileEach`.

    Args:
        config: The settings.
        stops: See `Scenes`.
        striped: Work in stripes, as with a run, also if the settings name none.
    """

    noun = "raster"
    verb = "polygonized"

    def __init__(self, config: PolygonizeRastersConfig, stops: Stops = None, striped: bool = False) -> None:
        self.config, self._striped = config, striped
        super().__init__(config.rasters, config, "polygons", True, stops)
        if self._several and config.confidence is not None:
            require_folders("rasters", len(self.scenes), {"--confidence": Path(str(config.confidence))}, False)

    def outputs(self, number: int) -> tuple[Path, ...]:
        """Return the polygons, and the table of areas if it is wanted."""
        areas = self._beside(self.config.areas, number, "areas", ".csv")
        return (self._outs[number], *([areas] if areas is not None else []))

    def facts(self, job: PolygonsJob) -> Facts:
        """Return the pixels of the raster, and the classes that occur."""
        return Facts(job.raster.scene.extent.pixels, tuple(entry.name for entry in job.result.legend))

    def _job(self, number: int, overwrite: bool) -> PolygonsJob:
        confidence = self.config.confidence
        if isinstance(confidence, Path):
            confidence = self._beside(confidence, number, "confidence", ".tif")
        areas = self._beside(self.config.areas, number, "areas", ".csv")
        config = self.config.of(self.scenes[number], self._outs[number], confidence, areas, self._run(number))
        config = replace(config, overwrite=overwrite)
        return StripedPolygonizeJob(config) if self._striped or config.run is not None else PolygonizeJob(config)

    def _targets(self) -> dict[str, Path | None]:
        return {"--out": self.config.out, "--areas": self.config.areas}

    def _beside(self, path: Path | None, number: int, kind: str, suffix: str) -> Path | None:
        """A given file, or the one of an input in a given folder."""
        if path is None or not is_folder(path):
            return path
        return name_in(path, self._places[number], self.scenes[number], kind, suffix)
