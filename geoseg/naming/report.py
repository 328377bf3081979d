"""What a teaching found out, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
