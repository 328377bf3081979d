"""All the jobs of `geoseg predict`: a training if there is no model, then one map for each scene."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.areas.aoi import AreaOfInterest
from geoseg.areas.reading import open_areas
from geoseg.config import PredictConfig
from geoseg.datasets.imagery import select_imagery
from geoseg.errors import DivergedError, GeosegError, InputError, OutputError, WriteError
from geoseg.jobs.model_choice import choose_model, unlearnt
from geoseg.jobs.predict import PredictJob, extent_of, inputs_of, polygon_remarks
from geoseg.jobs.train import TrainJob
from geoseg.location import Location, local, within
from geoseg.model.file import Model, load_model
from geoseg.outputs.map import check_item
from geoseg.outputs.names import Outputs, outputs_of
from geoseg.raster.folders import find_rasters
from geoseg.raster.ground import Ground
from geoseg.raster.guards import regular_file
from geoseg.raster.scene import EVERY_BAND, Scene

log = logging.getLogger(__name__)

_FATAL = (WriteError, DivergedError)
"""Errors that the next scene would meet too."""

Target = tuple[Location, Outputs]


class Predictions:
    """The jobs of one prediction. Among several scenes, one that cannot be mapped does not stop the others.

        for job in predictions.jobs():
            with job, predictions.sparing_others(job):
                ...                          # run the job
        predictions.finish()

    Args:
        config: The settings. A folder among the scenes stands for all imagery in it.

    Attributes:
        finished: Outputs of scenes that an earlier, interrupted prediction had mapped already.
        choice: The model.

    Raises:
        InputMissingError, InputError: A folder is missing or holds no imagery.
        OutputError: See `outputs_of`.
    """

    def __init__(self, config: PredictConfig) -> None:
        self.config = replace(config, scenes=tuple(_expanded(config.scenes)))
        self._targets = outputs_of(self.config)
        self._errors: dict[Location, GeosegError] = {}
        self.finished: list[Outputs] = []
        self.choice = choose_model(self.config)

    def jobs(self) -> Iterator[PredictJob | TrainJob]:
        """Yield the jobs. The caller runs and closes each one before it asks for the next.

        All scenes and outputs are checked before the first job; a single scene with a model is opened by its own job.

        Raises:
            OutputError: An output of any scene cannot or must not be written.
            GeosegError: No scene can be mapped, there is only one, or it concerns all; see `PredictJob`, `TrainJob`.
        """
        config, choice = self.config, self.choice
        several = len(self._targets) > 1
        if config.aoi is not None:
            # What is wrong with the file itself is not a fault of any scene.
            open_areas(config.aoi, config.aoi_layer)
        if several or choice.learn:
            targets = self._checked()
        else:
            for file in local(*config.scenes):
                regular_file(file)
            self._targets[0][1].check(config.overwrite, inputs_of(config))
            targets = self._targets
        readable = replace(config, scenes=tuple(scene for scene, _ in targets))
        if choice.learn and not config.dry_run:
            yield self._training(readable)
        model = unlearnt(readable) if choice.learn and config.dry_run else load_model(regular_file(choice.path))
        pending = self._unfinished(targets, model)
        notes = self._notes(model)
        for number, (scene, outputs) in enumerate(pending, 1):
            place = [f"{scene} ({number} of {len(pending)})"] if several else []
            try:
                job = PredictJob(self._of(outputs), scene, outputs, model, [*notes, *place], choice.learn)
            except GeosegError as error:
                self._add(scene, error)
                continue
            notes = []
            yield job

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

    @contextmanager
    def sparing_others(self, job: PredictJob | TrainJob) -> Iterator[None]:
        """Keep an error of one scene among several for `finish`, and tell it in a warning."""
        try:
            yield
        except GeosegError as error:
            if not isinstance(job, PredictJob):
                raise
            self._add(job.path, error)

    def finish(self) -> None:
        """Raise an error if scenes were not mapped; its details have one line for each, and its status is theirs.

        Raises:
            GeosegError: Scenes were not mapped. If their statuses differ, it is an InputError.
        """
        if not self._errors:
            return
        errors = list(self._errors.values())
        count, total = len(errors), len(self._targets)
        kind = type(errors[0]) if len({error.exit_code for error in errors}) == 1 else InputError
        if self.config.dry_run:
            summary = kind(f"{count} of {total} scenes cannot be mapped; repair these or leave them out")
        else:
            finished = f", {total - count} finished" if count < total else ""
            summary = kind(
                f"{count} of {total} scenes could not be mapped{finished}; repair these or leave them out: the same "
                "command does only what is missing"
            )
        summary.details = tuple(_named(scene, error) for scene, error in self._errors.items())
        raise summary

    def _add(self, scene: Location, error: GeosegError) -> None:
        """Take note of an error of one scene.

        Raises:
            GeosegError: This error, if there is only one scene or the others would meet it too.
        """
        if len(self._targets) == 1 or isinstance(error, _FATAL):
            raise error
        self._errors[scene] = error
        log.warning("not mapped: %s", _named(scene, error))

    def _checked(self) -> list[Target]:
        """The targets whose scenes can be read; refuse outputs that cannot be written, before any job."""
        config, usable = self.config, []
        for path, outputs in self._targets:
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
                    # If it is there already, it may be finished; that is known once the model is loaded.
                    if not (self._continues and outputs.record.is_file()):
                        outputs.check(config.overwrite, inputs_of(config, scene))
            except OutputError:
                raise
            except GeosegError as error:
                self._add(path, error)
                continue
            usable.append((path, outputs))
        if not usable:
            self.finish()
        return usable

    @property
    def _continues(self) -> bool:
        """Whether scenes may have been mapped by an earlier, interrupted prediction of several."""
        return len(self._targets) > 1 and not self.config.overwrite and not self.choice.learn

    def _unfinished(self, targets: Sequence[Target], model: Model) -> list[Target]:
        """The targets that an earlier prediction has not finished.

        Raises:
            OutputError: An output exists that is not this prediction's.
        """
        if not self._continues:
            return list(targets)
        pending = []
        for path, outputs in targets:
            if not outputs.record.is_file():
                pending.append((path, outputs))
                continue
            try:
                job = PredictJob(replace(self._of(outputs), overwrite=True), path, outputs, model)
            except GeosegError as error:
                self._add(path, error)
                continue
            with job:
                if job.is_finished():
                    self.finished.append(outputs)
                    continue
                outputs.check(False, inputs_of(self.config, job.scene))
                pending.append((path, outputs))
        return pending

    def _of(self, outputs: Outputs) -> PredictConfig:
        """The settings for one scene, with the model that was chosen."""
        config, run = self.config, self.config.run
        if run is not None and len(self._targets) > 1:
            run = within(run, outputs.run.name)
        return replace(config, model=self.choice.path, relearn=False, run=run)

    def _notes(self, model: Model) -> list[str]:
        """Lines that say what was finished before, and which model is used unless that is the only one named."""
        notes = []
        if self.finished:
            notes.append(f"{len(self.finished)} of {len(self._targets)} scenes were finished before")
        if self.config.model is None or len(self._targets) > 1:
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
        _, outputs = self._targets[0]
        missing = [folder for folder in outputs.new_folders if not folder.exists()]
        outputs.make_folders()
        try:
            return TrainJob(self.choice.training(config), config.scenes, reason=self.choice.why)
        except GeosegError:
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()
            raise


def _expanded(scenes: Sequence[Location]) -> Iterator[Location]:
    """Yield the scenes; in place of a folder, the imagery in it without what geoseg wrote there."""
    for scene in scenes:
        if isinstance(scene, Path) and scene.is_dir():
            yield from select_imagery(local(*find_rasters(scene)), scene)
        else:
            yield scene


def _named(scene: Location, error: GeosegError) -> str:
    """The message of an error on one line, with the scene that it belongs to."""
    text = " ".join(str(error).split())
    return text if str(scene) in text else f"{scene}: {text}"
