"""The class map: class id -> name, colour and clusters. 0 is nodata.

Palette, category names, styles, legend and attribute tables are all made from one class map. Training finds K clusters,
each of which is a class at first, 1..K. Classes can be merged: a class then has several clusters. All classes keep
their ids, so that some ids below the highest have no class.
"""

from __future__ import annotations

import bisect
import colorsys
import itertools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from geoseg.errors import SettingError

NODATA = 0
"""Value of a pixel without a class, in every class raster."""

IGNORED = -1
"""Class index of a label that is not scored."""

_MAX_CLASSES = 65534
_MAX_UINT8_CLASSES = 254

_RESERVED = {"nodata", "no data"}
"""Names, in any case, of pixels without a class."""

# Characters that XML cannot hold or that a terminal would act on.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Colours of the first classes. Viewers with the common colour-vision deficiencies can distinguish them
# (Wong 2011, Nature Methods 8:441, and Tol's "muted" scheme).
_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00", "#332288",
    "#999933", "#88ccee", "#882255", "#44aa99", "#ddcc77", "#aa4499", "#117733", "#bbbbbb",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LandClass:
    """A class.

    Attributes:
        id: 1..65534 in a class map; any integer for a class of a raster that geoseg did not write.
        name: Its name.
        colour: Its colour as '#rrggbb'.
        clusters: The model's outputs that make the class, in ascending order; by default the one with its id.
    """

    id: int
    name: str
    colour: str
    clusters: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "clusters", tuple(sorted(self.clusters)) or (self.id,))

    @classmethod
    def default(cls, class_id: int) -> LandClass:
        """Return the class called 'class N', in a colour that depends only on the id."""
        return cls(class_id, f"class {class_id}", _colour(class_id))

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three values in [0, 255]."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


@dataclass(frozen=True)
class ClassMap:
    """The classes of a model or a map. Names lose the blanks around them, which several formats would not keep.

    Attributes:
        classes: The classes in order of their ids.

    Raises:
        SettingError: The ids do not ascend from 1 to at most 65534, two classes have one name, a name is empty or
            "nodata" or contains control characters, a colour is not '#rrggbb', or the clusters 1..K are not shared out:
            each to one class.
    """

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        stripped = tuple(c if c.name == c.name.strip() else replace(c, name=c.name.strip()) for c in self.classes)
        object.__setattr__(self, "classes", stripped)
        ids = [NODATA, *(entry.id for entry in self.classes)]
        if any(one >= two for one, two in itertools.pairwise(ids)):
            raise SettingError("the ids of a class map must be whole numbers from 1 up, each once, in ascending order")
        if ids[-1] > _MAX_CLASSES:
            raise SettingError(f"a class map has the id {ids[-1]}; the highest possible is {_MAX_CLASSES}")
        named: dict[str, int] = {}
        for entry in self.classes:
            _check(entry)
            if entry.name in named:
                raise SettingError(
                    f"classes {named[entry.name]} and {entry.id} are both called {entry.name}; give one of them "
                    "another name, or merge them"
                )
            named[entry.name] = entry.id
        owners: dict[int, int] = {}
        for entry in self.classes:
            for cluster in entry.clusters:
                if owners.setdefault(cluster, entry.id) != entry.id or entry.clusters.count(cluster) > 1:
                    raise SettingError(
                        f"cluster {cluster} is given twice, to classes {owners[cluster]} and {entry.id}; every cluster "
                        "must belong to one class, and to one only"
                    )
        missing = sorted(set(range(1, len(owners) + 1)) - set(owners))
        if missing:
            raise SettingError(f"no class has cluster {missing[0]}; every cluster 1, 2, ... must belong to one class")

    @classmethod
    def default(cls, count: int) -> ClassMap:
        """Return `count` classes by `LandClass.default`."""
        return cls(tuple(map(LandClass.default, range(1, count + 1))))

    @classmethod
    def from_json(cls, data: list[Mapping[str, Any]]) -> ClassMap:
        """Return the class map that `to_json` made `data` from.

        In older data, every class is the cluster with its id.

        Raises:
            SettingError: See the class.
            KeyError, TypeError, ValueError: `data` is something else.
        """
        return cls(
            tuple(
                LandClass(int(c["id"]), str(c["name"]), str(c["colour"]), tuple(map(int, c.get("clusters", ()))))
                for c in data
            )
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per class: id, name, colour, and clusters unless it is the one with its id."""
        return [
            {"id": c.id, "name": c.name, "colour": c.colour}
            | ({} if c.clusters == (c.id,) else {"clusters": list(c.clusters)})
            for c in self.classes
        ]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, class_id: int) -> LandClass:
        """Return the class with an id.

        Raises:
            KeyError: There is none.
        """
        index = bisect.bisect_left(self.classes, class_id, key=lambda entry: entry.id)
        if index == len(self.classes) or self.classes[index].id != class_id:
            raise KeyError(class_id)
        return self.classes[index]

    @property
    def highest(self) -> int:
        """The highest id, 0 without classes."""
        return self.classes[-1].id if self.classes else NODATA

    @property
    def clusters(self) -> int:
        """Number of clusters K, at least the number of classes."""
        return sum(len(entry.clusters) for entry in self.classes)

    def class_of_cluster(self) -> tuple[int, ...]:
        """Return the id of the class of each cluster; the first entry, for no cluster, is 0: K + 1 ids."""
        ids = {cluster: entry.id for entry in self.classes for cluster in entry.clusters}
        return NODATA, *(ids[cluster] for cluster in range(1, len(ids) + 1))

    @property
    def origins(self) -> dict[str, list[int]]:
        """The clusters of every class by its id, as a JSON object; empty if every class is the cluster with its id."""
        if all(entry.clusters == (entry.id,) for entry in self.classes):
            return {}
        return {str(entry.id): list(entry.clusters) for entry in self.classes}

    @property
    def dtype(self) -> str:
        """Type of the class raster: 'uint8', or 'uint16' if there are ids above 254."""
        return "uint8" if self.highest <= _MAX_UINT8_CLASSES else "uint16"


def _check(entry: LandClass) -> None:
    """Refuse a name or colour that some format cannot hold, or that would be misread.

    Raises:
        SettingError: See `ClassMap`.
    """
    if all(letter.isspace() or unicodedata.category(letter) == "Cf" for letter in entry.name):
        raise SettingError(f"class {entry.id} has no name; give it one")
    if entry.name.casefold() in _RESERVED:
        raise SettingError(f"class {entry.id} is called {entry.name}, as pixels without a class are; name it otherwise")
    if _CONTROL.search(entry.name):
        raise SettingError(f"the name of class {entry.id} is {entry.name!r}; remove the control characters")
    if not re.fullmatch("#[0-9a-fA-F]{6}", entry.colour):
        raise SettingError(f"the colour of {entry.name} is {entry.colour!r}; write it as #rrggbb")


def _colour(class_id: int) -> str:
    if 1 <= class_id <= len(_COLOURS):
        return _COLOURS[class_id - 1]
    # Beyond the hand-picked colours, the golden angle keeps neighbouring ids far apart in hue.
    hue = (class_id * 0.618033988749895) % 1.0
    lightness = (0.35, 0.5, 0.65)[class_id % 3]
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, lightness, 0.6))
