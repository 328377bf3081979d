"""From a class to a class: the classes of a raster of transitions, and the matrix of their areas.

With C classes, in the order of their ids, the transition from the i-th to the j-th (counted from 1) has the id
(i - 1) C + j. So an id depends on the class map alone, not on what happens to occur in two maps; ids are 1..C², without
gaps; and there are tables, styles and polygons of transitions as there are of classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError
from geoseg.outputs.area_tables import HECTARE, csv_bytes, hectares, shares
from geoseg.outputs.class_areas import ClassArea
from geoseg.raster.class_raster import ClassRaster

MAX_CLASSES = 255
"""Their transitions have ids that uint16 holds."""

_DENSE = 1 << 17
_PALE = 0.85
"""How white the colour of a class is where nothing changed."""
_TRACE = 0.25
"""How much of the colour of the old class is in that of a change."""


@dataclass(frozen=True)
class Transitions:
    """The transitions between classes.

    Attributes:
        classes: The classes in order of their ids, at most `MAX_CLASSES`.
    """

    classes: tuple[LandClass, ...]

    @cached_property
    def class_map(self) -> ClassMap:
        """A class for each transition, called "Grass -> Building" or "Grass (unchanged)".

        A change has the colour of the new class with a trace of the old one; what did not change is pale.
        """
        entries, taken = [], set[str]()
        for number, (old, new) in enumerate(((old, new) for old in self.classes for new in self.classes), 1):
            name = f"{old.name} (unchanged)" if old == new else f"{old.name} -> {new.name}"
            # Classes may have names like those of transitions.
            name = f"{name} [{number}]" if name in taken else name
            taken.add(name)
            colour = _mixed(new, (255, 255, 255), _PALE) if old == new else _mixed(new, old.rgb, _TRACE)
            entries.append(LandClass(number, name, colour))
        return ClassMap(tuple(entries))

    def pair(self, transition: int) -> tuple[LandClass, LandClass]:
        """Return the old and the new class of a transition."""
        old, new = divmod(transition - 1, len(self.classes))
        return self.classes[old], self.classes[new]

    @property
    def unchanged(self) -> frozenset[int]:
        """The ids of transitions from a class to itself."""
        return frozenset(range(1, len(self.classes) ** 2 + 1, len(self.classes) + 1))

    def index(self, raster: ClassRaster) -> ClassIndex:
        """Return what turns the values of a class raster into positions among the classes."""
        return ClassIndex(raster, [entry.id for entry in self.classes])

    def of(self, old: NDArray[np.uint16], new: NDArray[np.uint16]) -> NDArray[Any]:
        """Return the ids of transitions, 0 where one of the maps has no class.

        Args:
            old: Positions of classes, uint16 (rows, cols), counted from 1; 0 is no class.
            new: Likewise.
        """
        count = len(self.classes)
        starts = np.maximum(np.arange(count + 1) - 1, 0) * count
        ids: NDArray[Any] = starts.astype(self.class_map.dtype)[old] + new.astype(self.class_map.dtype)
        ids[(old == 0) | (new == 0)] = 0
        return ids

    def matrix(self, areas: Mapping[int, ClassArea]) -> bytes:
        """Return the matrix as CSV: old classes in rows, new ones in columns, once in hectares and once in pixels.

        Args:
            areas: Transition -> area. Classes that occur on neither date are left out; without areas in m² there are no
                rows of hectares.
        """
        pairs = {(old.id, new.id): area for value, area in areas.items() for old, new in [self.pair(value)]}
        used = [entry for entry in self.classes if any(entry.id in pair for pair in pairs)]
        rows = [["unit", "from_id", "from", *(f"to {entry.name}" for entry in used), "total"]]
        for unit in ("ha", "px"):
            if unit == "ha" and any(area.m2 is None for area in areas.values()):
                continue
            for entry in used:
                cells = [_amount(pairs.get((entry.id, other.id)), unit) for other in used]
                rows.append([unit, str(entry.id), entry.name, *_written(cells, unit)])
            sums = [sum(_amount(pairs.get((other.id, entry.id)), unit) for other in used) for entry in used]
            rows.append([unit, "", "total", *_written(sums, unit)])
        return csv_bytes(rows)

    def table(self, areas: Mapping[int, ClassArea]) -> bytes:
        """Return a CSV with a row for each transition that occurs, the largest first."""
        rows = [["class_id", "from_id", "from", "to_id", "to", "changed", "pixels", "ha", "percent"]]
        share = shares(areas)
        for value in sorted(areas, key=lambda value: (-areas[value].pixels, value)):
            (old, new), area = self.pair(value), areas[value]
            changed = "no" if old == new else "yes"
            rows.append(
                [str(value), str(old.id), old.name, str(new.id), new.name, changed, str(area.pixels),
                 hectares(area.m2),
                 f"{100 * share[value]:.4f}"]
            )  # fmt: skip
        return csv_bytes(rows)


class ClassIndex:
    """Turns the values of a class raster into positions among some classes.

    Args:
        raster: The class raster.
        ids: The ids of the classes, ascending.
    """

    def __init__(self, raster: ClassRaster, ids: Sequence[int]) -> None:
        self._raster = raster
        self._values = np.array([0, *(value + raster.offset for value in ids)], np.int64)
        last = int(self._values[-1])
        self._table: NDArray[np.uint16] | None = None
        if last < _DENSE:
            self._table = np.full(last + 1, len(self._values), np.uint16)
            self._table[self._values] = np.arange(len(self._values))

    def of(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the positions, uint16 (rows, cols), counted from 1; 0 is no class.

        Raises:
            InputError: A pixel has none of the classes.
        """
        if self._table is not None:
            found: NDArray[np.uint16] = self._table[np.minimum(values, len(self._table) - 1)]
            wrong = (found == len(self._values)) | (values >= len(self._table))
        else:
            found = np.searchsorted(self._values, values).astype(np.uint16)
            wrong = self._values[np.minimum(found, len(self._values) - 1)] != values
        if wrong.any():
            value = int(values[wrong][0]) - self._raster.offset
            raise InputError(
                f"{self._raster.path}: has pixels of class {value}, which has no name; give the raster a legend that "
                "names all of its values, or --nodata if it stands for no class"
            )
        return found


def _amount(area: ClassArea | None, unit: str) -> float:
    if area is None:
        return 0
    return area.pixels if unit == "px" or area.m2 is None else area.m2 / HECTARE


def _written(cells: Sequence[float], unit: str) -> Iterable[str]:
    """The cells and their sum as text."""
    return (f"{cell:.6f}" if unit == "ha" else f"{cell:.0f}" for cell in (*cells, sum(cells)))


def _mixed(entry: LandClass, other: tuple[int, int, int], share: float) -> str:
    levels = (round(one + share * (two - one)) for one, two in zip(entry.rgb, other, strict=True))
    return "#" + "".join(f"{level:02x}" for level in levels)
