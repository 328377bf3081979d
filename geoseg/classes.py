"""The class map: class id -> name and colour. 0 is nodata, classes are 1..K.

Palette, category names, styles, legend and attribute tables are all made from one class map.
"""

from __future__ import annotations

import colorsys
import re
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
    """

    id: int
    name: str
    colour: str

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
    """The classes 1..K. Names lose the blanks around them, which several formats would not keep.

    Attributes:
        classes: The classes in order of their ids.

    Raises:
        SettingError: The ids are not 1..K or exceed 65534, two classes have one name, a name contains control
            characters, or a colour is not '#rrggbb'.
    """

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        stripped = tuple(c if c.name == c.name.strip() else replace(c, name=c.name.strip()) for c in self.classes)
        object.__setattr__(self, "classes", stripped)
        if [c.id for c in self.classes] != list(range(1, len(self.classes) + 1)):
            raise SettingError("the ids of a class map must be 1, 2, ..., K, in this order")
        if len({c.name for c in self.classes}) != len(self.classes):
            raise SettingError("two classes of a class map have the same name")
        if len(self.classes) > _MAX_CLASSES:
            raise SettingError(f"a class map has {len(self.classes)} classes; it can have at most {_MAX_CLASSES}")
        for entry in self.classes:
            if _CONTROL.search(entry.name):
                raise SettingError(f"the name of class {entry.id} is {entry.name!r}; remove the control characters")
            if not re.fullmatch("#[0-9a-fA-F]{6}", entry.colour):
                raise SettingError(f"the colour of {entry.name} is {entry.colour!r}; write it as #rrggbb")

    @classmethod
    def default(cls, count: int) -> ClassMap:
        """Return `count` classes by `LandClass.default`."""
        return cls(tuple(map(LandClass.default, range(1, count + 1))))

    @classmethod
    def from_json(cls, data: list[Mapping[str, Any]]) -> ClassMap:
        """Return the class map that `to_json` made `data` from.

        Raises:
            SettingError: See the class.
            KeyError, TypeError, ValueError: `data` is something else.
        """
        return cls(tuple(LandClass(int(c["id"]), str(c["name"]), str(c["colour"])) for c in data))

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per class: id, name, colour."""
        return [{"id": c.id, "name": c.name, "colour": c.colour} for c in self.classes]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def dtype(self) -> str:
        """Type of the class raster: 'uint8', or 'uint16' above 254 classes."""
        return "uint8" if len(self) <= _MAX_UINT8_CLASSES else "uint16"


def _colour(class_id: int) -> str:
    if 1 <= class_id <= len(_COLOURS):
        return _COLOURS[class_id - 1]
    # Beyond the hand-picked colours, the golden angle keeps neighbouring ids far apart in hue.
    hue = (class_id * 0.618033988749895) % 1.0
    lightness = (0.35, 0.5, 0.65)[class_id % 3]
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, lightness, 0.6))
