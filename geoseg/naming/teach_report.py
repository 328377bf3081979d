"""What a teaching found out, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.model.file import Model
from geoseg.naming.gathering import Gathering, Sample
from geoseg.naming.lesson import Lesson
from geoseg.naming.reference import Reference
from geoseg.naming.suggestions import Suggestion, unreached
from geoseg.naming.validation import Validation, doubts, square_side


@dataclass(frozen=True)
class TaughtClass:
    """A class of a taught model.

    Attributes:
        name: Its name in the class map.
        references: Features, or pixels of a raster, that name it.
        superpixels: Superpixels that it was taught with, those of earlier teachings too.
        recall: Share of its judged superpixels that the others give this class; NaN where none was judged.
        precision: Share of the superpixels given this class that are of it; NaN where there are none.
    """

    name: str
    references: int
    superpixels: int
    recall: float
    precision: float


@dataclass(frozen=True)
class Contradiction:
    """A superpixel whose reference contradicts the others.

    Attributes:
        x, y: Where it is, in the CRS of the scene; None for a superpixel of another scene.
        given: The class that its reference names.
        found: The class that the other references give it.
        probability: Of that class.
        neighbours: References near it.
        differing: How many of these are of another class than it.
    """

    x: float | None
    y: float | None
    given: str
    found: str
    probability: float
    neighbours: int
    differing: int


@dataclass(frozen=True, eq=False)
class TeachReport:
    """What a teaching found out.

    Attributes:
        model: The model file that was written.
        next: GeoPackage of the superpixels to look at next; None if there is none.
        classes: The classes.
        left_out: Reason -> number of features, or of pixels of a raster, that teach nothing.
        ambiguous: Superpixels that references of several classes hit.
        scarce: Superpixels of which references cover less than half.
        agreement: Share of judged superpixels that get their own class in the cross-validation; NaN without any.
        judged: Number of judged superpixels.
        squares: Number of squares that references lie in.
        side: Side of a square in pixels.
        confusion: int64 (C, C), judged superpixels by their class (rows) and the one found (columns).
        temperature: Of confidence.
        contradictions: Superpixels whose references contradict the others.
        unreached: Name of the cluster -> its share of the sampled area, of those that no reference reaches.
        suggestions: Superpixels to look at next: x, y, the likeliest classes, and what it would tell.
    """

    model: Path
    next: Path | None
    classes: Sequence[TaughtClass]
    left_out: Mapping[str, int]
    ambiguous: int
    scarce: int
    agreement: float
    judged: int
    squares: int
    side: int
    confusion: NDArray[np.int64]
    temperature: float
    contradictions: Sequence[Contradiction]
    unreached: Mapping[str, float]
    suggestions: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object; a rate without a case is null."""
        return {
            "model": str(self.model),
            "next": None if self.next is None else str(self.next),
            "classes": [{key: _plain(value) for key, value in vars(entry).items()} for entry in self.classes],
            "left_out": dict(self.left_out),
            "ambiguous_superpixels": self.ambiguous,
            "scarcely_covered_superpixels": self.scarce,
            "agreement": _plain(self.agreement),
            "judged": self.judged,
            "squares": self.squares,
            "square_side_px": self.side,
            "confusion": self.confusion.tolist(),
            "temperature": self.temperature,
            "contradictions": [{key: _plain(value) for key, value in vars(c).items()} for c in self.contradictions],
            "unreached_clusters": {name: round(share, 4) for name, share in self.unreached.items()},
            "suggestions": list(self.suggestions),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    return value


def report_of(
    model: Model, validation: Validation, lesson: Lesson, reference: Reference, gathering: Gathering,
    sample: Sample | None, suggestions: Sequence[Suggestion], path: Path, next_path: Path | None, transform: Any,
    scene: int,
) -> TeachReport:  # fmt: skip
    """Return the report of a teaching.

    Args:
        model: The model that was taught.
        validation: Of its references.
        lesson: Its classes.
        reference: The references.
        gathering: The superpixels that they make known.
        sample: Superpixels of the scene.
        suggestions: Superpixels to look at next.
        path, next_path: The files.
        transform: From (col, row) to the CRS of the scene.
        scene: Number of the scene.
    """
    teaching, size = model.teaching, model.superpixels.size
    assert teaching is not None
    entries = lesson.classes.classes
    # Outputs that were merged are one class.
    group = np.array([_position(lesson, index) for index in range(len(lesson.names))], np.int64)
    names = [entries[position].name for position in group]
    confusion = np.zeros((len(entries), len(entries)), np.int64)
    np.add.at(confusion, (group[:, None], group[None, :]), validation.confusion)
    judged = int(confusion.sum())

    def place(row: int, col: int) -> tuple[float, float]:
        x, y = transform @ (col + 0.5, row + 0.5)
        return float(x), float(y)

    contradictions = []
    for doubt in doubts(teaching.references, validation, size):
        number, _, row, col = teaching.references.places[doubt.index].tolist()
        x, y = place(row, col) if number == scene else (None, None)
        given = names[int(teaching.references.classes[doubt.index])]
        if given == names[doubt.found]:
            continue
        contradictions.append(
            Contradiction(x, y, given, names[doubt.found], doubt.probability, doubt.neighbours, doubt.differing)
        )
    left_out = dict(reference.left_out) | {"on nodata": gathering.lost}
    unknown = sum(reference.counts[i] for i, index in enumerate(lesson.indices) if index < 0)
    left_out["of a class that the model was not taught"] = unknown
    clusters = {k: entry.name for entry in teaching.clusters.classes for k in entry.clusters}
    reached = {} if sample is None else unreached(teaching, sample)
    return TeachReport(
        path, next_path, _classes(lesson, reference, model, group, confusion),
        {reason: number for reason, number in left_out.items() if number}, len(gathering.contradictions),
        gathering.scarcely, float(np.trace(confusion)) / judged if judged else float("nan"), judged, validation.squares,
        square_side(size), confusion, validation.temperature, contradictions,
        {clusters[k]: share for k, share in reached.items()},
        [_suggestion(each, place(each.row, each.col), names) for each in suggestions],
    )  # fmt: skip


def _position(lesson: Lesson, index: int) -> int:
    """The place in the class map of the class with an index."""
    return next(i for i, entry in enumerate(lesson.classes.classes) if index + 1 in entry.clusters)


def _classes(
    lesson: Lesson, reference: Reference, model: Model, group: NDArray[np.int64], confusion: NDArray[np.int64]
) -> list[TaughtClass]:
    assert model.teaching is not None
    entries = lesson.classes.classes
    superpixels = np.bincount(group[model.teaching.references.classes], minlength=len(entries))
    right = np.diag(confusion).astype(float)
    with np.errstate(invalid="ignore"):
        recall, precision = (right / confusion.sum(axis=axis) for axis in (1, 0))
    named = [0] * len(entries)
    for position, index in enumerate(lesson.indices):
        if index >= 0:
            named[group[index]] += reference.counts[position]
    return [
        TaughtClass(entry.name, named[i], int(superpixels[i]), float(recall[i]), float(precision[i]))
        for i, entry in enumerate(entries)
    ]


def _suggestion(suggestion: Suggestion, place: tuple[float, float], names: Sequence[str]) -> dict[str, Any]:
    return {
        "x": place[0],
        "y": place[1],
        "likely": [[names[index], round(probability, 3)] for index, probability in suggestion.likely],
        "tells": round(suggestion.tells, 4),
    }
