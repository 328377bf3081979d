"""geoseg classes suggest: which classes are alike, what they may be, and colours that say so. No network is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoseg.classes import ClassMap, LandClass
from geoseg.config import SuggestClassesConfig
from geoseg.errors import InputError
from geoseg.files.targets import check_target
from geoseg.jobs.class_edits import is_model
from geoseg.jobs.class_facts import ClassFacts, ClassTable, class_table
from geoseg.location import local
from geoseg.naming.colours import MOST, coloured
from geoseg.naming.dendrogram import draw_tree
from geoseg.naming.guesses import MEANINGS, Meaning
from geoseg.naming.likeness import Tree, descriptors, tree_of
from geoseg.naming.looks import Look
from geoseg.outputs.pictures import save_png

GUESS = "?"
"""What a guessed name ends in."""


@dataclass(frozen=True)
class Group:
    """Classes that may be one.

    Attributes:
        ids: In ascending order.
        into: The largest of them.
        share: Of the area.
        meaning: What at least half of the area may be; None where it has no such guess.
    """

    ids: tuple[int, ...]
    into: int
    share: float
    meaning: Meaning | None

    @property
    def arguments(self) -> str:
        """What follows `geoseg classes merge FILE`."""
        return f"{' '.join(str(i) for i in self.ids if i != self.into)} --into {self.into}"

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values."""
        return {"ids": list(self.ids), "into": self.into, "share": self.share, "guess": self.meaning}


@dataclass(frozen=True, eq=False)
class Suggestion:
    """What is suggested for the classes of a model or a map.

    Attributes:
        table: What is known of them.
        tree: How they merge.
        groups: The classes that are left if the tree is cut, in the order of the tree.
        borders: Whether it counts how often classes touch.
    """

    table: ClassTable
    tree: Tree
    groups: tuple[Group, ...]
    borders: bool

    @property
    def unseen(self) -> tuple[int, ...]:
        """The classes that do not occur, or of which nothing is known."""
        return tuple(row.entry.id for row in self.table.rows if row.entry.id not in self.tree.ids)

    def to_json(self) -> dict[str, Any]:
        """Return the suggestion as JSON values. `joins` are those of the tree, whose leaves are `leaves`."""
        return {
            "classes": [row.to_json() for row in self.table.rows],
            "groups": [group.to_json() for group in self.groups],
            "unseen": list(self.unseen),
            "adjacency": self.borders,
            "leaves": list(self.tree.ids),
            "joins": [vars(join) for join in self.tree.joins],
        }

    def named(self, classes: ClassMap) -> ClassMap:
        """Return the class map in which classes that have no name yet are called by their guesses, such as 'water?'."""
        names = {entry.name for entry in classes.classes}
        guesses = {row.entry.id: row.meaning for row in self.table.rows}
        found = []
        for entry in classes.classes:
            meaning = guesses.get(entry.id)
            if meaning is not None and entry.name == LandClass.default(entry.id).name:
                entry = replace(entry, name=_free(f"{meaning}{GUESS}", names))
                names.add(entry.name)
            found.append(entry)
        return ClassMap(tuple(found))

    def coloured(self, classes: ClassMap) -> ClassMap:
        """Return the class map with colours by what the classes look like; as it is with too many classes."""
        rows = {row.entry.id: row for row in self.table.rows}
        if len(rows) > MOST or self.table.appearance is None:
            return classes
        unknown = Look(None, 0.0)
        return coloured(classes, [rows[entry.id].look or unknown for entry in classes.classes])

    def save_picture(self, config: SuggestClassesConfig) -> None:
        """Draw the tree to `config.picture`.

        Raises:
            WriteError: The file system failed.
        """
        assert config.picture is not None
        entries = {row.entry.id: row.entry for row in self.table.rows}
        notes = {row.entry.id: _note(row) for row in self.table.rows}
        save_png(draw_tree(self.tree, entries, notes, len(self.groups)), config.picture)


def suggest(config: SuggestClassesConfig) -> Suggestion:
    """Return what is suggested; nothing is written.

    Raises:
        InputMissingError, InputError, SettingError: See `class_table`; also a model that tells nothing of its classes,
            or a map without a scene and a model.
        OutputError: The picture cannot or must not be written.
    """
    if config.picture is not None:
        inputs = (config.file, *([config.map] if config.map else []), *local(*([config.scene] if config.scene else [])))
        check_target(config.picture, config.overwrite, inputs)
    table = class_table(config.file, config.map, config.scene, config, borders=True)
    if table.appearance is None:
        raise InputError(f"{config.file}: nothing is known of what its classes look like; {_way_out(config)}")
    features = descriptors(table.appearance, table.low, table.high)
    tree = tree_of([row.entry.id for row in table.rows], features, table.appearance.shares, table.borders)
    count = tree.proposed if config.classes is None else min(config.classes, len(tree.ids))
    rows = {row.entry.id: row for row in table.rows}
    groups = tuple(_group([rows[i] for i in ids]) for ids in tree.groups(count))
    return Suggestion(table, tree, groups, table.borders is not None)


def _group(rows: Sequence[ClassFacts]) -> Group:
    share = sum(row.share or 0.0 for row in rows)
    areas = {m: sum(row.share or 0.0 for row in rows if row.meaning == m) for m in MEANINGS}
    meaning = max(MEANINGS, key=lambda m: areas[m])
    largest = max(rows, key=lambda row: (row.share or 0.0, -row.entry.id))
    ids = tuple(sorted(row.entry.id for row in rows))
    return Group(ids, largest.entry.id, share, meaning if 0 < share <= 2 * areas[meaning] else None)


def _note(row: ClassFacts) -> str:
    share = "" if row.share is None else f"{row.share:.1%}"
    return f"{share}  {row.meaning}{GUESS}" if row.meaning else share


def _free(name: str, names: set[str]) -> str:
    """The name, or with the first number behind it that is free."""
    numbered = (f"{name} {number}" for number in range(2, len(names) + 3))
    return name if name not in names else next(each for each in numbered if each not in names)


def _way_out(config: SuggestClassesConfig) -> str:
    """What would tell how the classes look."""
    if not is_model(config.file):
        return f"give its scene with --scene, or the model: geoseg classes suggest MODEL --map {config.file}"
    return "give its scene with --scene" if config.map else "give a map with --map, and its scene with --scene"
