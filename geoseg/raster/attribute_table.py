"""Raster attribute tables: a row for each value of a raster, of whose columns the value, name and colour are read.

GDAL's are XML and say what a column is for (gdal.org, GDALRATFieldUsage); where they do not, as in most that Esri's
software wrote, and in Esri's own, which are dBASE tables, columns are known by their names.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element

_NAME, _MIN, _MAX, _VALUE, _RED = 2, 3, 4, 5, 6
"""Usages by GDAL's numbers; green and blue follow red."""

_VALUE_NAMES = ("value", "val", "pixel_value", "code")
_CLASS_NAMES = (
    "class_name", "class_names", "classname", "class", "name", "label", "category", "land_cover", "landcover",
    "land_cover_class", "description", "legend", "type",
)  # fmt: skip
"""Columns of names, in order of preference; beyond them, the first column of text."""

_TEXT = 2
"""GDAL's number of the type of text."""

_MAX_VALUES = 1 << 17
"""Values that all rows may stand for; twice those of uint16."""


class Column(NamedTuple):
    """A column: its name, whether it holds text, and its usage by GDAL's number, 0 where that is not said."""

    name: str
    text: bool
    usage: int = 0

    @property
    def key(self) -> str:
        """The name in one spelling: "NLCD Land" and "nlcd_land" are the same."""
        return "_".join(self.name.lower().split())


@dataclass(frozen=True)
class AttributeTable:
    """What a table says of values.

    Attributes:
        names: Value -> name, as it is written there.
        colours: Value -> '#rrggbb'; empty where the table has no colours.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)


def read_gdal_table(element: Element) -> AttributeTable:
    """Return the content of a GDALRasterAttributeTable; empty where it is of no use."""
    columns = [
        Column(
            entry.findtext("Name") or "", entry.findtext("Type") == str(_TEXT), _integer(entry.findtext("Usage")) or 0
        )
        for entry in element.iterfind("FieldDefn")
    ]
    blank = [""] * len(columns)
    cells = ([cell.text or "" for cell in row.iterfind("F")] for row in element.iterfind("Row"))
    rows = [(row + blank)[: len(columns)] for row in cells]
    start, step = (_number(element.get(key)) for key in ("Row0Min", "BinSize"))
    binned = [start + step * i for i in range(len(rows))] if math.isfinite(start + step) and step else None
    return _table(columns, rows, binned)


def read_dbf(content: bytes) -> AttributeTable:
    """Return the content of a dBASE table (Esri's .vat.dbf); empty where it is damaged or of no use."""
    try:
        count, head, length = struct.unpack_from("<IHH", content, 4)
        columns, widths = [], []
        for offset in range(32, head - 32, 32):
            name, kind, width = struct.unpack_from("<11sc4xB", content, offset)
            if name[:1] == b"\r":
                break
            columns.append(Column(_decoded(name.split(b"\0")[0]), kind == b"C"))
            widths.append(width)
    except struct.error:
        return AttributeTable()
    if length < 1 + sum(widths):
        return AttributeTable()
    records = (
        content[start : start + length] for start in range(head, min(head + count * length, len(content)), length)
    )
    return _table(
        columns, [_cells(record, widths) for record in records if record[:1] != b"*" and len(record) == length]
    )


def _cells(record: bytes, widths: Sequence[int]) -> list[str]:
    cells, start = [], 1
    for width in widths:
        cells.append(_decoded(record[start : start + width]).strip(" \0"))
        start += width
    return cells


def _decoded(text: bytes) -> str:
    """Text of a table that seldom says how it is encoded."""
    with suppress(UnicodeDecodeError):
        return text.decode()
    return text.decode("cp1252", "replace")


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], binned: Sequence[float] | None = None
) -> AttributeTable:
    values = list(_values(columns, rows, binned))
    name = _column(columns, _NAME, _CLASS_NAMES, text=True)
    if name is None:
        name = next((i for i, column in enumerate(columns) if column.text), None)
    names = (
        {} if name is None else {value: row[name] for found, row in zip(values, rows, strict=True) for value in found}
    )
    return AttributeTable(names, _colours(columns, rows, values))


def _values(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], binned: Sequence[float] | None
) -> Iterator[range]:
    """Yield the values that each row stands for, none once there are too many."""
    value = _column(columns, _VALUE, _VALUE_NAMES)
    least, most = (next((i for i, c in enumerate(columns) if c.usage == usage), None) for usage in (_MIN, _MAX))
    left = _MAX_VALUES
    for number, row in enumerate(rows):
        if value is not None:
            first = last = _integer(row[value])
        elif least is not None and most is not None:
            first, last = _integer(row[least]), _integer(row[most])
        else:
            first = last = None if binned is None else _integer(str(binned[number]))
        found = range(0) if first is None or last is None else range(first, last + 1)
        yield found if len(found) <= left else range(0)
        left -= min(len(found), left)


def _colours(columns: Sequence[Column], rows: Sequence[Sequence[str]], values: Sequence[range]) -> dict[int, str]:
    places = [_column(columns, _RED + i, (name,)) for i, name in enumerate(("red", "green", "blue"))]
    if None in places:
        return {}
    levels = [[_number(row[place]) for place in places if place is not None] for row in rows]
    if not all(math.isfinite(level) for row in levels for level in row):
        return {}
    # Esri's tables give them in [0, 1] where they have a fractional part, and in [0, 255] otherwise.
    fractions = any(level % 1 for row in levels for level in row) and max(map(max, levels)) <= 1
    scale = 255 if fractions else 1
    return {
        value: "#" + "".join(f"{min(max(round(level * scale), 0), 255):02x}" for level in row)
        for found, row in zip(values, levels, strict=True)
        for value in found
    }


def _column(columns: Sequence[Column], usage: int, names: Sequence[str], text: bool = False) -> int | None:
    """The index of the column of a usage, else of the first of the names."""
    for i, column in enumerate(columns):
        if column.usage == usage:
            return i
    keys = {column.key: i for i, column in reversed(list(enumerate(columns))) if column.text == text}
    return next((keys[name] for name in names if name in keys), None)


def _number(text: str | None) -> float:
    """The number that a text stands for; nan where it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _integer(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if math.isfinite(number) and number == int(number) else None
