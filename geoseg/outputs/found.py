"""What a finished map consists of, as its record tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, InputMissingError, SettingError, first_line
from geoseg.files.record import MALFORMED, RASTERS, RECORD, Record, parse_record, read_record, record_path
from geoseg.outputs.names import POLYGONS, Outputs
from geoseg.runs.folder import FolderStore
from geoseg.runs.manifest import read_manifest
from geoseg.units import Period

_MAX_ITEM_BYTES = 64 << 20


@dataclass(frozen=True)
class FoundMap:
    """A finished map.

    Attributes:
        outputs: Its files.
        sld, legend: Whether these were written.
        taken: Time in its STAC Item; None without one.
    """

    outputs: Outputs
    sld: bool
    legend: bool
    taken: Period | None


def record_of_map(path: Path, run_path: Path | None = None) -> tuple[Record, Mapping[str, Any] | None]:
    """Return the record of a map, and the fingerprint of the run that was replacing its files when a process ended.

    Args:
        path: The class raster.
        run_path: Run directory in which such a process has left the record of the old map.

    Raises:
        InputMissingError, InputError: There is no record, or it is damaged.
    """
    where = record_path(path)
    try:
        record, begun = read_record(where), None
    except InputMissingError:
        if run_path is None or not is_relabelling(run_path):
            raise InputMissingError(
                f"{path}: has no record, {where.name}, beside it, so it is unknown what its classes are made of; copy "
                "the record too, or predict it again"
            ) from None
        try:
            begun = (read_manifest(FolderStore(run_path)) or {})["fingerprint"]
            record = parse_record(where, begun["map"])
        except (SettingError, *MALFORMED) as error:
            raise InputError(
                f"{run_path}: its manifest is damaged ({first_line(error)}); predict {path.name} again"
            ) from error
    if record.classes is None or not record.names(path):
        raise InputError(f"{path}: its record, {where.name}, is not that of a map; name the class raster")
    return record, begun


def is_relabelling(run_path: Path) -> bool:
    """Return whether a run directory is that of a map which gets other classes."""
    manifest = read_manifest(FolderStore(run_path))
    return manifest is not None and "map" in manifest["fingerprint"]


def find_map(path: Path, record: Record, taken: str | None = None) -> FoundMap:
    """Return what the map at `path` consists of.

    Args:
        path: The class raster.
        record: Its record. The files that it names need not be there, except the STAC Item.
        taken: The time in its STAC Item, where that is known already.

    Raises:
        InputError: The record is that of another kind of output, or the STAC Item is damaged.
    """
    names = {file.name: file for file in record.files}
    rasters = [file for file in record.files if file.suffix.lower() in RASTERS and file.name != path.name]
    vectors = [file for file in record.files if file.suffix.lower() in POLYGONS]
    if (
        record.classes is None
        or path.name not in names
        or len(rasters) > 1
        or len(vectors) > 1
        or "old" in record.content
    ):
        raise InputError(f"{path}: its record, {record.path.name}, is not that of a map; name the class raster")
    tables = [file for file in record.files if file.suffix.lower() == ".csv"]
    outputs = Outputs(
        path, rasters[0] if rasters else None, vectors[0] if vectors else None, areas=tables[0] if tables else None
    )
    period = None
    if outputs.item.name in names:
        period = Period.parse(taken) if taken else _taken(outputs.item)
    return FoundMap(outputs, outputs.sld.name in names, outputs.legend.name in names, period)


def made_of(raster: Path) -> list[Path]:
    """The results beside a class raster that were made of it."""
    found = []
    for path in sorted(raster.parent.glob(f"*{RECORD}")):
        with suppress(InputError, InputMissingError):
            record = read_record(path)
            if record.content.get("raster", {}).get("name") == raster.name:
                found.append(path.with_name(path.name.removesuffix(RECORD)))
    return found


def relocated(outputs: Outputs, path: Path) -> Outputs:
    """Return the outputs of a copy of a map whose class raster is `path`; the others are named after it."""

    def beside(old: Path | None, word: str) -> Path | None:
        if old is None:
            return None
        stem = outputs.classes.stem
        ending = old.name[len(stem) :] if old.name.startswith(stem) else f"-{word}{old.suffix}"
        return path.with_name(path.stem + ending)

    return Outputs(
        path, beside(outputs.confidence, "confidence"), beside(outputs.polygons, "polygons"),
        areas=beside(outputs.areas, "areas"),
    )  # fmt: skip


def _taken(item: Path) -> Period:
    try:
        if item.stat().st_size > _MAX_ITEM_BYTES:
            raise ValueError("it is too large")
        properties = json.loads(item.read_bytes())["properties"]
        times = properties["datetime"] or f"{properties['start_datetime']}/{properties['end_datetime']}"
        return Period.parse(times)
    except (OSError, SettingError, *MALFORMED) as error:
        raise InputError(f"{item}: is no STAC Item with a time ({error}); remove {record_path(item).name}") from error
