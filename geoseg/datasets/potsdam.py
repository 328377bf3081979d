"""Potsdam in the protocol of Ji et al. 2019 ("Invariant Information Clustering"), as their code has it.

38 tiles at half their size, cut into 15 x 15 patches of 200 x 200 pixels: 8550, of which the 5400 of 24 tiles have
labels. All are trained on; the labelled ones are matched and scored. Red, green, blue, near infrared, no edges.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

import numpy as np

from geoseg.datasets.dataset import DatasetImage, Faults, Labels
from geoseg.datasets.folders import check_folder, content, find_archive, find_folder, listed, read_list
from geoseg.datasets.potsdam_files import IMAGES, LABELS, PATCH, Patch, is_cut, is_of, open_patches, open_tiles
from geoseg.datasets.potsdam_labels import COLOURS
from geoseg.errors import InputError
from geoseg.raster.source import Pixels

LISTS = ("unlabelled_train.txt", "labelled_train.txt", "labelled_test.txt")
"""Lists of patch names that are honoured where they are there: what none of them names is left out."""

_BANDS = ("red", "green", "blue", "nir")
_MERGED = np.array([0, 1, 2, 2, 0, 1], dtype=np.int16)
_MERGED_NAMES = ("road and car", "building and clutter", "vegetation and tree")


class Potsdam:
    """The patches in `folder`: of tiles as ISPRS delivers them, or cut already, in `imgs` and `gt`.

    classes: 6, or 3, in which road and car, building and clutter, low vegetation and tree are one.
    faults: takes what is wrong with single tiles or patches; without it, anything is an error.

    Raises:
        InputMissingError, InputError: something is missing, still packed, damaged, or does not fit together.
    """

    def __init__(self, folder: Path, classes: Literal[3, 6] = 6, faults: Faults | None = None) -> None:
        check_folder(folder)
        self.folder, self.name = folder, f"potsdam{classes}"
        self.bands = _BANDS
        self.class_names = _MERGED_NAMES if classes == 3 else tuple(name for name, _ in COLOURS)
        self._files = ExitStack()
        try:
            own = Faults() if faults is None else faults
            patches = open_patches(folder, own) if is_cut(folder) else open_tiles(folder, self._files, own)
            if faults is None or not patches:
                own.settle(len(own.found) + len(patches))
            self._patches = _chosen(folder, patches, own)
        except BaseException:
            self.close()
            raise
        self.sources = [self._source(patch) for patch in self._patches]
        self.files = {path for patch in self._patches for path in patch.files}
        self.labelled = tuple(i for i, patch in enumerate(self._patches) if patch.labels is not None)

    @property
    def count(self) -> int:
        """How many patches there are."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return the whole patch: uint8 (4, 200, 200), and its validity."""
        return self._patches[index].image()

    def labels(self, index: int) -> Labels:
        """Return the classes (200, 200) of patch `index`; every pixel has one, clutter too.

        Raises:
            InputError: they are damaged, of another size, or hold colours of no class.
            ValueError: the patch has no labels.
        """
        patch = self._patches[index]
        if patch.labels is None:
            raise ValueError(f"patch {patch.name} has no labels")
        classes = patch.labels()
        return _MERGED[classes] if len(self.class_names) == 3 else classes

    def close(self) -> None:
        """Close the tiles."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _source(self, patch: Patch) -> DatasetImage:
        name, dtype = self.folder / patch.name, np.dtype(np.uint8)
        return DatasetImage(name, _BANDS, dtype, lambda: (PATCH, PATCH), patch.image, check=patch.check)


def is_potsdam(folder: Path) -> bool:
    """Whether `folder` looks like Potsdam with labels, complete or not, unpacked or not."""
    if is_cut(folder):
        names = content(folder / "imgs")
        return (folder / "gt").is_dir() and (any(name.endswith(".mat") for name in names) or bool(_lists(folder)))
    parts = ([IMAGES], LABELS)
    return all(find_folder(folder, names) or find_archive(folder, names) for names in parts)


def _lists(folder: Path) -> list[Path]:
    return [folder / name for name in LISTS if (folder / name).is_file()]


def _chosen(folder: Path, patches: list[Patch], faults: Faults) -> list[Patch]:
    """Those patches that the lists name, in the order of the lists, without those left out; all where there is no
    list."""
    lists = _lists(folder)
    if lists:
        by_name = {patch.name: patch for patch in patches}
        left_out = [path.stem for path in faults.found]
        named = [(name, path) for path in lists for name in read_list(path)]
        wanted = dict.fromkeys(each for each in named if not is_of(each[0], left_out))
        absent = [(name, path) for name, path in wanted if name not in by_name]
        if absent:
            name, path = absent[0]
            raise InputError(
                f"{path}: {len(absent)} of the {len(wanted)} patches named in {listed([p.name for p in lists])} are "
                f"not here, the first is {name}; here they are called like {patches[0].name}: a list fits one cutting"
            )
        patches = [by_name[name] for name in dict.fromkeys(name for name, _ in wanted)]
    if all(patch.labels is None for patch in patches):
        raise InputError(f"{folder}: none of the {len(patches)} patches has labels, so nothing could be scored")
    return patches
