"""What a finished map consists of, as its record tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError, SettingError
from geoseg.files.record import MALFORMED, RASTERS, Record, record_path
from geoseg.outputs.names import POLYGONS, Outputs
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
    if record.classes is None or path.name not in names or len(rasters) > 1 or len(vectors) > 1:
        raise InputError(f"{path}: its record, {record.path.name}, is not that of a map; name the class raster")
    outputs = Outputs(path, rasters[0] if rasters else None, vectors[0] if vectors else None)
    period = None
    if outputs.item.name in names:
        period = Period.parse(taken) if taken else _taken(outputs.item)
    return FoundMap(outputs, outputs.sld.name in names, outputs.legend.name in names, period)


def relocated(outputs: Outputs, path: Path) -> Outputs:
    """Return the outputs of a copy of a map whose class raster is `path`; the others are named after it."""

    def beside(old: Path | None, word: str) -> Path | None:
        if old is None:
            return None
        stem = outputs.classes.stem
        ending = old.name[len(stem) :] if old.name.startswith(stem) else f"-{word}{old.suffix}"
        return path.with_name(path.stem + ending)

    return Outputs(path, beside(outputs.confidence, "confidence"), beside(outputs.polygons, "polygons"))


def _taken(item: Path) -> Period:
    try:
        if item.stat().st_size > _MAX_ITEM_BYTES:
            raise ValueError("it is too large")
        properties = json.loads(item.read_bytes())["properties"]
        times = properties["datetime"] or f"{properties['start_datetime']}/{properties['end_datetime']}"
        return Period.parse(times)
    except (OSError, SettingError, *MALFORMED) as error:
        raise InputError(f"{item}: is no STAC Item with a time ({error}); remove {record_path(item).name}") from error
