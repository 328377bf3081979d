"""Label rasters: class values, or colours, that predictions are scored against. Training never reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.errors import BandError, InputError
from geoseg.grid import Window
from geoseg.location import Location, local
from geoseg.raster.compression import require_lossless
from geoseg.raster.guards import RASTER_SUFFIXES, regular_file
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

LABEL_SUFFIXES = ("_label", "_labels", "_gt", "_mask")
"""What the name of a label raster may add to that of its image: tile_1.jpg, tile_1_label.png."""

IMAGE_SUFFIXES = ("_RGBIR", "_RGB", "_IRRG", "_image", "_img", "_sat")
"""What the name of an image may have in place of a label suffix: tile_1_RGB.tif, tile_1_label.tif."""

_MAX_VALUES = 256


class LabelRaster:
    """An open label raster: one band of integers, or red, green and blue. A context manager.

    Args:
        path: The file: PNG, GeoTIFF or JPEG 2000.
        colours: Whether the labels are colours.
        opening: What may be opened, and how.

    Attributes:
        scene: The open raster.

    Raises:
        InputMissingError, InputError: See `Scene`; also for compression with loss, and for values that
            are not integers.
        BandError: The raster does not have one band, or for colours three bands of uint8.
    """

    def __init__(self, path: Path, colours: bool = False, opening: Opening | None = None) -> None:
        self.path, self.colours = path, colours
        try:
            self.scene = Scene(path, stored=not colours, opening=opening, quiet=True, sparse_zeros=True)
        except BandError as error:
            raise BandError(f"{path}: has more than four bands; {_expected_bands(colours)}") from error
        try:
            self._check()
        except BaseException:
            self.scene.close()
            raise

    def __enter__(self) -> LabelRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the label values (rows, cols) of a window, and where they are valid.

        Values are integers of the file's type; colours are int32, one number each (see `LabelMap`).
        """
        pixels, valid = self.scene.read(window)
        if not self.colours:
            return pixels[0], valid
        red, green, blue = pixels.astype(np.int32)
        return red << 16 | green << 8 | blue, valid

    def distinct_values(self, windows: Iterable[Window]) -> set[int]:
        """Return the distinct values of the valid pixels in `windows`.

        Raises:
            InputError: There are more than 256, too many for a set of classes.
        """
        found: set[int] = set()
        for window in windows:
            values, valid = self.read(window)
            found |= set(np.unique(values[valid]).tolist())
            if len(found) > _MAX_VALUES:
                raise InputError(
                    f"{self.path}: has more than {_MAX_VALUES} different values; a label raster holds a few class "
                    f"{'colours, compressed without loss' if self.colours else 'ids'}"
                )
        return found

    def _check(self) -> None:
        scene = self.scene
        if scene.driver == "JPEG":
            raise InputError(f"{self.path}: is a JPEG, whose compression alters label values; use PNG or GeoTIFF")
        if scene.dtype.kind not in "iu":
            raise InputError(
                f"{self.path}: has {scene.dtype} values; labels are integers (gdal_translate -ot Byte converts them)"
            )
        if len(scene.bands) != (3 if self.colours else 1) or (self.colours and scene.dtype != np.uint8):
            bands = f"{len(scene.bands)} band{'s' * (len(scene.bands) > 1)} of {scene.dtype}"
            raise BandError(f"{self.path}: has {bands}; {_expected_bands(self.colours)}")
        require_lossless(self.path, scene.lossy, "label values")


def _expected_bands(colours: bool) -> str:
    if colours:
        return "the label map names colours, which need three bands of uint8"
    return "labels have one band of integers, or three of colours that --label-map names"


def find_images(rasters: Iterable[Location], labels: Path) -> list[Path]:
    """Return those of `rasters` that are images rather than labels.

    Rasters in the folder `labels`, or that file itself, are labels. If images lie there too, so that nothing would
    remain, labels are recognised by LABEL_SUFFIXES instead.
    """
    paths = local(*rasters)
    folder = labels.absolute()
    outside = [path for path in paths if folder not in (path.absolute(), *path.absolute().parents)]
    return outside or [path for path in paths if not path.stem.endswith(LABEL_SUFFIXES)]


def find_labels(images: Sequence[Location], labels: Path) -> list[Path]:
    """Return the label raster of each image.

    That is `labels` itself if it is a file. Otherwise it is the file in that folder or below it with the stem of the
    image; one of LABEL_SUFFIXES may be added, and one of IMAGE_SUFFIXES left out.

    Raises:
        InputMissingError: There is no such file or folder.
        InputError: An image has no label raster, or several.
    """
    if not labels.is_dir():
        regular_file(labels)
        if len(images) != 1:
            raise InputError(f"{labels}: is one file for {len(images)} images; give a folder of label rasters")
        return [labels]
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(set(labels.rglob("*")) - set(images)):
        if path.suffix.lower() in RASTER_SUFFIXES and path.is_file():
            by_stem.setdefault(path.stem, []).append(path)
    found = [_label_of(image, labels, by_stem) for image in images]
    unused = sum(map(len, by_stem.values())) - len(found)
    if unused:
        log.warning("%s: %d label raster%s without an image, not scored", labels, unused, "s" * (unused > 1))
    return found


def _label_of(image: Location, labels: Path, by_stem: Mapping[str, list[Path]]) -> Path:
    stems = [image.stem, *(image.stem.removesuffix(suffix) for suffix in IMAGE_SUFFIXES)]
    names = dict.fromkeys(stem + suffix for stem in stems for suffix in ("", *LABEL_SUFFIXES))
    found = [path for name in names for path in by_stem.get(name, [])]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{image}: has several label rasters, {found[0]} and {found[1]}; keep one of them in {labels}")
    raise InputError(
        f"{image}: has no label raster in {labels}; looked for {image.stem}.png or .tif, also with "
        f"{', '.join(LABEL_SUFFIXES)}: rename the label raster, or give --data labelled images only"
    )
