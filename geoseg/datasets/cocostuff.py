"""COCO-Stuff in the protocol of Ji et al. 2019 ("Invariant Information Clustering"), as their code implements it.

The images of a curated list, of train2017 and val2017 together, at 0.33 of their size. All are trained on, matched and
scored: training sees crops at any position, scoring the 128 x 128 pixels in the middle. Bands are red, green and blue;
the network adds the Sobel derivatives of their grey value (`Recipe.edges`).

Label maps also decide which pixels count in the losses of training: those of the classes. So the protocol is
unsupervised but for that mask, which separates the classes from the rest, but never from each other.
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
from geoseg.datasets.reading import decode_ids, decode_rgb, image_size
from geoseg.datasets.resize import centre_crop, shrink_image, shrink_labels, shrunk_length
from geoseg.errors import InputError
from geoseg.raster.source import Pixels

CROP_SIZE = 128
"""Pixels along a side of what is scored."""
UNLABELLED = 255
"""In label maps: not labelled."""

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
"""The 15 classes in their order, each with its ids in the label maps (stuff is 91 to 181)."""

_FEW_NAMES = ("sky", "plant", "ground")
_FACTOR = 0.33
_MAX_ID = 181


class CocoStuff:
    """The images of a curated list. A `Dataset`.

    Args:
        folder: Of the data set.
        classes: 15, or 3: sky, plant and ground.
        masked: Leave pixels outside the classes out of the losses of training, as the protocol does; label maps are
            then read for training.

    Raises:
        InputMissingError: A folder or a list is missing.
        InputError: A folder is still packed, or a listed file does not exist.
    """

    def __init__(self, folder: Path, classes: Literal[3, 15] = 15, *, masked: bool = True) -> None:
        self.folder, self.name = folder, f"cocostuff{classes}"
        self.class_names = _FEW_NAMES if classes == 3 else tuple(CLASSES)
        self.bands = ("red", "green", "blue")
        self._classes = _class_table(self.class_names)
        self._pairs = find_pairs(folder, classes)
        self.sources = [self._source(pair, masked) for pair in self._pairs]
        self.labelled = range(len(self._pairs))
        self.files = [path for pair in self._pairs for path in (pair.image, pair.labels)]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return the 128 x 128 pixels in the middle and their validity; 0 and invalid beyond the image."""
        pixels, valid = _load(self._pairs[index])
        return centre_crop(pixels, CROP_SIZE), centre_crop(valid, CROP_SIZE)

    def labels(self, index: int) -> Labels:
        """Return the classes of `image(index)`, int16 (128, 128); IGNORED outside the classes and beyond the image.

        Raises:
            InputError: The label map is damaged, of another size than the image, or holds unknown ids.
        """
        return centre_crop(self._labels(self._pairs[index]), CROP_SIZE, IGNORED)

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _source(self, pair: Pair, masked: bool) -> DatasetImage:
        return DatasetImage(
            pair.image,
            self.bands,
            np.dtype(np.uint8),
            measure=partial(_measure, pair),
            load=partial(_load, pair),
            mask=partial(self._mask, pair) if masked else None,
            check=partial(_check_sizes, pair) if masked else partial(image_size, pair.image),
        )

    def _mask(self, pair: Pair) -> Mask:
        mask: Mask = self._labels(pair) != IGNORED
        return mask

    def _labels(self, pair: Pair) -> Labels:
        ids = decode_ids(pair.labels)
        _check_sizes(pair)
        unknown = (ids > _MAX_ID) & (ids != UNLABELLED)
        if unknown.any():
            row, col = (int(i) for i in np.argwhere(unknown)[0])
            raise InputError(
                f"{pair.labels}: {int(unknown.sum())} of its {ids.size} pixels hold ids above {_MAX_ID}, the first "
                f"is {ids[row, col]} at row {row}, column {col}; ids are 0 to {_MAX_ID}, and {UNLABELLED}"
            )
        classes: Labels = self._classes[shrink_labels(ids, _FACTOR)]
        return classes


def _check_sizes(pair: Pair) -> None:
    """Raise InputError where headers show that an image and its label map differ in size."""
    size, found = image_size(pair.image), image_size(pair.labels)
    if found != size:
        raise InputError(
            f"{pair.labels}: has {found[1]} x {found[0]} pixels, its image {pair.image} has {size[1]} x {size[0]}"
        )


def _load(pair: Pair) -> Pixels:
    pixels = shrink_image(decode_rgb(pair.image), _FACTOR)
    return pixels, np.ones(pixels.shape[1:], dtype=bool)


def _measure(pair: Pair) -> tuple[int, int]:
    rows, cols = image_size(pair.image)
    return shrunk_length(rows, _FACTOR), shrunk_length(cols, _FACTOR)


def _class_table(names: Sequence[str]) -> Labels:
    """Id in a label map -> class index or IGNORED, int16 (256,)."""
    table = np.full(256, IGNORED, dtype=np.int16)
    for index, name in enumerate(names):
        table[list(CLASSES[name])] = index
    return table
