"""Puts together what a teaching found out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.model.file import Model
from geoseg.naming.gathering import Gathering, Sample
from geoseg.naming.lesson import Lesson
from geoseg.naming.reference import Reference
from geoseg.naming.report import Contradiction, TaughtClass, TeachReport
from geoseg.naming.suggestions import Suggestion, unreached
from geoseg.naming.validation import Validation, doubts, square_side


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
