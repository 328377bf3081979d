"""All the jobs of `geoseg predict`: a training if there is no model, then one map for each scene."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.areas.aoi import AreaOfInterest
from geoseg.areas.reading import open_areas
from geoseg.config import PredictConfig
from geoseg.datasets.given import find_given, places
from geoseg.errors import GeosegError, OutputError, SettingError
from geoseg.files.atomic import interrupted
from geoseg.jobs.model_choice import choose_model, unlearnt
from geoseg.jobs.predict import PredictJob, extent_of, inputs_of, polygon_remarks
from geoseg.jobs.scene_results import Facts
from geoseg.jobs.scenes import Scenes
from geoseg.jobs.train import TrainJob
from geoseg.location import Location
from geoseg.model.file import Model, load_model
from geoseg.model.inference import select_device, select_precision
from geoseg.outputs.delivery import PREDICTED, delivered
from geoseg.outputs.folders import check_folders, outputs_of, run_in
from geoseg.outputs.map import check_item
from geoseg.outputs.names import is_folder
from geoseg.raster.ground import Ground
from geoseg.raster.guards import regular_file
from geoseg.raster.scene import EVERY_BAND, Scene

log = logging.getLogger(__name__)


class Predictions(Scenes[PredictJob]):
    """The jobs of one prediction; see `Scenes`. The first one may be a training, whose errors concern all scenes.

    Args:
        config: The settings. Folders, patterns and lists among the scenes stand for what is in them.
        stops: See `Scenes`.

    Attributes:
        choice: The model.

    Raises:
        InputMissingError, InputError: See `find_given`.
        OutputError: See `outputs_of`; or a folder cannot be written to.
    """

    verb = "mapped"

    def __init__(self, config: PredictConfig, stops: Callable[[BaseException], bool] | None = None) -> None:
        found = find_given(config.scenes)
        self.config, self._delivery = delivered(
            replace(config, scenes=tuple(each.location for each in found)), PREDICTED
        )
        super().__init__(self.config.scenes, config.dry_run, stops)
        self._places = places(found) if config.tree else [Path()] * len(found)
        targets = outputs_of(self.config, self._places)
        self._outputs = [outputs for _, outputs in targets]
        self.choice = choose_model(self.config)
        if self._delivery is not None and self.choice.learn and not self.config.dry_run:
            raise SettingError(
                f"{config.out}: a model is kept on this machine, and none is named: learn one with geoseg train, and "
                "give it with --model"
            )
        self._model: Model | None = None
        self._notes: list[str] = []

    def jobs(self) -> Iterator[PredictJob | TrainJob]:  # type: ignore[override]
        """Yield the jobs: a training, if there is no model, and then those of the scenes.

        What concerns all is checked before the first job. If a model has to be learnt from the scenes, so are these.

        Raises:
            OutputError: Nothing can be written to a folder.
            GeosegError: No scene can be mapped, there is only one, or it concerns all; see `PredictJob`, `TrainJob`.
        """
        config, choice = self.config, self.choice
        if config.aoi is not None:
            # What is wrong with the file itself is not a fault of any scene.
            open_areas(config.aoi, config.aoi_layer)
        if self._several:
            new = {folder for outputs in self._outputs for folder in outputs.new_folders}
            check_folders((path for outputs in self._outputs for path in outputs.main), new)
        readable = config
        if choice.learn:
            readable = replace(config, scenes=tuple(self._readable()))
        if choice.learn and not config.dry_run:
            yield self._training(readable)
        elif not self._several and not choice.learn:
            self._check_only()
        model = unlearnt(readable) if choice.learn and config.dry_run else load_model(regular_file(choice.path))
        if self._several:
            select_precision(config.precision, select_device(config.device))
            config.windows(model.windows)
        self._model, self._notes = model, self._about(model)
        yield from super().jobs()

    def outputs(self, number: int) -> tuple[Path, ...]:
        """Return class raster, confidence, polygons and areas, those of them that are wanted."""
        return tuple(self._wanted(path) for path in self._outputs[number].main)

    def record(self, number: int) -> Path:
        """Return the record of the map."""
        return self._wanted(self._outputs[number].record)

    def open(self, number: int) -> PredictJob | None:
        """Open the job of a scene; None if its map is there already, of the same model and settings.

        Raises:
            GeosegError: See `PredictJob`.
        """
        scene, outputs, model = self.scenes[number], self._outputs[number], self._model
        assert model is not None
        config = self._settings_of(number)
        place = [f"{scene} ({number + 1} of {len(self.scenes)})"] if self._several else []
        notes, learnt = [*self._notes, *place], self.choice.learn
        if self._continues and outputs.record.is_file():
            job = PredictJob(replace(config, overwrite=True), scene, outputs, model, notes, learnt_from=learnt)
            other = job.difference()
            if other is None or (outputs.classes.exists() and not interrupted(outputs.classes)):
                job.close()
                if other is None:
                    return None
                raise OutputError(f"{outputs.classes}: exists already, {other}; --overwrite replaces it")
            job.config = config
        else:
            job = PredictJob(config, scene, outputs, model, notes, learnt, self._delivery)
        self._notes = []
        return job

    def facts(self, job: PredictJob) -> Facts:
        """Return the pixels and classes of a map."""
        used = job.result.used
        return Facts(job.extent.pixels, None if used is None else tuple(entry.name for entry in used))

    def model_summary(self) -> dict[str, Any]:
        """Return what a plan says about the model, as JSON values: its path, and whether it has to be learnt first."""
        choice = self.choice
        if not choice.learn:
            return {"model": str(choice.path), "learns_model": None}
        settings = choice.training(self.config)
        recipe, out = settings.settled, settings.out
        return {
            "model": str(out),
            "learns_model": {
                "recipe": settings.recipe, "classes": recipe.classes, "steps": recipe.steps,
                "outputs": [str(path) for path in (out, out.with_suffix(".metrics.jsonl"), out.with_suffix(".png"))],
            },
        }  # fmt: skip

    def _wanted(self, path: Path) -> Path:
        """Where a file is wanted: in a cloud store, or where it is made."""
        return path if self._delivery is None else self._delivery.wanted(path)

    @property
    def _continues(self) -> bool:
        """Whether scenes may have been mapped by an earlier, interrupted prediction into this folder."""
        config = self.config
        return (self._several or is_folder(config.out)) and not config.overwrite and not self.choice.learn

    def _check_only(self) -> None:
        """Check the only scene and its outputs before a model is loaded."""
        (scene,), (outputs,) = self.scenes, self._outputs
        if isinstance(scene, Path):
            regular_file(scene)
        if not (self._continues and outputs.record.is_file()):
            outputs.check(self.config.overwrite, inputs_of(self.config))

    def _readable(self) -> Iterator[Location]:
        """Yield the scenes that a model can be learnt from; refuse outputs that cannot be written.

        Raises:
            GeosegError: There are none.
        """
        config, none = self.config, True
        for number, path in enumerate(self.scenes):
            outputs = self._outputs[number]
            try:
                with Scene(path, EVERY_BAND, config.assume_crs, opening=config, quiet=True) as scene:
                    extent = extent_of(scene, config.bounds)
                    polygon_remarks(path, scene, extent, outputs)
                    if config.min_area is not None:
                        Ground(scene.georeference, scene.shape).threshold(config.min_area)
                    if config.aoi is not None:
                        AreaOfInterest(config.aoi, scene.georeference, extent, layer=config.aoi_layer)
                    if config.stac:
                        check_item(path, scene, extent, config.datetime)
                    outputs.check(config.overwrite, inputs_of(replace(config, scenes=(path,)), scene))
            except OutputError:
                raise
            except GeosegError as error:
                self._add(number, error)
                continue
            none = False
            yield path
        if none:
            self.finish()

    def _settings_of(self, number: int) -> PredictConfig:
        """The settings for one scene, with the model that was chosen."""
        config, run = self.config, self.config.run
        if run is not None and self._several:
            run = run_in(run, self._places[number], self._outputs[number].classes)
        # A job knows its own scene only: what it keeps and compares does not grow with their number.
        return replace(config, scenes=(self.scenes[number],), model=self.choice.path, relearn=False, run=run)

    def _about(self, model: Model) -> list[str]:
        """Lines that say which model is used unless that is the only one named, and what has no effect on it."""
        notes = []
        if self.config.model is None or self._several:
            why = "" if self.choice.learn or not self.choice.why else f"; {self.choice.why}"
            notes.append(f"model {self.choice.path}, {len(model.classes)} classes{why}")
        if self.config.smooth and model.experts is None:
            notes.append(
                f"{self.choice.path}: has no mixture, so --smooth has no effect; geoseg train with another recipe than "
                "inmars makes models with one"
            )
        return notes

    def _training(self, config: PredictConfig) -> TrainJob:
        """The job that learns a model from the scenes of `config`, in a folder that is made if it is missing."""
        outputs = self._outputs[0]
        missing = [folder for folder in outputs.new_folders if not folder.exists()]
        outputs.make_folders()
        try:
            return TrainJob(self.choice.training(config), config.scenes, reason=self.choice.why)
        except GeosegError:
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()
            raise
