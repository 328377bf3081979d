"""Class maps as files that people edit: CSV for spreadsheets, JSON for programs and for the page of a report."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError, InputMissingError, OutputError, SettingError, first_line
from geoseg.files.atomic import publish_bytes
from geoseg.raster.guards import regular_file

SUFFIXES = (".csv", ".json")

_COLUMNS = ("id", "name", "colour", "clusters")
_SPELLINGS = {"color": "colour", "class": "name", "class_id": "id", "cluster": "clusters"}
_MAX_BYTES = 16 << 20
_FEW = 12
"""Ids that an error lists."""
_FORMULA = ("=", "+", "-", "@")
"""First characters of what a spreadsheet may take for a formula; a quote before them makes it text."""


def write_legend(classes: ClassMap, path: Path) -> None:
    """Write a class map to a CSV or JSON file, by its suffix.

    Raises:
        OutputError: The suffix is another.
        WriteError: The file system failed.
    """
    publish_bytes(path, legend_bytes(classes, path))


def legend_bytes(classes: ClassMap, path: Path) -> bytes:
    """Return the content of the file `path`: see `write_legend`."""
    match path.suffix.lower():
        case ".json":
            entries = [{**entry, "clusters": entry.get("clusters", [entry["id"]])} for entry in classes.to_json()]
            return (json.dumps({"classes": entries}, indent=1, ensure_ascii=False) + "\n").encode()
        case ".csv":
            # With a mark of its encoding, without which spreadsheets take it for another.
            return _csv(classes).encode("utf-8-sig")
    raise OutputError(f"{path}: name it {path.with_suffix('.csv').name} or {path.with_suffix('.json').name}")


def read_legend_file(path: Path, known: ClassMap | None = None) -> ClassMap:
    """Return the class map in a CSV or JSON file.

    Args:
        path: The file. Columns are found by their names, in any order; others are passed over.
        known: The class map that it changes. What the file leaves out of a class (colour, clusters) stays as it is
            there, and classes that it leaves out stay. None if it is all there is.

    Raises:
        InputMissingError, InputError: There is no such file, or it holds no class map.
    """
    content = regular_file(path)
    if content.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: has more than {_MAX_BYTES >> 20} MiB; it is no class map")
    return parse_legend(content.read_bytes(), path, known)


def parse_legend(content: bytes, path: Path, known: ClassMap | None = None) -> ClassMap:
    """Return the class map in the content of a file: see `read_legend_file`.

    Raises:
        InputError: It holds no class map.
    """
    try:
        text = content.decode("utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else _csv_rows(text)
        return _class_map([_normal(row) for row in rows], known)
    except (SettingError, InputMissingError) as error:
        raise InputError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8; save it as CSV in UTF-8") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, csv.Error) as error:
        raise InputError(
            f"{path}: holds no class map ({first_line(error)}); geoseg classes export writes one to begin with"
        ) from error


def _csv(classes: ClassMap) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for entry in classes.classes:
        name = f"'{entry.name}" if entry.name.startswith((*_FORMULA, "'")) else entry.name
        writer.writerow([entry.id, name, entry.colour, " ".join(map(str, entry.clusters))])
    return text.getvalue()


def _csv_rows(text: str) -> list[dict[str, Any]]:
    text = text.lstrip("\r\n")
    if text.lower().startswith("sep="):
        # Some spreadsheets say so what separates columns.
        text = text.partition("\n")[2]
    first = text.partition("\n")[0]
    # Spreadsheets write what their country separates lists by.
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[dict[str, Any]] = [{k: v for k, v in row.items() if k is not None} for row in reader]
    for row in rows:
        name = row.get("name")
        if isinstance(name, str) and name.startswith("'") and name[1:].startswith((*_FORMULA, "'")):
            row["name"] = name[1:]
    return [row for row in rows if any(isinstance(value, str) and value.strip() for value in row.values())]


def _json_rows(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    rows = content["classes"] if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("classes is no list of objects")
    return rows


def _normal(row: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are known, by their usual names; empty ones left out."""
    named = {_SPELLINGS.get(key.strip().lower(), key.strip().lower()): value for key, value in row.items()}
    return {
        key: named[key]
        for key in _COLUMNS
        if key in named and named[key] is not None and (not isinstance(named[key], str) or named[key].strip())
    }


def _class_map(rows: list[dict[str, Any]], known: ClassMap | None) -> ClassMap:
    if not rows:
        raise ValueError("it has no classes")
    entries: dict[int, LandClass] = {} if known is None else {entry.id: entry for entry in known.classes}
    listed: set[int] = set()
    for row in rows:
        if "id" not in row:
            raise ValueError("a class has no id")
        class_id = _integer(row["id"])
        if class_id in listed:
            raise SettingError(f"class {class_id} occurs twice")
        listed.add(class_id)
        if known is not None and class_id not in entries and "clusters" not in row:
            ids = ", ".join(map(str, sorted(entries)[:_FEW]))
            raise SettingError(f"there is no class {class_id}; the ids are {ids}" + ", ..." * (len(entries) > _FEW))
        old = entries.get(class_id) or LandClass.default(class_id)
        clusters = _clusters(row["clusters"]) if "clusters" in row else old.clusters
        if known is not None and max(clusters) > known.clusters:
            raise SettingError(f"class {class_id} has cluster {max(clusters)}; there are {known.clusters} clusters")
        if not isinstance(row.get("name", ""), str | int | float):
            raise TypeError(f"the name of class {class_id} is no text")
        name, colour = str(row.get("name", old.name)), str(row.get("colour", old.colour)).strip().lower()
        entries[class_id] = LandClass(class_id, name, colour, clusters)
    if known is not None:
        entries = _without_given(entries, known)
    return ClassMap(tuple(_merged(entries).values()))


def _merged(entries: dict[int, LandClass]) -> dict[int, LandClass]:
    """Make one class of those that have one name: the first, with the clusters of all."""
    found: dict[int, LandClass] = {}
    first: dict[str, int] = {}
    for class_id in sorted(entries):
        entry = entries[class_id]
        into = first.setdefault(entry.name.strip(), class_id)
        clusters = {*entry.clusters, *(found[into].clusters if into in found else ())}
        found[into] = replace(found.get(into, entry), clusters=tuple(clusters))
    return found


def _without_given(entries: dict[int, LandClass], known: ClassMap) -> dict[int, LandClass]:
    """Take from classes whose clusters are as before those that others have got; a class without any ends."""
    before = {entry.id: set(entry.clusters) for entry in known.classes}
    changed = {i for i, entry in entries.items() if set(entry.clusters) != before.get(i)}
    given = {cluster for i in changed for cluster in entries[i].clusters}
    found = {}
    for i, entry in entries.items():
        clusters = set(entry.clusters) if i in changed else set(entry.clusters) - given
        if clusters:
            found[i] = replace(entry, clusters=tuple(clusters))
    return found


def _clusters(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        return tuple(_integer(part) for part in re.split(r"[\s,;+]+", value.strip()))
    if isinstance(value, list):
        return tuple(map(_integer, value))
    return (_integer(value),)


def _integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\.0+)?\s*", value, re.ASCII):
        return int(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no whole number")
