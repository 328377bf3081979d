"""Edits of a class map: new names, colours and order, classes merged and split. Each returns a new class map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from geoseg.classes import NODATA, ClassMap, LandClass
from geoseg.errors import SettingError

_FEW = 12
"""Classes that an error lists."""


def find(classes: ClassMap, text: str) -> LandClass:
    """Return the class that a text names, by its name or by its id.

    Raises:
        SettingError: There is none, or the text is the name of one class and the id of another.
    """
    wanted = text.strip()
    found = [entry for entry in classes.classes if entry.name == wanted]
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= 5:
        found += [entry for entry in classes.classes if entry.id == int(wanted) and entry not in found]
    if len(found) > 1:
        raise SettingError(
            f"{wanted!r} is the name of class {found[0].id} and the id of another one, {found[1].name}; call them by "
            "what is theirs alone"
        )
    if found:
        return found[0]
    few = ", ".join(f"{entry.id} {entry.name}" for entry in classes.classes[:_FEW])
    more = f" and {len(classes) - _FEW} more" if len(classes) > _FEW else ""
    raise SettingError(f"there is no class {text!r}; there are {few}{more}")


def set_class(classes: ClassMap, class_id: int, name: str | None = None, colour: str | None = None) -> ClassMap:
    """Return the class map with another name or colour of a class.

    Raises:
        SettingError: See `ClassMap`.
    """
    old = classes[class_id]
    return _with(classes, replace(old, name=old.name if name is None else name, colour=colour or old.colour))


def rename(classes: ClassMap, names: Mapping[str, str]) -> ClassMap:
    """Return the class map with new names. Classes that get one name become one, with the id and colour of the first.

    Args:
        classes: The class map.
        names: Name or id of a class -> its new name.

    Raises:
        SettingError: There is no such class; see also `ClassMap`.
    """
    wanted = {find(classes, text).id: name for text, name in names.items()}
    groups: dict[str, list[int]] = {}
    for class_id, name in sorted(wanted.items()):
        groups.setdefault(name, []).append(class_id)
    for ids in groups.values():
        classes = merge(classes, ids, into=ids[0])
    # All at once: two classes may exchange their names.
    return ClassMap(tuple(replace(entry, name=wanted.get(entry.id, entry.name)) for entry in classes.classes))


def merge(classes: ClassMap, ids: Iterable[int], into: int, name: str | None = None) -> ClassMap:
    """Return the class map in which one class has the clusters of several.

    Args:
        classes: The class map.
        ids: The classes that end; `into` may be among them.
        into: The class that has their clusters then. It keeps its id and colour.
        name: Its new name; None keeps the old one.

    Raises:
        SettingError: See `ClassMap`.
    """
    merged = {*ids, into}
    clusters = tuple(cluster for class_id in merged for cluster in classes[class_id].clusters)
    kept = replace(classes[into], clusters=clusters, name=classes[into].name if name is None else name)
    return ClassMap(
        tuple(kept if entry.id == into else entry for entry in classes.classes if entry.id not in merged - {into})
    )


def split(classes: ClassMap, class_id: int, names: Mapping[int, str] | None = None) -> ClassMap:
    """Return the class map in which every cluster of a class is a class again.

    The class keeps the cluster with its id, or its first one. The others get the lowest free ids, their own if they
    are free, and the names that they had at first.

    Args:
        classes: The class map.
        class_id: The class.
        names: Cluster -> its first name, where that is not 'class N'.

    Raises:
        SettingError: The class has one cluster only.
    """
    old = classes[class_id]
    if len(old.clusters) == 1:
        raise SettingError(f"class {class_id}, {old.name}, has one cluster only; there is nothing to split")
    kept = class_id if class_id in old.clusters else old.clusters[0]
    entries = {entry.id: entry for entry in classes.classes} | {class_id: replace(old, clusters=(kept,))}
    first, taken = names or {}, {entry.name for entry in entries.values()}
    for cluster in old.clusters:
        if cluster == kept:
            continue
        free = cluster if cluster not in entries else next(i for i in range(1, len(entries) + 2) if i not in entries)
        new = replace(LandClass.default(cluster), id=free, clusters=(cluster,))
        new = replace(new, name=first.get(cluster, new.name))
        while new.name in taken:
            new = replace(new, name=f"{new.name} again")
        taken.add(new.name)
        entries[free] = new
    return ClassMap(tuple(entries[i] for i in sorted(entries)))


def reorder(classes: ClassMap, first: Sequence[int]) -> ClassMap:
    """Return the class map numbered anew from 1, without gaps: the given classes first, the others as they were."""
    chosen = dict.fromkeys(first)
    ordered = [*(classes[i] for i in chosen), *(entry for entry in classes.classes if entry.id not in chosen)]
    return ClassMap(tuple(replace(entry, id=i) for i, entry in enumerate(ordered, start=1)))


def translation(old: ClassMap, new: ClassMap) -> Mapping[int, int]:
    """Return the new id of each old one, so that a map with the old classes becomes one with the new classes.

    The two are joined by their clusters. A class of a map cannot be taken apart, only a cluster of a model.

    Raises:
        SettingError: The numbers of clusters differ, or an old class has clusters of several new ones.
    """
    if old.clusters != new.clusters:
        raise SettingError(
            f"the map has {old.clusters} clusters, the new classes {new.clusters}; they are of different models"
        )
    of_cluster = new.class_of_cluster()
    found = {NODATA: NODATA}
    for entry in old.classes:
        ids = sorted({of_cluster[cluster] for cluster in entry.clusters})
        if len(ids) > 1:
            names = " and ".join(new[i].name for i in ids[:2])
            raise SettingError(
                f"class {entry.id} of the map, {entry.name}, has clusters of {names}; a map cannot be taken apart: "
                "predict it again"
            )
        found[entry.id] = ids[0]
    return found


def _with(classes: ClassMap, entry: LandClass) -> ClassMap:
    return ClassMap(tuple(entry if other.id == entry.id else other for other in classes.classes))
