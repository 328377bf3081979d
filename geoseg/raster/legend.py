"""The names and colours that a raster of other programs carries for its values.

They are looked for, in this order, in

- category names: in `<raster>.aux.xml`, which GDAL and QGIS write, or within a VRT;
- a raster attribute table of GDAL, in the same places;
- Esri's table `<raster>.vat.dbf`.

The first of these that names anything is taken. Files beside a raster are as little to be trusted as the raster: they
are read up to a size, without entities, and whatever makes no sense in them names nothing.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from geoseg.files.xml import parse_xml
from geoseg.raster.attribute_table import AttributeTable, read_dbf, read_gdal_table

log = logging.getLogger(__name__)

MAX_BYTES = 32 << 20
"""Of a file beside a raster; a table of all values of uint16 has less."""


@dataclass(frozen=True)
class Legend:
    """Names and colours of values.

    Attributes:
        names: Value -> its name, not empty and without blanks around it. No two are the same.
        colours: Value -> its colour as '#rrggbb', where an attribute table has colours.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)


def read_legend(path: Path, nodata: int | None = None) -> Legend:
    """Return the names and colours that come with a raster; an empty legend where there are none.

    Args:
        path: The raster. A file that is too large or no XML is told in a warning, and passed over.
        nodata: The value that stands for no class, so that its name is none of a class.
    """
    bands = _bands(path)
    tables = [read_gdal_table(table) for band in bands for table in band.iterfind("GDALRasterAttributeTable")]
    categories = [[entry.text or "" for entry in band.iterfind("CategoryNames/Category")] for band in bands]
    named: list[Mapping[int, str]] = [*(dict(enumerate(names)) for names in categories), *(t.names for t in tables)]
    if not any(map(_has_names, named)):
        table = path.with_name(path.name + ".vat.dbf")
        content = _read(table)
        tables.append(AttributeTable() if content is None else read_dbf(content))
        named.append(tables[-1].names)
    names = next(filter(_has_names, named), {})
    colours = next((table.colours for table in tables if table.colours), {})
    return Legend(_unique({value: name for value, name in names.items() if value != nodata}), colours)


def _has_names(names: Mapping[int, str]) -> bool:
    return any(name.strip() for name in names.values())


def _unique(names: Mapping[int, str]) -> dict[int, str]:
    """The names without the empty ones. Repeated names get their value, so that each stands for one class."""
    found: dict[int, str] = {}
    taken: set[str] = set()
    for value, text in names.items():
        name = unique = text.strip()
        while unique in taken:
            unique = f"{unique} {value}"
        if name:
            found[value] = unique
            taken.add(unique)
    return found


def _bands(path: Path) -> list[ElementTree.Element]:
    """The elements of the first band: in the file beside the raster, and in the raster itself if it is a VRT."""
    candidates = [(path.with_name(path.name + ".aux.xml"), "PAMRasterBand")]
    with path.open("rb") as file:
        if b"<VRTDataset" in file.read(1024):
            candidates.append((path, "VRTRasterBand"))
    roots = [(_parse(file), tag) for file, tag in candidates]
    found = [root.find(f"{tag}[@band='1']") for root, tag in roots if root is not None]
    return [band for band in found if band is not None]


def _parse(path: Path) -> ElementTree.Element | None:
    content = _read(path)
    if content is None:
        return None
    try:
        return parse_xml(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        log.warning("%s: cannot be parsed (%s), so names of classes in it are not read", path, error)
        return None


def _read(path: Path) -> bytes | None:
    """The bytes of a file beside a raster; None where there is none to read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > MAX_BYTES:
            log.warning("%s: has more than %d MiB, so names of classes in it are not read", path, MAX_BYTES >> 20)
            return None
        return path.read_bytes()
    except OSError:
        return None
