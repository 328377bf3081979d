"""The record beside an output: provenance and the SHA-256 of every file. All records are read and written here.

A record is written last, so an output with a record is complete. It is a JSON object: the provenance (version, scene or
raster, model, settings), the `classes` of a map, and `files`, which maps names relative to the record's folder to
SHA-256. Rasters also carry the provenance in a TIFF tag.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap
from geoseg.errors import InputError, InputMissingError, SettingError, first_line
from geoseg.files.atomic import publish_bytes, sha256
from geoseg.files.permissions import Permissions
from geoseg.version import __version__

log = logging.getLogger(__name__)

RECORD = ".geoseg.json"
"""Suffix of a record."""

RASTERS = (".tif", ".tiff")
"""Suffixes of rasters that geoseg writes."""

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError)
"""Exceptions raised by code that expects another structure than a JSON value has."""

_MAX_BYTES = 64 << 20
"""The record of a map of 65,534 classes has a tenth of it."""

EARLIER = "earlier_sha256"
"""Entry of a model's provenance, and of its maps': SHA-256 of the files that its tensors were in when its classes were
others."""

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "geoseg": str, "scene": dict, "raster": dict, "settings": dict, "model_sha256": (str, type(None)),
    "polygons": int, "superpixels": int, "files": dict, "classes": list, "clusters": dict,
}  # fmt: skip
"""Entry of a record -> what it holds, if it is there."""

_PROVENANCE_TAG = "GEOSEG_PROVENANCE"


@dataclass(frozen=True)
class Record:
    """The content of a record.

    Attributes:
        path: The file of the record.
        content: The JSON object.
        files: Path -> SHA-256 of every file of the output.
        classes: The classes of the map; None for outputs without classes.
    """

    path: Path
    content: Mapping[str, Any]
    files: Mapping[Path, str]
    classes: ClassMap | None = None

    def names(self, path: Path) -> bool:
        """Return whether `path` is one of the files, possibly by another spelling or through a link."""
        return any(_is_same(file, path) for file in self.files)


def record_path(output: Path) -> Path:
    """Return the path of the record of `output`.

    It has the stem of a raster, but the full name of vector data, because both may have the same stem.
    """
    if output.suffix.lower() in RASTERS:
        return output.with_suffix(RECORD)
    return output.with_name(output.name + RECORD)


def read_record(path: Path) -> Record:
    """Return the record at `path`.

    Raises:
        InputMissingError: The file does not exist.
        InputError: It is damaged, or names no file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise ValueError("it is no regular file, or too large")
        return parse_record(path, json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputMissingError(f"{path}: no such record") from None
    except (OSError, SettingError, *MALFORMED) as error:
        raise InputError(
            f"{path}: is damaged ({first_line(error)}); make the result again, or remove this record"
        ) from error


def parse_record(path: Path, content: Any) -> Record:
    """Return the record at `path` with this content.

    Raises:
        SettingError, or one of MALFORMED: It is the content of no record.
    """
    if not isinstance(content, dict):
        raise TypeError("it is no JSON object")
    for name, kind in _KINDS.items():
        if name in content and (not isinstance(content[name], kind) or isinstance(content[name], bool)):
            raise TypeError(f"its {name} is a {type(content[name]).__name__}")
    files = content["files"]
    if not files or not all(isinstance(digest, str) for digest in files.values()):
        raise ValueError("it names no file with its SHA-256")
    if "raster" in content and not _names_file(content["raster"]):
        raise ValueError("its raster has no name and size")
    classes = None
    if "classes" in content:
        if not all(isinstance(entry["name"], str) for entry in content["classes"]):
            raise TypeError("the name of a class is no text")
        classes = ClassMap.from_json(content["classes"])
    return Record(path, content, {path.parent / name: digest for name, digest in files.items()}, classes)


def _names_file(entry: Mapping[str, Any]) -> bool:
    """Whether the entry of a raster says its name and, unless it is remote, its size."""
    return isinstance(entry["name"], str) and isinstance(entry.get("bytes", 0), int)


def find_record(file: Path, search_folder: bool = False) -> Record | None:
    """Return the record that names `file`; None if there is none. A warning tells of records that are damaged.

    Args:
        file: A file of a result.
        search_folder: After the record with the file's own name, also try all others in its folder. The record of a
            style, or of the polygons of a map, has another name.
    """
    candidates = [record_path(file)]
    if search_folder:
        candidates += sorted(file.parent.glob(f"*{RECORD}"))
    for path in dict.fromkeys(candidates):
        record = read_intact(path)
        if record is not None and record.names(file):
            return record
    return None


def read_intact(path: Path) -> Record | None:
    """Return the record at `path`; None if there is none, or it is damaged, of which a warning tells."""
    try:
        return read_record(path)
    except InputMissingError:
        return None
    except InputError as error:
        log.warning("passed over: %s", error)
        return None


def write_record(
    path: Path,
    provenance: Mapping[str, Any],
    files: Iterable[Path] | Mapping[Path, str],
    permissions: Permissions | None = None,
) -> Record:
    """Write a record atomically.

    Args:
        path: See `record_path`.
        provenance: Name -> JSON value of all entries but `files`.
        files: The files of the output, complete; or path -> SHA-256, if that is known.
        permissions: Those of the old record, which is gone already.

    Returns:
        The record that was written.

    Raises:
        WriteError: The file system failed.
    """
    hashes = files if isinstance(files, Mapping) else {file: sha256(file) for file in files}
    # Behind a folder that is a link, ".." leads elsewhere than the path looks.
    folder = path.parent.resolve()
    named = {os.path.relpath(file.parent.resolve() / file.name, folder): digest for file, digest in hashes.items()}
    content = {**provenance, "files": named}
    publish_bytes(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode(), permissions=permissions)
    classes = ClassMap.from_json(content["classes"]) if "classes" in content else None
    return Record(path, content, dict(hashes), classes)


def warn_of_left(output: Path, old: Record | None, new: Record) -> None:
    """Warn of files that an old record names and that are still there, though the output was replaced without them."""
    left = [path for path in (old.files if old else ()) if path.exists() and not new.names(path)]
    if left:
        names = ", ".join(map(str, left))
        log.warning("%s: replaced; these files are of the old one, remove them: %s", output, names)


def provenance_tags(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the TIFF tags of all rasters: software, provenance and, if SOURCE_DATE_EPOCH is set, the time."""
    tags = {
        "TIFFTAG_SOFTWARE": f"geoseg {__version__}",
        _PROVENANCE_TAG: json.dumps(provenance, sort_keys=True),
    }
    date = source_date()
    if date is not None:
        tags["TIFFTAG_DATETIME"] = date.strftime("%Y:%m:%d %H:%M:%S")
    return tags


def parse_provenance(tags: Mapping[str, str], layer: str | None) -> dict[str, Any] | None:
    """Return the provenance in the tags of a raster; None if geoseg did not write the raster.

    Args:
        tags: Name -> value of the TIFF tags.
        layer: Description of the band, to be returned as "layer".

    Raises:
        ValueError, TypeError: The tag does not hold a JSON object.
    """
    text = tags.get(_PROVENANCE_TAG)
    try:
        return None if text is None else {**json.loads(text), "layer": layer}
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def source_date() -> datetime | None:
    """Return the time given by SOURCE_DATE_EPOCH (see reproducible-builds.org), or None if it is not set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return None if epoch is None else datetime.fromtimestamp(float(epoch), UTC)


def versions(*more: str) -> dict[str, str]:
    """Return the versions of the software that affects results: geoseg, numpy, Python, and the packages in `more`."""
    return {
        "geoseg": __version__,
        **{package: metadata.version(package) for package in ("numpy", *more)},
        "python": platform.python_version(),
    }


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        # It does not exist, or is no path at all: a record holds what somebody wrote into it.
        return False
