"""The coordinate epoch of a raster: the date, in decimal years, to which its coordinates in a dynamic CRS refer.

Continents move: without the epoch, a position in a dynamic CRS is uncertain by several centimetres for each year.
rasterio's CRS has no place for it, but GDAL's virtual rasters do.
"""

from __future__ import annotations

import math
import re
from typing import Any

from rasterio.io import MemoryFile
from rasterio.shutil import copy

_EPOCH = re.compile(r'<SRS\b[^>]*\bcoordinateEpoch="([^"]*)"')


def coordinate_epoch(file: Any) -> float | None:
    """Return the coordinate epoch that GDAL knows of a raster, from the file or from its .aux.xml.

    Args:
        file: rasterio's dataset, open for reading. No pixel is read.

    Returns:
        Decimal years, such as 2021.3; None where there is none.
    """
    found = _EPOCH.search(str(file.name) if file.driver == "VRT" else _as_vrt(file))
    try:
        epoch = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return epoch if 0 < epoch < math.inf else None


def _as_vrt(file: Any) -> str:
    with MemoryFile(ext=".vrt") as memory:
        copy(file, memory.name, driver="VRT")
        return str(memory.read().decode(errors="replace"))
