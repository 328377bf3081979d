"""COCO-Stuff in the protocol of Ji et al. 2019 ("Invariant Information Clustering"), as their code has it.

The images of a curated list, of train2017 and val2017 together, at 0.33 of their size: all are trained on, matched and
scored. Training sees crops anywhere, scoring the 128 x 128 pixels in the middle. Three bands: red, green, blue; the
network adds the Sobel derivatives of their grey (`Recipe.edges`).

The label maps also say which pixels count in the losses of training: those of the classes. So the protocol is
unsupervised but for that mask: it tells the classes from the rest, never from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np

from geoseg.classes import IGNORED
from geoseg.datasets.cocostuff_files import Pair, find_pairs
from geoseg.datasets.dataset import DatasetImage, Labels, Mask
from geoseg.datasets.reading import decode_colours, decode_ids, image_size
from geoseg.datasets.resize import centre, pick, shrink, shrunk
from geoseg.errors import InputError
from geoseg.raster.source import Pixels

CROP = 128
UNLABELLED = 255

CLASSES: dict[str, Sequence[int]] = {
    "ceiling": (101, 102),
    "floor": (100, 113, 114, 115, 116, 117),
    "food": (120, 121, 152, 169),
    "furniture": (97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164),
    "raw material": (99, 131, 138, 142),
    "textile": (91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167),
    "wall": (170, 171, 172, 173, 174, 175, 176),
    "window": (179, 180),
    "building": (94, 95, 127, 150, 157, 165),
    "ground": (110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158),
    "plant": (93, 96, 118, 123, 128, 133, 141, 162, 168),
    "sky": (105, 156),
    "solid": (126, 134, 149, 159, 161, 181),
    "structural": (98, 112, 137, 145, 163),
    "water": (119, 147, 154, 177, 178),
}
"""The ids in the label maps (stuff is 91 to 181) of each of the 15 classes, in their order."""

_FEW = ("sky", "plant", "ground")
_FACTOR = 0.33
_LAST_ID = 181


class CocoStuff:
    """The images of the curated list in `folder`.

    classes: 15, or 3: sky, plant and ground.
    masked: leave pixels outside the classes out of the losses, as the protocol does; label maps are then read for it.

    Raises:
        InputMissingError, InputError: a folder or a list is missing or still packed, or a listed file is not there.
    """

    def __init__(self, folder: Path, classes: Literal[3, 15] = 15, *, masked: bool = True) -> None:
        self.folder, self.name = folder, f"cocostuff{classes}"
        self.class_names = _FEW if classes == 3 else tuple(CLASSES)
        self.bands = ("red", "green", "blue")
        self._classes = _table(self.class_names)
        self._pairs = find_pairs(folder, classes)
        self.sources = [self._source(pair, masked) for pair in self._pairs]
        self.labelled = range(len(self._pairs))
        self.files = [path for pair in self._pairs for path in (pair.image, pair.labels)]

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return the 128 x 128 pixels in the middle; not valid, and 0, where the image ends."""
        pixels, inside = _whole(self._pairs[index])
        return centre(pixels, CROP), centre(inside, CROP)

    def labels(self, index: int) -> Labels:
        """Return the classes (128, 128) of `image(index)`; IGNORED outside the classes and where the image ends.

        Raises:
            InputError: the label map is damaged, not of the image's size, or holds ids there are not.
        """
        return centre(self._labels(self._pairs[index]), CROP, IGNORED)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _source(self, pair: Pair, masked: bool) -> DatasetImage:
        mask = partial(self._mask, pair) if masked else None
        dtype = np.dtype(np.uint8)
        check = partial(_check, pair) if masked else partial(image_size, pair.image)
        return DatasetImage(pair.image, self.bands, dtype, partial(_measure, pair), partial(_whole, pair), mask, check)

    def _mask(self, pair: Pair) -> Mask:
        mask: Mask = self._labels(pair) != IGNORED
        return mask

    def _labels(self, pair: Pair) -> Labels:
        ids = decode_ids(pair.labels)
        _check(pair)
        strange = (ids > _LAST_ID) & (ids != UNLABELLED)
        if strange.any():
            row, col = (int(i) for i in np.argwhere(strange)[0])
            raise InputError(
                f"{pair.labels}: {int(strange.sum())} of its {ids.size} pixels hold ids above {_LAST_ID}, the first "
                f"is {ids[row, col]} at row {row}, column {col}; ids are 0 to {_LAST_ID}, and {UNLABELLED}"
            )
        classes: Labels = self._classes[pick(ids, _FACTOR)]
        return classes


def _check(pair: Pair) -> None:
    """Raise InputError where an image and its label map differ in size, by their headers."""
    size, found = image_size(pair.image), image_size(pair.labels)
    if found != size:
        raise InputError(
            f"{pair.labels}: has {found[1]} x {found[0]} pixels, its image {pair.image} has {size[1]} x {size[0]}"
        )


def _whole(pair: Pair) -> Pixels:
    pixels = shrink(decode_colours(pair.image), _FACTOR)
    return pixels, np.ones(pixels.shape[1:], dtype=bool)


def _measure(pair: Pair) -> tuple[int, int]:
    rows, cols = image_size(pair.image)
    return shrunk(rows, _FACTOR), shrunk(cols, _FACTOR)


def _table(names: Sequence[str]) -> Labels:
    """Id in a label map -> class."""
    table = np.full(256, IGNORED, dtype=np.int16)
    for index, name in enumerate(names):
        table[list(CLASSES[name])] = index
    return table
