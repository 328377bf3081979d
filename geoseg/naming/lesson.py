"""The classes of a lesson: those that references name, joined with those that the model was taught before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import SettingError
from geoseg.model.file import Model
from geoseg.naming.fitting import colliding
from geoseg.vector.features import Value

log = logging.getLogger(__name__)

_MAX_ID = 65534


@dataclass(frozen=True)
class Lesson:
    """What the values of references mean for a model.

    Attributes:
        names: The classes as references call them: those known before, then the new ones.
        indices: For each value of the references, the index of its class; -1 leaves it out.
        classes: The class map of the model that is taught.
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    classes: ClassMap

    def name(self, index: int) -> str:
        """Return what the class map calls the class with an index."""
        return self.classes[self.classes.class_of_cluster()[index + 1]].name


def lesson_of(model: Model, values: Sequence[Value], names: Mapping[Value, str], known_only: bool) -> Lesson:
    """Return what the values of references mean.

    A value that is a whole number becomes the id of its class, if all of them can be ids. Others are numbered in the
    order of their names. A class that was renamed since is found by its old name and by its new one.

    Args:
        model: The model.
        values: The values.
        names: What a value is called, where that is not the value.
        known_only: Leave out classes that the model was not taught before.

    Raises:
        SettingError: No class is left, or there are none to know, or a name is none of a class. The message does not
            name the references.
    """
    taught = model.teaching
    if taught is None:
        if known_only:
            raise SettingError("--known-only needs a model that was taught classes before; leave it out")
        return _first(values, names)
    # A name that a class has now counts for more than one that another class had before.
    known = {entry.name: entry.clusters[0] - 1 for entry in model.classes.classes}
    for index, name in enumerate(taught.names):
        known.setdefault(name, index)
    for entry in model.classes.classes:
        known.setdefault(str(entry.id), entry.clusters[0] - 1)
    new: dict[Value, int] = {}
    indices = []
    for value in values:
        text = str(value)
        index = known.get(text, known.get(names.get(value, text), -1))
        if index < 0 and not known_only:
            index = new.setdefault(value, len(taught.names) + len(new))
        indices.append(index)
    if not any(index >= 0 for index in indices):
        raise SettingError(
            f"names no class that the model was taught ({', '.join(taught.names[:12])}); leave --known-only "
            "out to teach it new ones"
        )
    return Lesson((*taught.names, *map(str, new)), tuple(indices), _extended(model.classes, new, names))


def _first(values: Sequence[Value], names: Mapping[Value, str]) -> Lesson:
    texts = [str(value) for value in values]
    if len(values) < 2:
        raise SettingError(
            f"has references of {len(values)} class{'es' * (len(values) != 1)} here; give those of two classes or more"
        )
    numbers = [value for value in values if isinstance(value, int) and 1 <= value <= _MAX_ID]
    if len(numbers) == len(values):
        order = sorted(range(len(values)), key=lambda i: numbers[i])
        ids = [numbers[i] for i in order]
    else:
        order = sorted(range(len(values)), key=lambda i: (names.get(values[i], texts[i]).casefold(), texts[i]))
        ids = list(range(1, len(values) + 1))
    place = {position: index for index, position in enumerate(order)}
    entries = [
        replace(LandClass.default(ids[index]), name=_name(values[i], names), clusters=(index + 1,))
        for index, i in enumerate(order)
    ]
    for one, other in colliding([entry.name for entry in entries]):
        log.warning("classes %s and %s differ in upper and lower case only; are they one?", one, other)
    return Lesson(tuple(texts[i] for i in order), tuple(place[i] for i in range(len(values))), ClassMap(tuple(entries)))


def _extended(classes: ClassMap, new: Mapping[Value, int], names: Mapping[Value, str]) -> ClassMap:
    """Return a class map with more classes; a whole number that is free becomes the id of its class."""
    entries = {entry.id: entry for entry in classes.classes}
    for value, index in new.items():
        wanted = value if isinstance(value, int) and 1 <= value <= _MAX_ID else 0
        number = wanted if wanted and wanted not in entries else max(entries) + 1
        entries[number] = replace(LandClass.default(number), name=_name(value, names), clusters=(index + 1,))
    return ClassMap(tuple(entries[number] for number in sorted(entries)))


def _name(value: Value, names: Mapping[Value, str]) -> str:
    return names.get(value) or (f"class {value}" if isinstance(value, int) else value)
