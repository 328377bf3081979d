"""Edits of the classes of a map, which are kept until they are applied. Imports neither QGIS nor geoseg."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_RESERVED = ("nodata", "no data")
_UNNAMED = re.compile(r"class \d+( again)*")


class NamingError(Exception):
    """An edit that is not possible, or a file that cannot be used; the text is one line for the user."""


@dataclass(frozen=True)
class Place:
    """An example of a class: its bounds in the CRS of the map, and left, top, width and height on the class sheet."""

    extent: tuple[float, ...]
    box: tuple[int, ...]


@dataclass(frozen=True)
class LandClass:
    """A class of a map, with what geoseg says of it; None where nothing is known.

    Attributes:
        id, name, colour, clusters: As in the record; the colour is '#rrggbb'.
        share: Of the mapped area, in [0, 1].
        hectares: Its area.
        confidence: Mean, in [0, 1].
        guess: What it may be.
        places: Its examples on the class sheet.
    """

    id: int
    name: str
    colour: str
    clusters: tuple[int, ...]
    share: float | None = None
    hectares: float | None = None
    confidence: float | None = None
    guess: str | None = None
    places: tuple[Place, ...] = ()

    @property
    def unnamed(self) -> bool:
        """Whether nobody has named it yet."""
        return _UNNAMED.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Row:
    """A class as it will be: with its new name and colour, and the areas of the classes that become part of it.

    Attributes:
        entry: The class.
        into: The class that it becomes part of; None for a class that stays.
        parts: Number of classes that become part of it.
        changed: Whether applying changes it.
    """

    entry: LandClass
    into: int | None
    parts: int
    changed: bool


@dataclass(frozen=True)
class Edits:
    """What is changed, by class id: new names, new colours, and classes that become part of others."""

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)
    into: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.names or self.colours or self.into)


def classes_of(entries: Iterable[Mapping[str, Any]]) -> tuple[LandClass, ...]:
    """Return the classes in the JSON of a record, a model card, or `geoseg classes show --json`.

    Raises:
        NamingError: It is something else.
    """
    try:
        return tuple(
            LandClass(
                int(e["id"]), str(e["name"]), str(e["colour"]).lower(), tuple(e.get("clusters") or (int(e["id"]),)),
                e.get("share"), e.get("hectares"), e.get("confidence"), e.get("guess"),
                tuple(Place(tuple(p["extent"]), tuple(p["box"])) for p in e.get("places", ())),
            )
            for e in entries
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NamingError(f"these are no classes of geoseg ({error!r})") from error


class Naming:
    """The classes of a map, and the edits of them. Every edit can be undone.

    Args:
        classes: The classes, as they are on disk.

    Attributes:
        classes: The same.
        edits: The edits.
    """

    def __init__(self, classes: Sequence[LandClass]) -> None:
        self.classes = tuple(classes)
        self.edits = Edits()
        self._past: list[Edits] = []
        self._future: list[Edits] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an edit to do again."""
        return bool(self._future)

    def learn(self, classes: Sequence[LandClass]) -> None:
        """Take over what geoseg says of the same classes; edits are kept as far as their classes are still there."""
        self.classes = tuple(classes)
        ids = {entry.id for entry in self.classes}
        self.edits = self._clean(
            Edits(
                {i: name for i, name in self.edits.names.items() if i in ids},
                {i: colour for i, colour in self.edits.colours.items() if i in ids},
                {i: to for i, to in self.edits.into.items() if {i, to} <= ids},
            )
        )

    def rows(self) -> list[Row]:
        """Return the classes as they will be, the largest first, each followed by those that become part of it."""
        groups: dict[int, list[LandClass]] = {}
        for entry in self.classes:
            groups.setdefault(self.edits.into.get(entry.id, entry.id), []).append(entry)
        found = [self._group(key, group) for key, group in groups.items()]
        found.sort(key=lambda rows: (-(rows[0].entry.share or 0.0), rows[0].entry.id))
        return [row for rows in found for row in rows]

    def row(self, class_id: int) -> Row:
        """Return the row of a class."""
        return next(row for row in self.rows() if row.entry.id == class_id)

    def rename(self, class_id: int, text: str) -> str:
        """Give a class a name. The name of another class makes it part of that one. Returns what happened.

        Raises:
            NamingError: It cannot be the name of a class.
        """
        name = " ".join(_CONTROL.sub(" ", text).split())
        if not name:
            raise NamingError("a class needs a name")
        if name.lower() in _RESERVED:
            raise NamingError(f"pixels without a class are called {name}; give the class another name")
        same = next((r for r in self.rows() if r.into is None and r.entry.name == name), None)
        if same is not None and same.entry.id != class_id:
            self.merge([class_id], same.entry.id)
            return f"class {class_id} becomes part of {name}, as there is a class of that name"
        self._set(replace(self.edits, names={**self.edits.names, class_id: name}))
        return ""

    def recolour(self, ids: Iterable[int], colour: str) -> None:
        """Give classes a colour, '#rrggbb'."""
        self._set(replace(self.edits, colours={**self.edits.colours, **dict.fromkeys(ids, colour.lower())}))

    def merge(self, ids: Iterable[int], into: int) -> None:
        """Make classes, and what is part of them, part of another class, which keeps its name and colour."""
        self.merge_groups([(ids, into)])

    def merge_groups(self, groups: Iterable[tuple[Iterable[int], int]]) -> None:
        """Merge several groups of classes at once: the classes of each, and the one that they become part of."""
        links = dict(self.edits.into)
        for ids, into in groups:
            root = links.get(into, into)
            for class_id in {*ids} - {root}:
                links.update({i: root for i, to in links.items() if to == class_id})
                links[class_id] = root
        self._set(replace(self.edits, into=links))

    def take_out(self, ids: Iterable[int]) -> None:
        """Let classes be classes again, and all parts of those that are not part of another.

        One whose name another class has got meanwhile gets a number: two classes of a name would be one.
        """
        out = {*ids}
        into = {i: to for i, to in self.edits.into.items() if not {i, to} & out}
        names, taken = dict(self.edits.names), {row.entry.name for row in self.rows() if row.into is None}
        for entry in self.classes:
            if entry.id in self.edits.into and entry.id not in into:
                own = names.get(entry.id, entry.name)
                name = next(name for name in _numbered(own) if name not in taken)
                taken.add(name)
                if name != own:
                    names[entry.id] = name
        self._set(replace(self.edits, names=names, into=into))

    def accept_guesses(self, ids: Iterable[int] | None = None) -> int:
        """Call classes by their guesses: the given ones, or all without a name, with a question mark. Returns how many.

        Classes of one guess get numbers: `bare? 2`.
        """
        wanted = None if ids is None else {*ids}
        names = dict(self.edits.names)
        taken = {row.entry.name for row in self.rows() if row.into is None}
        count = 0
        for row in self.rows():
            entry = row.entry
            if (
                not entry.guess
                or row.into is not None
                or (not entry.unnamed if wanted is None else entry.id not in wanted)
            ):
                continue
            first = f"{entry.guess}?" if wanted is None else entry.guess
            names[entry.id] = next(n for n in _numbered(first) if n not in taken)
            taken.add(names[entry.id])
            count += 1
        self._set(replace(self.edits, names=names))
        return count

    def undo(self) -> None:
        """Undo the last edit."""
        self._future.append(self.edits)
        self.edits = self._past.pop()

    def redo(self) -> None:
        """Do again what was undone last."""
        self._past.append(self.edits)
        self.edits = self._future.pop()

    def revert(self) -> None:
        """Undo all edits at once, as one edit."""
        self._set(Edits())

    def summary(self) -> str:
        """Return what is not applied yet: '2 new names, 1 merge'; empty if there is nothing."""
        counts = ((len(self.edits.names), "new name"), (len(self.edits.colours), "new colour"),
                  (len(self.edits.into), "merged class"))  # fmt: skip
        return ", ".join(
            f"{count} {word}{'' if count == 1 else 'es' if word.endswith('s') else 's'}"
            for count, word in counts
            if count
        )

    def legend(self) -> str:
        """Return all classes as they will be, as JSON for `geoseg classes import`."""
        entries = [
            {"id": row.entry.id, "name": row.entry.name, "colour": row.entry.colour, "clusters": row.entry.clusters}
            for row in self.rows()
            if row.into is None
        ]
        return json.dumps({"classes": entries}, indent=1)

    def draft(self) -> str:
        """Return the edits as text for `restore`; empty if there are none."""
        return json.dumps(vars(self.edits)) if self.edits else ""

    def restore(self, draft: str) -> bool:
        """Take over the edits of `draft`, as far as their classes are there; return whether there are any."""
        try:
            content = json.loads(draft)
            found = [{int(i): value for i, value in content[name].items()} for name in ("names", "colours", "into")]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        self.edits = Edits(*found)
        self.learn(self.classes)
        return bool(self.edits)

    def _group(self, key: int, group: Sequence[LandClass]) -> list[Row]:
        ordered = sorted(group, key=lambda entry: (entry.id != key, -(entry.share or 0.0), entry.id))
        first, edits = ordered[0], self.edits
        name, colour = edits.names.get(key, first.name), edits.colours.get(key, first.colour)
        whole = replace(
            first, name=name, colour=colour, clusters=tuple(sorted(c for e in ordered for c in e.clusters)),
            share=_sum(e.share for e in ordered), hectares=_sum(e.hectares for e in ordered),
            places=tuple(place for e in ordered for place in e.places),
        )  # fmt: skip
        changed = len(ordered) > 1 or (name, colour) != (first.name, first.colour)
        return [
            Row(whole, None, len(ordered) - 1, changed),
            *(Row(replace(entry, colour=colour), key, 0, True) for entry in ordered[1:]),
        ]

    def _set(self, edits: Edits) -> None:
        new = self._clean(edits)
        if new != self.edits:
            self._past.append(self.edits)
            self._future.clear()
            self.edits = new

    def _clean(self, edits: Edits) -> Edits:
        """The edits without those that change nothing; a class that becomes part of another needs no name."""
        old = {entry.id: entry for entry in self.classes}
        return Edits(
            {i: n for i, n in edits.names.items() if n != old[i].name and i not in edits.into},
            {i: c for i, c in edits.colours.items() if c != old[i].colour and i not in edits.into},
            dict(edits.into),
        )


def _numbered(name: str) -> Iterable[str]:
    yield name
    number = 2
    while True:
        yield f"{name} {number}"
        number += 1


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
