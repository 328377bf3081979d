"""The layout of a TIFF, from its own bytes: whether it is a cloud-optimised GeoTIFF, and whether all of it is there.

What is asked is what rio-cogeo's validation asks (github.com/cogeotiff/rio-cogeo, BSD-3), and of every block instead of
the first; a truncated file keeps its directories, which come first, and passes there.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from geoseg.errors import InputError
from geoseg.raster.tiff import Header, MalformedError, Page, read_header

_OVERVIEW, _MASK = 1, 4
_SMALL = 512
_FIRST = 300
"""Bytes before which the first directory begins, after what GDAL says of the layout."""

_GHOST, _CHANGED = 512, b"KNOWN_INCOMPATIBLE_EDITION=YES"
"""GDAL's word on the layout is in the first bytes, and changes when it writes to the file."""


def layout_faults(path: Path) -> list[str]:
    """Return what keeps the file from being a whole, cloud-optimised GeoTIFF.

    Raises:
        InputError: it is no TIFF, or its directories are damaged.
    """
    pages, size = _header(path).pages, path.stat().st_size
    faults = [
        f"its image {index} is not all there: blocks end at byte {page.end} of {size}"
        for index, page in enumerate(pages)
        if page.end > size
    ]
    with path.open("rb") as file:
        if _CHANGED in file.read(_GHOST):
            faults.append("was changed after it was written, and has lost its layout")
    main, *others = pages
    levels = [main, *(page for page in others if page.kind & _OVERVIEW and not page.kind & _MASK)]
    large = max(main.shape) > _SMALL
    if path.with_name(path.name + ".ovr").exists():
        faults.append("has overviews in a file of their own (.ovr)")
    if large and not main.tiled:
        faults.append("is not tiled")
    if large and len(levels) == 1:
        faults.append("has no overviews")
    if main.at > _FIRST:
        faults.append(f"its first directory begins at byte {main.at}, not at the front")
    return faults + _disorder(levels)


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except MalformedError as error:
        raise InputError(f"{path}: has TIFF directories that cannot be followed ({error})") from error
    if header.circular:
        raise InputError(f"{path}: has TIFF directories in a loop")
    if not header.pages or header.needed > max(path.stat().st_size, *(page.end for page in header.pages)):
        raise InputError(f"{path}: has TIFF directories that cannot be followed (they reach beyond its end)")
    return header


def _disorder(levels: list[Page]) -> list[str]:
    """What is not in the order of a COG: directories by size, large ones first; their blocks the other way round."""
    faults = []
    for large, small in itertools.pairwise(levels):
        (rows, cols), (most_rows, most_cols) = small.shape, large.shape
        if rows > most_rows or cols > most_cols or small.at < large.at:
            faults.append("its overviews are not in the order of their sizes")
        if small.end and large.end and small.end > large.begin:
            faults.append(f"blocks of its overview of {cols} x {rows} are not before those of the next larger")
    begins = [page.begin for page in levels if page.end]
    if begins and max(page.at for page in levels) > min(begins):
        faults.append("its directories are not all before its blocks")
    return faults
