"""Which classes a user chose, by names that may have commas in them, or by ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from geoseg.errors import SettingError

_MAX_LISTED = 40
"""Names that a message lists."""


def choose(raster: object, texts: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Return the classes that texts choose, as name -> id.

    Args:
        raster: What messages call the raster.
        texts: Each is a name, an id such as '3', or 'class 3'; or several of these with commas between them. Where a
            name has commas itself, the longest name that a text has at a place counts.
        known: Name -> id of the classes that have names.

    Raises:
        SettingError: No class has such a name.
    """
    found: dict[str, int] = {}
    for text in texts:
        for name in _split(raster, text, known):
            class_id = known[name] if name in known else _parse_id(name)
            assert class_id is not None, "names that are not known are ids"
            found[name] = class_id
    return found


def _split(raster: object, text: str, known: Mapping[str, int]) -> Iterator[str]:
    """Yield the names in a text, from left to right the longest that is known, or an id."""
    words, longest = text.split(","), 1 + max((name.count(",") for name in known), default=0)
    start = 0
    while start < len(words):
        ends = range(min(len(words), start + longest), start, -1)
        names = {end: ",".join(words[start:end]).strip() for end in ends}
        end = next((end for end in ends if names[end] in known or _parse_id(names[end]) is not None), None)
        if end is not None:
            yield names[end]
        elif names[start + 1]:
            raise SettingError(f"{raster}: has no class called {names[start + 1]!r}; known names are {_listed(known)}")
        start = end or start + 1


def _parse_id(name: str) -> int | None:
    """The id in '3' or 'class 3'; None in any other text."""
    return int(name.removeprefix("class ")) if re.fullmatch(r"(class )?-?\d+", name, re.ASCII) else None


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    if not shown:
        return "none: give ids"
    mark = "'" if any("," in name for name in shown) else ""
    more = f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
    return ", ".join(mark + name + mark for name in shown[:_MAX_LISTED]) + more
