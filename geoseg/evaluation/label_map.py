"""Label maps: which class each value, or colour, of a label raster stands for.

docs/commands/evaluate.md describes the file formats.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORED
from geoseg.errors import InputError
from geoseg.raster.guards import regular_file


class _Entry(NamedTuple):
    """One entry of a file: a value or colour as written, the name of its class (None: ignored), its id if given."""

    key: str
    name: str | None
    id: int | None


@dataclass(frozen=True)
class LabelMap:
    """The classes of label values.

    A colour is held as the value red * 65536 + green * 256 + blue.

    Attributes:
        ids: Ids of the C classes, in ascending order.
        names: Names of the classes, in the order of `ids`.
        index: Label value -> class index in 0..C-1, or IGNORED.
        colours: Whether the values are colours.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    index: Mapping[int, int]
    colours: bool = False

    @classmethod
    def from_values(cls, values: Iterable[int], ignore: Iterable[int]) -> LabelMap:
        """Return the label map in which each value is a class of its own, except those to ignore."""
        ignored = set(ignore)
        ids = tuple(sorted(set(values) - ignored))
        index = {value: i for i, value in enumerate(ids)} | dict.fromkeys(ignored, IGNORED)
        return cls(ids, tuple(f"label {value}" for value in ids), index)

    def ignoring(self, values: Iterable[int]) -> LabelMap:
        """Return this label map with `values` ignored as well, without the classes that lose their last value."""
        index = dict(self.index) | dict.fromkeys(values, IGNORED)
        kept = sorted({i for i in index.values() if i != IGNORED})
        moved = {old: new for new, old in enumerate(kept)} | {IGNORED: IGNORED}
        ids, names = tuple(self.ids[i] for i in kept), tuple(self.names[i] for i in kept)
        return LabelMap(ids, names, {value: moved[i] for value, i in index.items()}, self.colours)

    def format_value(self, value: int) -> str:
        """Return a label value as text: '7', or '255,0,0' for a colour."""
        return f"{value >> 16},{value >> 8 & 255},{value & 255}" if self.colours else str(value)

    def class_indices(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class index of each pixel, IGNORED where it is ignored or not valid.

        Args:
            values: Label values, of any integer type and shape.
            valid: bool, of the same shape.

        Raises:
            KeyError: A valid pixel has a value that is not in the label map.
        """
        known = np.array(sorted(self.index), np.int64)
        indices = np.array([self.index[value] for value in known.tolist()], np.int64)
        if not known.size:
            known, indices = np.array([0]), np.array([IGNORED])
        position = np.searchsorted(known, values).clip(max=len(known) - 1)
        unknown = valid & (known[position] != values)
        if unknown.any():
            raise KeyError(f"label value {self.format_value(int(values[unknown][0]))} is unknown")
        found: NDArray[np.int64] = np.where(valid, indices[position], IGNORED)
        return found


def read_label_map(path: Path) -> LabelMap:
    """Return the label map in a file: JSON by its suffix, CSV otherwise.

    Raises:
        InputMissingError: There is no such file.
        InputError: The file is not a label map; the message names the entry.
    """
    file = regular_file(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        entries = list((_json_entries if path.suffix.lower() == ".json" else _csv_entries)(text))
        return _label_map(entries)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        message = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path}: is not a label map ({message}); docs/commands/evaluate.md describes both formats"
        ) from error


def _json_entries(text: str) -> Iterator[_Entry]:
    # Objects are read as lists of pairs, so that repeated keys are noticed.
    pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    if not _is_object(pairs):
        raise ValueError("it is not a single JSON object")
    for key, value in pairs:
        if _is_object(value):
            entry = dict(value)
            yield _Entry(key, str(entry["name"]), int(entry["id"]) if "id" in entry else None)
        elif value is None or isinstance(value, str):
            yield _Entry(key, value, None)
        else:
            raise ValueError(f"{key} stands for {value!r}, which is not a name")


def _is_object(value: Any) -> bool:
    """Whether a value that was read as above is a JSON object."""
    return isinstance(value, list) and all(isinstance(pair, tuple) for pair in value)


def _csv_entries(text: str) -> Iterator[_Entry]:
    for row in csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True):
        class_id = (row.get("id") or "").strip()
        yield _Entry(row["value"], (row["name"] or "").strip() or None, int(class_id) if class_id else None)


def _label_map(entries: Sequence[_Entry]) -> LabelMap:
    colours = any(not _is_integer(entry.key) for entry in entries)
    values = [_parse_value(entry.key, colours) for entry in entries]
    if len(set(values)) < len(values):
        repeated = next(e.key for e, value in zip(entries, values, strict=True) if values.count(value) > 1)
        raise ValueError(f"{repeated} appears twice")
    ids = _class_ids(entries, values, colours)
    names = tuple(sorted(ids, key=ids.__getitem__))
    index = {
        value: IGNORED if entry.name is None else names.index(entry.name)
        for value, entry in zip(values, entries, strict=True)
    }
    return LabelMap(tuple(ids[name] for name in names), names, index, colours)


def _class_ids(entries: Sequence[_Entry], values: Sequence[int], colours: bool) -> dict[str, int]:
    """The id of each class by its name: the one given, else its first value, or for colours its place in the file."""
    ids: dict[str, int] = {}
    for place, (value, entry) in enumerate(zip(values, entries, strict=True), start=1):
        if entry.name is None:
            continue
        class_id = entry.id if entry.id is not None else ids.get(entry.name, place if colours else value)
        if ids.setdefault(entry.name, class_id) != class_id:
            raise ValueError(f"{entry.name} has two ids, {ids[entry.name]} and {class_id}")
    if len(set(ids.values())) < len(ids):
        raise ValueError("two names have the same id")
    if not ids:
        raise ValueError("it names no class")
    return ids


def _is_integer(key: str) -> bool:
    return re.fullmatch(r"\s*-?\d+\s*", key) is not None


def _parse_value(key: str, colours: bool) -> int:
    if not colours:
        return int(key)
    hexadecimal = re.fullmatch(r"\s*#([0-9a-fA-F]{6})\s*", key)
    if hexadecimal:
        return int(hexadecimal[1], 16)
    channels = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", key)
    if not channels or max(map(int, channels.groups())) > 255:
        raise ValueError(f"{key!r} is not a colour, such as 255,0,0; the keys are either all colours or all integers")
    red, green, blue = map(int, channels.groups())
    return red << 16 | green << 8 | blue
