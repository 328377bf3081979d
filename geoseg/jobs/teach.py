"""geoseg teach: a model, a scene and references of its land cover to a model of named classes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoseg.classes import ClassMap
from geoseg.config import TeachConfig
from geoseg.errors import InputError, SettingError
from geoseg.files.atomic import Staging, sha256
from geoseg.files.record import EARLIER
from geoseg.files.targets import check_target
from geoseg.grid import Block, Grid, partition
from geoseg.jobs.job import Job
from geoseg.location import local
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.inference import select_device, select_precision
from geoseg.model.teaching import References, Teaching, feature_count
from geoseg.naming.colours import coloured
from geoseg.naming.fitting import fit_teaching, standardisation
from geoseg.naming.gathering import Gathering, Sample
from geoseg.naming.lesson import lesson_of
from geoseg.naming.looks import Display
from geoseg.naming.reference import RasterReference, Reference, VectorReference
from geoseg.naming.suggestions import Suggestion, suggest
from geoseg.naming.teach_report import TeachReport, report_of
from geoseg.naming.validation import validate
from geoseg.outputs.suggestions import Outlined, write_suggestions
from geoseg.prediction.bands import open_for, recorded_bands
from geoseg.prediction.experts import steps_of
from geoseg.prediction.fit import fit
from geoseg.prediction.memory import check_memory, demand_of
from geoseg.prediction.plan import default_batch_size, default_workers, plan
from geoseg.prediction.predictor import Observed, Predictor
from geoseg.prediction.taught import start_of
from geoseg.raster.guards import regular_file
from geoseg.runs.ranked import Ranked
from geoseg.vector.writer import vector_sidecars
from geoseg.version import __version__

log = logging.getLogger(__name__)

BLOCK_SIZE = 1024
_SAMPLED = 16
"""Blocks of the sample, evenly spaced over the scene."""


@dataclass(frozen=True)
class Looked:
    """A block that was looked at.

    Attributes:
        block: The block.
        superpixels: References found so far.
    """

    block: Block
    superpixels: int


class TeachJob(Job[Looked]):
    """One teaching. A context manager.

    Args:
        config: The settings.

    Attributes:
        model: The model that is taught.

    Raises:
        InputMissingError, InputError, BandError: The model, the scene or the references are missing, damaged or
            unsuitable.
        OutputError: An output cannot or must not be written.
        SettingError, UnavailableError: Settings do not fit the inputs, or the device is not available.
    """

    stage, unit = "teach", "block"

    def __init__(self, config: TeachConfig) -> None:
        self.config = config
        self._report: TeachReport | None = None
        self._files = ExitStack()
        try:
            regular_file(config.model)
            regular_file(config.reference)
            self._check_outputs()
            self.device = select_device(config.device)
            self.precision = select_precision(config.precision, self.device)
            self.model = load_model(config.model)
            self.scene = open_for(self.model, config.scene, config.bands, config.assume_crs, config)
            self._files.callback(self.scene.close)
            self._check_outputs()
            self._fit = fit(self.model, self.scene, config.scene, config.rescale)
            for remark in filter(None, (self._fit.fill, *self._fit.remarks)):
                log.warning("%s: %s", config.scene, remark)
            self._reference = self._open_reference()
            self._prepare()
        except BaseException:
            self._files.close()
            raise
        self.total = len(self._blocks)

    def close(self) -> None:
        """Close the scene and the references."""
        self._files.close()

    @property
    def report(self) -> TeachReport:
        """What was found out, once `run` is exhausted."""
        if self._report is None:
            raise RuntimeError("there is no report until the job has run to its end")
        return self._report

    def describe(self, receipt: Looked) -> str:
        """Return how many superpixels are known so far."""
        return f"{receipt.superpixels} superpixels with references"

    def run(self, command: str = "") -> Generator[Looked]:
        """Look at the blocks with references and at a sample of the others, then teach and write.

        Raises:
            InputError: No reference teaches anything, or the scene cannot be decoded or has changed.
            WriteError: The file system failed.
        """
        gathering = Gathering(self._reference, self._number, self._lesson.indices)
        cols = self._plan.cached_cols(self.scene.path)
        with self.scene.caching(self._plan.read_rows, cols=cols), self._predictor() as predictor:
            for block, observed in self._observed(predictor):
                if observed is None:
                    gathering.skip(block)
                else:
                    gathering.add(observed, block.index in self._sampled)
                yield Looked(block, gathering.found)
            self.scene.check_unchanged("run the same command again when it is complete")
            references, sample = gathering.references(), gathering.sample()
            self._check_found(gathering, references)
            assert references is not None
            teaching = self._teach(references, sample)
            suggestions = [] if sample is None else suggest(teaching, sample, self.config.suggestions)
            outlined = self._outlined(predictor, suggestions, teaching) if suggestions else []
        taught = self._taught(teaching, gathering)
        self._publish(taught, outlined)
        self._report = report_of(
            taught, self._validation, self._lesson, self._reference, gathering, sample,
            suggestions, self.config.written, self.config.suggested if suggestions else None,
            self.scene.georeference.transform, self._number,
        )  # fmt: skip

    def _open_reference(self) -> Reference:
        config = self.config
        if config.is_raster:
            raster = RasterReference(config.reference, self.scene, config.auxiliary)
            self._files.callback(raster.close)
            return raster
        assert config.field is not None
        return VectorReference(
            config.reference, config.field, config.reference_layer, self.scene.georeference, self.scene.extent,
            self.model.superpixels.size,
        )  # fmt: skip

    def _prepare(self) -> None:
        """Find out what is to be taught, and which blocks are to be looked at."""
        config, model, reference = self.config, self.model, self._reference
        if not reference.values:
            reasons = [f"{number} {reason}" for reason, number in reference.left_out.items() if number]
            raise InputError(
                f"{config.reference}: has no reference in {config.scene}"
                + (f" ({', '.join(reasons)})" if reasons else "")
            )
        known = None if config.field is None else config.field
        try:
            self._lesson = lesson_of(model, reference.values, reference.names, config.known_only)
        except SettingError as error:
            raise SettingError(f"{config.reference}: {error}") from error
        self._field = known or "class"
        scenes = () if model.teaching is None else model.teaching.scenes
        digest = self._digest()
        self._scenes = scenes if digest in scenes else (*scenes, digest)
        self._number = self._scenes.index(digest)
        every = partition(self.scene.extent, BLOCK_SIZE)
        count = min(_SAMPLED, len(every))
        self._sampled = {every[(2 * i + 1) * len(every) // (2 * count)].index for i in range(count)}
        self._blocks = [b for b in every if b.index in self._sampled or reference.touches(b.window)]
        grid = Grid(self.scene.shape, model.windows.tile_size, model.windows.overlap)
        self._plan = plan(grid, model.superpixels, self.scene.extent, BLOCK_SIZE, steps=steps_of(model, 0))
        self._batch = default_batch_size(self.device.type)
        self._workers = config.workers or default_workers()
        demand = demand_of(self.scene, model, self._plan, BLOCK_SIZE, self._batch, self._workers, self.device)
        check_memory(str(config.scene), demand, options=False)

    def _digest(self) -> str:
        """What distinguishes the scene, and how it is read, from others."""
        facts: dict[str, Any] = {"scene": self.scene.summary(), **recorded_bands(self.scene)}
        if self._fit.conversion is not None:
            facts["conversion"] = self._fit.conversion.to_json()
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _predictor(self) -> Predictor:
        return Predictor(
            self.scene, self.model, self._plan, self.device, self.precision, "hann", self._batch, self._workers,
            conversion=self._fit.conversion, teaching=True, blocks=[block.index for block in self._blocks],
        )  # fmt: skip

    def _observed(self, predictor: Predictor) -> Iterator[tuple[Block, Observed | None]]:
        """Yield each block with its superpixels; the next one is read meanwhile."""
        blocks = Ranked(self._plan.blocks, [block.index for block in self._blocks])
        with ThreadPoolExecutor(1) as reader:
            upcoming = [reader.submit(predictor.prepare, block) for block in blocks[:1]]
            for index, block in enumerate(blocks):
                prepared = upcoming.pop().result()
                upcoming = [reader.submit(predictor.prepare, each) for each in blocks[index + 1 : index + 2]]
                yield block, predictor.observe(prepared, predictor.logits(prepared))

    def _check_found(self, gathering: Gathering, references: References | None) -> None:
        if references is not None:
            return
        reasons = [f"{number} {reason}" for reason, number in self._reference.left_out.items() if number]
        reasons += [f"{gathering.lost} on nodata"] if gathering.lost else []
        reasons += [f"{len(gathering.contradictions)} superpixels of several classes"] * bool(gathering.contradictions)
        reasons += [f"{gathering.scarcely} superpixels covered by less than half"] * bool(gathering.scarcely)
        raise InputError(f"{self.config.reference}: no reference teaches anything: {', '.join(reasons) or 'none left'}")

    def _teach(self, references: References, sample: Sample | None) -> Teaching:
        """Return what the model is taught by all references, with the temperature that they lead to."""
        basis = self._basis(references, sample)
        references = basis.references.and_more(references)
        if len(np.unique(references.classes)) < 2:
            raise SettingError("all references that teach something are of one class; give those of two or more")
        teaching = fit_teaching(basis, references)
        size = self.model.superpixels.size
        self._validation = validate(teaching, references, size, lambda part: fit_teaching(basis, part))
        return replace(teaching, temperature=self._validation.temperature)

    def _basis(self, references: References, sample: Sample | None) -> Teaching:
        """What does not depend on references: of an earlier teaching, or else of this scene."""
        model, names = self.model, self._lesson.names
        C, K = len(names), model.spec.classes
        if model.teaching is not None:
            return replace(model.teaching, names=names, scenes=self._scenes)
        start = start_of(model)
        D = feature_count(start, len(model.bands))
        centre, deviation = standardisation((sample or references).features)
        return Teaching(
            names, model.classes, start, np.full((K, C), 1 / C), centre, deviation, np.zeros((C, D)), np.zeros(C),
            References.none(D, K), self._scenes,
        )  # fmt: skip

    def _taught(self, teaching: Teaching, gathering: Gathering) -> Model:
        config = self.config
        entry = {
            "geoseg": __version__,
            "model_sha256": self.model.sha256,
            "scene": self.scene.summary(),
            "reference": {"name": config.reference.name, "sha256": sha256(config.reference)},
            "field": config.field,
            "superpixels": gathering.found,
        }
        classes = self._lesson.classes
        if self.model.appearance is not None:
            display = Display.of(self.model.bands, self.model.dtype, self.model.stats, self.model.scaling)
            appearance = self.model.appearance.mixed(teaching.votes.T)
            classes = coloured(classes, display.looks(appearance.merged([entry.clusters for entry in classes.classes])))
        if self.model.teaching is not None:
            # Those that it was taught before may have got their colours from somebody.
            old = {entry.name: entry.colour for entry in self.model.classes.classes}
            classes = ClassMap(tuple(replace(each, colour=old.get(each.name, each.colour)) for each in classes.classes))
        # Maps of the models before have other clusters, though checksums of these are among the earlier ones.
        provenance = {name: fact for name, fact in self.model.provenance.items() if name != EARLIER}
        provenance["teaching"] = [*provenance.get("teaching", []), entry]
        return replace(self.model, classes=classes, teaching=teaching, provenance=provenance)

    def _outlined(self, predictor: Predictor, found: list[Suggestion], teaching: Teaching) -> list[Outlined]:
        """Return the outlines of superpixels; their blocks are cut once more."""
        blocks = {block.index: block for block in self._blocks}
        outlined: dict[int, Outlined] = {}
        for index in sorted({suggestion.block for suggestion in found}):
            prepared = predictor.prepare(blocks[index])
            assert prepared.superpixels is not None
            for suggestion in (each for each in found if each.block == index):
                label = int(np.flatnonzero(prepared.superpixels.ids == suggestion.superpixel)[-1])
                rows, cols = np.nonzero(prepared.superpixels.labels == label)
                top, left = int(rows.min()), int(cols.min())
                mask = np.zeros((int(rows.max()) - top + 1, int(cols.max()) - left + 1), np.bool_)
                mask[rows - top, cols - left] = True
                origin = prepared.area.rows.start + top, prepared.area.cols.start + left
                names = [self._lesson.name(index) for index, _ in suggestion.likely]
                outlined[suggestion.superpixel] = Outlined(
                    mask, origin, " or ".join(names), suggestion.likely[0][1] if suggestion.likely else 0.0
                )
        return [outlined[suggestion.superpixel] for suggestion in found]

    def _check_outputs(self) -> None:
        config = self.config
        inputs = local(config.model, config.scene, config.reference)
        files = self.scene.files if hasattr(self, "scene") else ()
        for path in filter(None, (config.written, config.suggested)):
            check_target(path, config.overwrite, (*inputs, *files))

    def _publish(self, model: Model, outlined: list[Outlined]) -> None:
        out, target = self.config.written, self.config.suggested
        with Staging(out) as staging:
            save_model(model, staging.path(out))
            stale = []
            if target is not None:
                stale = [target, *vector_sidecars(target)]
                if outlined:
                    write_suggestions(staging.path(target), outlined, self.scene.georeference, self._field)
            staging.commit(stale)
