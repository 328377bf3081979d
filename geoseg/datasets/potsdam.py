"""Potsdam in the protocol of Ji et al. 2019 ("Invariant Information Clustering"), as their code implements it.

38 tiles at half their size, cut into 15 x 15 patches of 200 x 200 pixels each: 8550 patches, of which the 5400 of 24
tiles have labels. All are trained on; the labelled ones are matched and scored. Bands are red, green, blue and near
infrared, without edges.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

import numpy as np

from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import DatasetImage, Labels
from geoseg.datasets.folders import check_folder, find_archive, find_folder, join_names, list_folder, read_list
from geoseg.datasets.potsdam_labels import COLOURS
from geoseg.datasets.potsdam_patches import PATCH_SIZE, Patch, open_patches
from geoseg.datasets.potsdam_tiles import IMAGES, LABELS, open_tiles
from geoseg.errors import InputError
from geoseg.raster.source import Pixels

LISTS = ("unlabelled_train.txt", "labelled_train.txt", "labelled_test.txt")
"""Lists of patch names. Where any exist, patches that none of them names are left out."""

_BANDS = ("red", "green", "blue", "nir")
_MERGED = np.array([0, 1, 2, 2, 0, 1], dtype=np.int16)
_MERGED_NAMES = ("road and car", "building and clutter", "vegetation and tree")


class Potsdam:
    """The Potsdam data set: tiles as ISPRS delivers them, or patches in `imgs` and `gt`. A `Dataset`.

    Args:
        folder: Of the data set.
        classes: 6; or 3, where road and car, building and clutter, low vegetation and tree are merged.
        bad_images: Takes tiles or patches that cannot be used, which are then left out; None makes any of them an
            error.

    Raises:
        InputMissingError, InputError: Something is missing, still packed, damaged, or does not fit together.
    """

    def __init__(self, folder: Path, classes: Literal[3, 6] = 6, bad_images: BadImages | None = None) -> None:
        check_folder(folder)
        self.folder, self.name = folder, f"potsdam{classes}"
        self.bands = _BANDS
        self.class_names = _MERGED_NAMES if classes == 3 else tuple(name for name, _ in COLOURS)
        self._files = ExitStack()
        try:
            bad = BadImages() if bad_images is None else bad_images
            patches = open_patches(folder, bad) if _is_cut(folder) else open_tiles(folder, self._files, bad)
            if bad_images is None or not patches:
                bad.enforce_limit(len(bad.errors) + len(patches))
            self._patches = _select_listed(folder, patches, bad)
        except BaseException:
            self.close()
            raise
        self.sources = [self._source(patch) for patch in self._patches]
        self.files = {path for patch in self._patches for path in patch.files}
        self.labelled = tuple(i for i, patch in enumerate(self._patches) if patch.labels is not None)

    @property
    def count(self) -> int:
        """Number of patches."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return a whole patch, uint8 (4, 200, 200), and its validity."""
        return self._patches[index].image()

    def labels(self, index: int) -> Labels:
        """Return the classes of a patch, int16 (200, 200); every pixel has one, as clutter is a class.

        Raises:
            InputError: The labels are damaged, of another size, or hold colours of no class.
            ValueError: The patch has no labels.
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
        return DatasetImage(name, _BANDS, dtype, lambda: (PATCH_SIZE, PATCH_SIZE), patch.image, check=patch.check)


def is_potsdam(folder: Path) -> bool:
    """Return whether a folder looks like Potsdam with labels, complete or not, unpacked or not."""
    if _is_cut(folder):
        names = list_folder(folder / "imgs")
        return (folder / "gt").is_dir() and (any(name.endswith(".mat") for name in names) or bool(_lists(folder)))
    parts = ([IMAGES], LABELS)
    return all(find_folder(folder, names) or find_archive(folder, names) for names in parts)


def is_label_raster(path: Path) -> bool:
    """Return whether a file is a label map: by its name, or by a folder of labels that it lies in.

    Args:
        path: Relative to the folder of the data set.
    """
    return path.stem.lower().endswith(("_label", "_noboundary")) or any(
        part == "gt" or part.startswith("5_Labels") for part in path.parts[:-1]
    )


def _is_cut(folder: Path) -> bool:
    """Whether `folder` holds patches rather than tiles."""
    return (folder / "imgs").is_dir() and find_folder(folder, [IMAGES]) is None


def _lists(folder: Path) -> list[Path]:
    return [folder / name for name in LISTS if (folder / name).is_file()]


def _select_listed(folder: Path, patches: list[Patch], bad_images: BadImages) -> list[Patch]:
    """The patches that the lists name, in the order of the lists, but for those left out; all where no list exists."""
    lists = _lists(folder)
    if lists:
        by_name = {patch.name: patch for patch in patches}
        left_out = [path.stem for path in bad_images.errors]
        named = [(name, path) for path in lists for name in read_list(path)]
        wanted = dict.fromkeys(each for each in named if not _is_left_out(each[0], left_out))
        absent = [(name, path) for name, path in wanted if name not in by_name]
        if absent:
            name, path = absent[0]
            raise InputError(
                f"{path}: {len(absent)} of the {len(wanted)} patches named in {join_names([p.name for p in lists])} "
                f"are not here, the first is {name}; patches here have names like {patches[0].name}, "
                "and a list belongs to one way of cutting: remove the list, or use the patches it was made for"
            )
        patches = [by_name[name] for name in dict.fromkeys(name for name, _ in wanted)]
    if all(patch.labels is None for patch in patches):
        raise InputError(f"{folder}: none of the {len(patches)} patches has labels, so nothing could be scored")
    return patches


def _is_left_out(name: str, stems: Collection[str]) -> bool:
    """Whether the patch `name` is one of the files called `stems`, or was cut from a tile among them."""
    tile = name.partition("_r")[0]
    return any(stem == name or stem.lower() == f"top_potsdam_{tile}_rgbir" for stem in stems)
