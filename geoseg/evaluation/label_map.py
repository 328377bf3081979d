"""The label map: what the values, or the colours, of label rasters stand for. docs/commands.md describes its file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import IGNORED
from geoseg.errors import InputError
from geoseg.raster.guards import regular_file

_Entry = tuple[str, str | None, int | None]
"""Value or colour as written, name of its class (None: ignored), id of its class (None: not said)."""


@dataclass(frozen=True)
class LabelMap:
    """What label values stand for.

    ids, names: of the classes, in order of ids. index: value -> place in `ids`, or IGNORED. A colour counts as the
    value red * 65536 + green * 256 + blue.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    index: Mapping[int, int]
    colours: bool = False

    @classmethod
    def of_values(cls, values: Iterable[int], ignore: Iterable[int]) -> LabelMap:
        """Return the map in which every value is a class of its own, but for those to ignore."""
        ignored = set(ignore)
        ids = tuple(sorted(set(values) - ignored))
        index = {value: place for place, value in enumerate(ids)} | dict.fromkeys(ignored, IGNORED)
        return cls(ids, tuple(f"label {value}" for value in ids), index)

    def ignoring(self, values: Iterable[int]) -> LabelMap:
        """Return this map with `values` ignored too; a class without a value of its own is left out."""
        index = dict(self.index) | dict.fromkeys(values, IGNORED)
        kept = sorted({place for place in index.values() if place != IGNORED})
        moved = {old: new for new, old in enumerate(kept)} | {IGNORED: IGNORED}
        ids, names = tuple(self.ids[place] for place in kept), tuple(self.names[place] for place in kept)
        return LabelMap(ids, names, {value: moved[place] for value, place in index.items()}, self.colours)

    def told(self, value: int) -> str:
        """Return the value as a person writes it."""
        return f"{value >> 16},{value >> 8 & 255},{value & 255}" if self.colours else str(value)

    def places(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class index of each label value, IGNORED where it is to be ignored or not valid.

        Raises:
            KeyError: a valid value that the map does not know.
        """
        known = np.array(sorted(self.index), np.int64)
        places = np.array([self.index[value] for value in known.tolist()], np.int64)
        if not known.size:
            known, places = np.array([0]), np.array([IGNORED])
        where = np.searchsorted(known, values).clip(max=len(known) - 1)
        strange = valid & (known[where] != values)
        if strange.any():
            raise KeyError(f"label value {self.told(int(values[strange][0]))} is unknown")
        found: NDArray[np.int64] = np.where(valid, places[where], IGNORED)
        return found


def read_label_map(path: Path) -> LabelMap:
    """Return the label map in a JSON or CSV file.

    Raises:
        InputMissingError, InputError: no file, or not of either format; the message names the entry.
    """
    file = regular_file(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        entries = list((_json_entries if path.suffix.lower() == ".json" else _csv_entries)(text))
        return _label_map(entries)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        told = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: is no label map ({told}); docs/commands.md describes both formats") from error


def _json_entries(text: str) -> Iterable[_Entry]:
    pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    if not _is_object(pairs):
        raise ValueError("it is not one JSON object")
    for key, said in pairs:
        if _is_object(said):
            entry = dict(said)
            yield key, str(entry["name"]), int(entry["id"]) if "id" in entry else None
        elif said is None or isinstance(said, str):
            yield key, said, None
        else:
            raise ValueError(f"{key} stands for {said!r}, which is no name")


def _is_object(value: Any) -> bool:
    """A JSON object as its pairs, so that a key that is there twice is noticed."""
    return isinstance(value, list) and all(isinstance(pair, tuple) for pair in value)


def _csv_entries(text: str) -> Iterable[_Entry]:
    for row in csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True):
        number = (row.get("id") or "").strip()
        yield row["value"], (row["name"] or "").strip() or None, int(number) if number else None


def _label_map(entries: Sequence[_Entry]) -> LabelMap:
    colours = any(not _is_number(key) for key, _, _ in entries)
    values = [_value(key, colours) for key, _, _ in entries]
    if len(set(values)) < len(values):
        doubled = next(key for (key, _, _), value in zip(entries, values, strict=True) if values.count(value) > 1)
        raise ValueError(f"{doubled} is there twice")
    ids: dict[str, int] = {}
    for place, (value, (_, name, number)) in enumerate(zip(values, entries, strict=True), start=1):
        if name is None:
            continue
        said = number if number is not None else ids.get(name, place if colours else value)
        if ids.setdefault(name, said) != said:
            raise ValueError(f"{name} has the ids {ids[name]} and {said}")
    if len(set(ids.values())) < len(ids):
        raise ValueError("two names have the same id")
    if not ids:
        raise ValueError("it names no class")
    names = tuple(sorted(ids, key=ids.__getitem__))
    index = {
        value: IGNORED if name is None else names.index(name)
        for value, (_, name, _) in zip(values, entries, strict=True)
    }
    return LabelMap(tuple(ids[name] for name in names), names, index, colours)


def _is_number(key: str) -> bool:
    return re.fullmatch(r"\s*-?\d+\s*", key) is not None


def _value(key: str, colours: bool) -> int:
    if not colours:
        return int(key)
    hexadecimal = re.fullmatch(r"\s*#([0-9a-fA-F]{6})\s*", key)
    if hexadecimal:
        return int(hexadecimal[1], 16)
    numbers = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", key)
    if not numbers or max(map(int, numbers.groups())) > 255:
        raise ValueError(f"{key!r} is neither a colour, such as 255,0,0, nor are all of them whole numbers")
    red, green, blue = map(int, numbers.groups())
    return red << 16 | green << 8 | blue
