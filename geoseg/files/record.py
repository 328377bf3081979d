"""The record beside an output: what it was made from, by what, and the SHA-256 of every file. One reader, one writer.

A record is written last, so an output that has one is complete. It is a JSON object: the provenance (version, scene or
raster, model, settings), `classes` of a map, and `files`: name relative to the record's folder -> SHA-256.
Rasters carry the same provenance in a tag of their own.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap
from geoseg.errors import InputError, InputMissingError, SettingError, first_line
from geoseg.files.atomic import publish_bytes, sha256
from geoseg.version import __version__

RECORD = ".geoseg.json"
"""Suffix of a record."""

RASTERS = (".tif", ".tiff")
"""Suffixes of rasters that geoseg writes."""

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)
"""What reading a value out of JSON raises where another kind of value stands."""

_PROVENANCE_TAG = "GEOSEG_PROVENANCE"


@dataclass(frozen=True)
class Record:
    """A record that was read.

    Attributes:
        path: Its own path.
        content: The JSON object.
        files: Path -> SHA-256 of every file it names.
    """

    path: Path
    content: Mapping[str, Any]
    files: Mapping[Path, str]

    @cached_property
    def classes(self) -> ClassMap | None:
        """The classes of the map; None where the record has none.

        Raises:
            InputError: They are malformed.
        """
        if "classes" not in self.content:
            return None
        try:
            return ClassMap.from_json(self.content["classes"])
        except (SettingError, *MALFORMED) as error:
            raise InputError(f"{self.path}: its classes are malformed ({error}); make the result again") from error

    def names(self, path: Path) -> bool:
        """Return whether `path` is one of the files, under whatever spelling or link."""
        return any(_is_same(file, path) for file in self.files)


def record_path(output: Path) -> Path:
    """Return where the record of `output` lies: a raster's under its stem, vector data's under its whole name, since
    the two may share a stem."""
    if output.suffix.lower() in RASTERS:
        return output.with_suffix(RECORD)
    return output.with_name(output.name + RECORD)


def read_record(path: Path) -> Record:
    """Return the record at `path`.

    Raises:
        InputMissingError: There is no such file.
        InputError: It is damaged, or names no file.
    """
    try:
        content = json.loads(path.read_bytes())
        files = {path.parent / str(name): str(digest) for name, digest in content["files"].items()}
        if not files:
            raise ValueError("it names no file")
    except FileNotFoundError:
        raise InputMissingError(f"{path}: no such record") from None
    except (OSError, *MALFORMED) as error:
        raise InputError(f"{path}: is damaged ({first_line(error)}); make the result again") from error
    return Record(path, content, files)


def find_record(file: Path, everywhere: bool = False) -> Record | None:
    """Return the readable record that names `file`; None where there is none.

    Args:
        file: A file of a result.
        everywhere: Look through all records of the folder, for files whose record has another stem (a style, the
            polygons of a map), after the one that belongs to the file's own name.
    """
    candidates = [record_path(file)]
    if everywhere:
        candidates += sorted(file.parent.glob(f"*{RECORD}"))
    for path in dict.fromkeys(candidates):
        try:
            record = read_record(path)
        except (InputError, InputMissingError):
            continue
        if record.names(file):
            return record
    return None


def write_record(path: Path, facts: Mapping[str, Any], files: Iterable[Path] | Mapping[Path, str]) -> Record:
    """Write a record, atomically.

    Args:
        path: Where to write it; see `record_path`.
        facts: Provenance and whatever else describes the result; JSON values.
        files: The complete files, or path -> SHA-256 where that is known.

    Returns:
        The record as it was written.

    Raises:
        WriteError: The file system failed.
    """
    hashes = files if isinstance(files, Mapping) else {file: sha256(file) for file in files}
    named = {os.path.relpath(file, path.parent): digest for file, digest in hashes.items()}
    content = {**facts, "files": named}
    publish_bytes(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return Record(path, content, dict(hashes))


def provenance_tags(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the TIFF tags that every raster carries: software, provenance, and with SOURCE_DATE_EPOCH the time."""
    tags = {
        "TIFFTAG_SOFTWARE": f"geoseg {__version__}",
        _PROVENANCE_TAG: json.dumps(provenance, sort_keys=True),
    }
    date = source_date()
    if date is not None:
        tags["TIFFTAG_DATETIME"] = date.strftime("%Y:%m:%d %H:%M:%S")
    return tags


def parse_provenance(tags: Mapping[str, str], layer: str | None) -> dict[str, Any] | None:
    """Return the provenance in the tags of a raster, with the description of its band as "layer"; None where geoseg did
    not write it.

    Raises:
        ValueError, TypeError: It is no JSON object.
    """
    text = tags.get(_PROVENANCE_TAG)
    return None if text is None else {**json.loads(text), "layer": layer}


def source_date() -> datetime | None:
    """Return the time that outputs are to bear, from SOURCE_DATE_EPOCH (reproducible-builds.org); None where that is
    not set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return None if epoch is None else datetime.fromtimestamp(float(epoch), UTC)


def versions(*more: str) -> dict[str, str]:
    """Return the versions that decide what is computed: of geoseg, numpy, Python, and the packages in `more`."""
    return {
        "geoseg": __version__,
        **{package: metadata.version(package) for package in ("numpy", *more)},
        "python": platform.python_version(),
    }


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)
