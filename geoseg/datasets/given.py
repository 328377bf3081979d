"""Which rasters a command was given: files and URLs, folders, patterns, and lists of these.

A folder stands for what is in it and below it, 'scenes/**/*.tif' for all files that match it, `@scenes.txt` for the
lines of that file, and `-` for those of standard input. A file of such a name is that file. Nothing is opened here but
lists and records, so thousands of rasters are found in moments.
"""

from __future__ import annotations

import codecs
import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from geoseg.datasets.imagery import select_imagery
from geoseg.errors import InputError, InputMissingError
from geoseg.location import Location, Remote, local, locate
from geoseg.raster.folders import RASTER_SUFFIXES, find_maps, find_rasters, written_by_geoseg

log = logging.getLogger(__name__)

_LIST = "@"
_STANDARD_INPUT = "-"
_COMMENT = "#"
_ENCODINGS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Marks at the start of lists that are not UTF-8: PowerShell writes UTF-16 where output is sent to a file."""

_MAX_BYTES = 1 << 30
"""Of a list: ten million paths."""


@dataclass(frozen=True)
class Given:
    """A raster that a command was given.

    Attributes:
        location: The raster.
        base: The folder, as an absolute path or URL, below which it was found; its own if it was named itself.
    """

    location: Location
    base: str


def find_given(given: Sequence[Location], maps: bool = False) -> list[Given]:
    """Return the rasters that `given` stands for, each of them once, in that order; those of a folder by path.

    Args:
        given: Rasters, folders, patterns and lists.
        maps: Class rasters are wanted: a folder stands for the maps that geoseg wrote there, and patterns match them.
            Otherwise a folder stands for all imagery in it (see `select_imagery`), and neither has what geoseg wrote.

    Raises:
        InputMissingError: Nothing matches a pattern, or there is no such list.
        InputError: A folder has nothing of the kind, or a list names nothing or is no text.
    """
    return list(_distinct(each for location in given for each in _expanded(location, maps)))


def places(found: Sequence[Given]) -> list[Path]:
    """Return the folder of each raster, relative to the common one of all that a command was given.

    What was given are folders, the fixed parts of patterns, and the folders of files that were named themselves, so
    the folders below one of these do not depend on what else is in there.
    """
    roots: dict[bool, list[str]] = {}
    for base in sorted({each.base for each in found}):
        parts = base.split("/")
        common = zip(roots.get(_is_remote(base), parts), parts, strict=False)
        roots[_is_remote(base)] = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], common)]
    kept = []
    for each in found:
        folder = _folder(each.location)
        parts = folder.split("/")[len(roots[_is_remote(folder)]) :]
        kept.append(Path(*(part for part in parts if part)))
    return kept


def _expanded(location: Location, maps: bool, lists: bool = True) -> Iterator[Given]:
    """Yield what one argument, or one line of a list, stands for."""
    text = location.url if isinstance(location, Remote) else os.fspath(location)
    if isinstance(location, Remote):
        if "*" in text and not text.lstrip().startswith("<"):
            raise InputError(f"{location}: patterns are for local files; give a list of URLs, @urls.txt")
        yield Given(location, _folder(location))
    elif lists and text == _STANDARD_INPUT:
        with open(0, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
        yield from _listed("standard input", content, maps)
    elif location.is_dir():
        yield from _in_folder(location, maps)
    elif os.path.lexists(location):
        yield Given(location, _folder(location))
    elif lists and text.startswith(_LIST) and len(text) > len(_LIST):
        path = Path(text.removeprefix(_LIST))
        yield from _listed(str(path), _content(path), maps, path.parent)
    elif glob.has_magic(text):
        yield from _matching(location, maps)
    else:
        # Nothing is there, which is said when its turn comes: the others can be worked on.
        yield Given(location, _folder(location))


def _in_folder(folder: Path, maps: bool) -> Iterator[Given]:
    if maps:
        found = find_maps(folder)
        if not found:
            raise InputError(
                f"{folder}: contains no map that geoseg wrote; give rasters of other programs by a pattern, "
                f"'{folder / '*.tif'}'"
            )
    else:
        found = select_imagery(local(*find_rasters(folder)), folder)
    base = os.path.abspath(folder)  # noqa: PTH100 (without following links)
    for path in found:
        yield Given(path, base)


def _matching(pattern: Path, maps: bool) -> Iterator[Given]:
    """Yield the files that match a pattern; where only folders do, what is in these."""
    matches = sorted(map(Path, glob.iglob(os.fspath(pattern), recursive=True)))  # noqa: PTH207 (it may be absolute)
    if not matches:
        raise InputMissingError(f"{pattern}: nothing matches this pattern")
    folders = [path for path in matches if path.is_dir()]
    files = sorted(set(matches) - set(folders))
    if glob.has_magic(pattern.suffix or pattern.name):
        files = [path for path in files if path.suffix.lower() in RASTER_SUFFIXES]
    base = os.path.abspath(_fixed_part(pattern))  # noqa: PTH100
    if not files:
        if not folders:
            raise InputMissingError(
                f"{pattern}: no raster matches this pattern; looked for {', '.join(RASTER_SUFFIXES)}"
            )
        for folder in folders:
            yield from (Given(each.location, base) for each in _in_folder(folder, maps))
        return
    outputs = set() if maps else written_by_geoseg(files)
    if outputs.issuperset(files):
        raise InputError(f"{pattern}: matches only files that geoseg wrote; give the scenes")
    for path in files:
        if path not in outputs:
            yield Given(path, base)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _content(path: Path) -> bytes:
    """The bytes of a list, which may be a pipe."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputMissingError(f"{path}: no such list; write one path or URL in each line") from None
    except OSError as error:
        raise InputError(f"{path}: the list cannot be read ({error.strerror})") from error


def _listed(name: str, content: bytes, maps: bool, beside: Path | None = None) -> Iterator[Given]:
    """Yield what the lines of a list stand for; relative paths are those of the working directory."""
    entries = [locate(line) for line in _lines(name, content)]
    if not entries:
        raise InputError(f"{name}: the list names nothing; write one path or URL in each line")
    first = next((entry for entry in local(*entries) if not entry.is_absolute()), None)
    if first is not None and beside is not None and not os.path.lexists(first) and os.path.lexists(beside / first):
        raise InputMissingError(
            f"{name}: {first} is not in the working directory but beside the list; run the command in {beside}"
        )
    for entry in entries:
        yield from _expanded(entry, maps, lists=False)


def _lines(name: str, content: bytes) -> Iterator[str]:
    """Yield the lines of a list without empty ones and comments."""
    encoding = next((encoding for mark, encoding in _ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(f"{name}: is no list of paths in UTF-8 (line {number}); write one path in each line") from None
    if "\0" in text or len(content) > _MAX_BYTES:
        raise InputError(f"{name}: is no list of paths; write one path or URL in each line")
    for line in text.removeprefix("\ufeff").split("\n"):
        entry = line.strip()
        if entry and not entry.startswith(_COMMENT):
            yield entry


def _distinct(found: Iterable[Given]) -> Iterator[Given]:
    """Yield each raster once, by whatever path it is reached; one warning tells of the others."""
    seen: set[tuple[str, str]] = set()
    again: list[Location] = []
    for each in found:
        # Links of different names to one file have outputs of different names.
        location = each.location
        key = location.url if isinstance(location, Remote) else os.path.realpath(location)
        if (location.stem, key) in seen:
            again.append(location)
            continue
        seen.add((location.stem, key))
        yield each
    if again:
        more = f" and {len(again) - 1} more" if len(again) > 1 else ""
        log.warning("%s%s: given more than once; taken once", again[0], more)


def _folder(location: Location) -> str:
    """The folder of a raster, as an absolute path or a URL."""
    if isinstance(location, Remote):
        return str(location).rpartition("/")[0]
    return os.path.abspath(location.parent)  # noqa: PTH100


def _is_remote(folder: str) -> bool:
    return isinstance(locate(folder), Remote)
