"""The layout of a TIFF, read from its own bytes: is it a cloud-optimised GeoTIFF, and is all of it there?

The criteria are those of rio-cogeo's validation (github.com/cogeotiff/rio-cogeo, BSD-3), applied to every block instead
of only the first. A truncated COG passes rio-cogeo's, because its directories come before its blocks.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from geoseg.errors import InputError
from geoseg.raster.tiff import Header, MalformedError, Page, read_header

_OVERVIEW, _MASK = 1, 4
"""Bits of NewSubfileType."""

_MAX_UNTILED = 512
"""Longest side in pixels of a COG that needs neither tiles nor overviews."""

_MAX_FIRST_DIRECTORY = 300
"""Largest byte offset of the first directory; only GDAL's description of the layout comes before it."""

_DESCRIPTION_BYTES, _EDITED = 512, b"KNOWN_INCOMPATIBLE_EDITION=YES"
"""GDAL describes the layout within the first bytes, and marks it as broken when it edits the file."""


def layout_faults(path: Path) -> list[str]:
    """Return what keeps the file from being a complete cloud-optimised GeoTIFF, one phrase per fault.

    Raises:
        InputError: The file is not a TIFF, or its directories are damaged.
    """
    pages, size = _header(path).pages, path.stat().st_size
    faults = [
        f"its image {index} is truncated: blocks end at byte {page.data_end}, the file at byte {size}"
        for index, page in enumerate(pages)
        if page.data_end > size
    ]
    with path.open("rb") as file:
        if _EDITED in file.read(_DESCRIPTION_BYTES):
            faults.append("was edited after it was written and is no longer cloud-optimised")
    main, *others = pages
    levels = [main, *(page for page in others if page.subfile_type & _OVERVIEW and not page.subfile_type & _MASK)]
    large = max(main.shape) > _MAX_UNTILED
    if path.with_name(path.name + ".ovr").exists():
        faults.append("has its overviews in a separate file (.ovr)")
    if large and not main.tiled:
        faults.append("is not tiled")
    if large and len(levels) == 1:
        faults.append("has no overviews")
    if main.offset > _MAX_FIRST_DIRECTORY:
        faults.append(f"its first directory is at byte {main.offset}, not at the front of the file")
    return faults + _order_faults(levels)


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except MalformedError as error:
        raise InputError(f"{path}: has TIFF directories that cannot be followed ({error})") from error
    if header.circular:
        raise InputError(f"{path}: has TIFF directories in a loop")
    if not header.pages or header.min_file_size > max(path.stat().st_size, *(page.data_end for page in header.pages)):
        raise InputError(f"{path}: has TIFF directories that cannot be followed (they reach beyond its end)")
    return header


def _order_faults(levels: list[Page]) -> list[str]:
    """Check the order of a COG: directories from large to small, then blocks from small to large."""
    faults = []
    for large, small in itertools.pairwise(levels):
        (rows, cols), (max_rows, max_cols) = small.shape, large.shape
        if rows > max_rows or cols > max_cols or small.offset < large.offset:
            faults.append("its overviews are not ordered from large to small")
        if small.data_end and large.data_end and small.data_end > large.data_start:
            faults.append(f"the blocks of its overview of {cols} x {rows} px do not come before the next larger level")
    begins = [page.data_start for page in levels if page.data_end]
    if begins and max(page.offset for page in levels) > min(begins):
        faults.append("its directories do not all come before its blocks")
    return faults
