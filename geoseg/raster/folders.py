"""The imagery under a folder: which files it holds, through links too, and which of them are rasters to read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from geoseg.errors import InputError
from geoseg.files.record import RASTERS, RECORD, read_intact, record_path
from geoseg.location import Location, Remote
from geoseg.raster.formats import other_format
from geoseg.raster.guards import regular_file

log = logging.getLogger(__name__)

RASTER_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2")
"""Suffixes of the files that `find_rasters` takes for imagery."""


def find_rasters(folder: Location) -> list[Location]:
    """List the imagery under a folder.

    Subfolders that are links are searched too. Hidden files and folders are skipped, and so is what geoseg wrote there:
    maps and the other files that their records name, parts of unfinished maps, and pictures of trainings. Rasters of
    other formats, folders that cannot be read and links to folders that are gone are passed over with a warning.

    Args:
        folder: The folder. A regular file or a remote location is taken for one image.

    Returns:
        Every file with one of RASTER_SUFFIXES, sorted by path; also what cannot be read, such as a link to nothing.

    Raises:
        InputMissingError: Nothing is at the path.
        InputError: The folder holds no imagery, or the path is neither a folder nor a regular file.
    """
    if isinstance(folder, Remote):
        return [folder]
    if not folder.is_dir():
        regular_file(folder)
        return [folder]
    files = list_files(folder)
    outputs = _find_outputs(files)
    found = sorted(path for path in files if path.suffix.lower() in RASTER_SUFFIXES and path not in outputs)
    others = describe_others(files, outputs)
    if not found:
        raise InputError(
            f"{folder}: contains no imagery; looked for {', '.join(RASTER_SUFFIXES)}"
            + (f"; {others} can be converted: gdal_translate IN OUT.tif" if others else "")
        )
    if others:
        log.warning("%s: %s passed over; gdal_translate IN OUT.tif converts them", folder, others)
    return list(found)


def find_maps(folder: Path) -> list[Path]:
    """Return the class rasters of geoseg's maps under a folder, sorted by path: those that records with classes name.

    Raises:
        InputMissingError: Nothing is at the path.
    """
    records = (read_intact(path) for path in list_files(folder) if path.name.endswith(RECORD))
    return sorted(
        path
        for record in records
        if record is not None and record.classes is not None
        for path in record.files
        if path.suffix.lower() in RASTERS and record_path(path) == record.path
    )


def written_by_geoseg(files: Iterable[Path]) -> set[Path]:
    """Return those of `files` that geoseg wrote, by the records in their folders."""
    files = list(files)
    beside: list[Path] = []
    for folder in {path.parent for path in files}:
        beside += folder.iterdir()
    outputs = _find_outputs(beside)
    return {path for path in files if Path(os.path.normpath(path)) in outputs}


def list_files(folder: Path) -> list[Path]:
    """Return all files under a folder, hidden ones excepted, in no particular order.

    Links to folders are followed, each folder is listed once, and by its own path rather than a link's where it has
    both. What is no regular file, such as a link to nothing, is among the files. Folders that cannot be read, and links
    to nothing whose names have no suffix, which may have been folders, are left out with a warning.
    """
    files: list[Path] = []
    gone: list[Path] = []
    seen: set[tuple[int, int]] = set()
    links = [folder]
    while links:
        found: list[Path] = []
        for link in links:
            found += _list_real(link, files, gone, seen)
        links = sorted(found)
    for path in sorted(gone):
        log.warning("%s: cannot be read; passed over, with all that is in it", path)
    return files


def describe_others(files: Iterable[Path], outputs: Iterable[Path] = ()) -> str:
    """Return '2 files of other formats (.img, .ntf)', of rasters that geoseg does not read; empty without any."""
    kinds = [kind for path in set(files) - set(outputs) if (kind := other_format(path))]
    if not kinds:
        return ""
    return f"{len(kinds)} file{'s' * (len(kinds) > 1)} of other formats ({', '.join(sorted(set(kinds)))})"


def _list_real(top: Path, files: list[Path], gone: list[Path], seen: set[tuple[int, int]]) -> list[Path]:
    """Add the files under `top`, links to folders left out, and return those links."""
    links: list[Path] = []
    stack = [top]
    while stack:
        folder = stack.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            gone.append(folder)
            continue
        for entry in visible:
            path = Path(entry.path)
            if entry.is_symlink() and path.is_dir():
                links += [path] * (not _is_loop(path))
            elif entry.is_dir(follow_symlinks=False):
                stack.append(path)
            elif entry.is_symlink() and not path.suffix and not path.exists():
                gone.append(path)
            else:
                files.append(path)
    return links


def _is_loop(link: Path) -> bool:
    """Whether a link leads back to a folder that it is in, so that following it would list what is outside."""
    return link.parent.resolve().is_relative_to(link.resolve())


def _find_outputs(files: Sequence[Path]) -> set[Path]:
    """Those of `files` that geoseg wrote itself, and others that its records name."""
    outputs: set[Path] = set()
    for path in files:
        if path.name.endswith(RECORD):
            record = read_intact(path)
            outputs |= {Path(os.path.normpath(file)) for file in record.files} if record else set()
        elif path.name == "manifest.json" and path.parent.name.endswith(".run"):
            outputs |= set(path.parent.glob("part-*.tif"))
        elif path.name.endswith(".metrics.jsonl"):
            outputs.add(path.with_name(path.name.removesuffix(".metrics.jsonl") + ".png"))
    return outputs
