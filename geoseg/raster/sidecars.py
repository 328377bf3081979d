"""Checks on the files that GDAL opens together with a raster: masks, overviews and metadata beside it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.files.record import RECORD
from geoseg.raster.guards import raster_driver, regular_file, tiff_header

MASK_SUFFIXES = (".msk", ".MSK")
"""What the name of a mask adds to that of its raster, as GDAL looks for it."""

SIDECAR_SUFFIXES = (*MASK_SUFFIXES, ".msk.ovr", ".ovr", ".OVR")
_WRITTEN = (".aux.xml", ".ovr", ".msk")
_PRODUCTS = ("metadata.dim", "summary.txt")
"""Names, in lower case, that GDAL looks for beside any raster: metadata of whole products."""
_PREFIXES = ("dim_", "rpc_", "rpc-", "hdr-")
"""How further names begin that GDAL makes of the raster's: those of Pleiades and ALOS."""
_SETTLED = 2_000_000_000
"""Age in ns of the last change of a folder, from which on a later change has another time."""


def raster_sidecars(path: Path) -> list[Path]:
    """Return the paths of the files that GDAL or QGIS would read together with a raster, whether they exist or not."""
    return [*(path.with_name(path.name + suffix) for suffix in _WRITTEN), path.with_suffix(".qml")]


def check_sidecars(path: Path) -> tuple[Path, ...]:
    """Check the files that GDAL opens together with a raster, and return its masks and overviews.

    Args:
        path: The raster, with links resolved.

    Raises:
        InputError: A sidecar is not a regular file, or a mask or overview file is not a TIFF.
    """
    metadata = path.with_name(f"{path.name}.aux.xml")
    irregular = [metadata] if os.path.lexists(metadata) and not metadata.is_file() else [*_irregular(path)]
    for sidecar in irregular:
        raise InputError(f"{sidecar}: is read together with {path.name}, but is not a regular file; remove it")
    return check_masks(path, SIDECAR_SUFFIXES)


def check_masks(path: Path, suffixes: tuple[str, ...] = MASK_SUFFIXES) -> tuple[Path, ...]:
    """Check and return the masks of a raster, as `check_sidecars`, but with certain suffixes only.

    Raises:
        InputError: One of them is not a regular file, or not a TIFF.
    """
    candidates = [path.with_name(path.name + suffix) for suffix in suffixes]
    sidecars = [candidate for candidate in candidates if os.path.lexists(candidate)]
    for sidecar in sidecars:
        if raster_driver(regular_file(sidecar)) != "GTiff":
            raise InputError(
                f"{sidecar}: is read as the mask or overviews of {path.name}, but is not a TIFF; remove it"
            )
        tiff_header(sidecar, sidecar, Opening())
    return tuple(sidecars)


def _irregular(path: Path) -> Iterator[Path]:
    """The sidecars of a raster that would block a reader, or never end: pipes and devices, also by a link."""
    folder, stem = path.parent, path.stem.casefold()
    try:
        changed = folder.stat().st_mtime_ns
        list_names = _special_names if time.time_ns() - changed > _SETTLED else _special_names.__wrapped__
        names = list_names(folder, changed)
    except OSError:
        # A folder that may be entered, but not listed: GDAL cannot list it either.
        return
    for name in names:
        folded = name.casefold()
        related = folded.startswith((f"{stem}.", f"{stem}_", *_PREFIXES)) or folded in _PRODUCTS
        # What our own record is, its reader finds out.
        if related and name != path.name and not name.endswith(RECORD) and _blocks(folder / name):
            yield folder / name


@lru_cache(maxsize=256)
def _special_names(folder: Path, changed: int) -> tuple[str, ...]:
    """Names in a folder of what is neither a file nor a folder; listed anew once the folder has changed."""
    with os.scandir(folder) as entries:
        return tuple(
            sorted(
                entry.name
                for entry in entries
                if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False)
            )
        )


def _blocks(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
