"""Label rasters: class values, or colours, that a map is scored against. Learning never reads them."""

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
from geoseg.raster.guards import RASTER_SUFFIXES, regular_file
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

LABEL_SUFFIXES = ("_label", "_labels", "_gt", "_mask")
"""What the name of a label raster may add to that of its image: tile_1.jpg, tile_1_label.png."""

IMAGE_SUFFIXES = ("_RGBIR", "_RGB", "_IRRG", "_image", "_img", "_sat")
"""What the name of an image may have in place of that: tile_1_RGB.tif, tile_1_label.tif."""

_MOST_VALUES = 256


class LabelRaster:
    """An open label raster: one band of integers, or the colours red, green, blue. A context manager.

    Raises:
        InputMissingError, InputError: see `Scene`; also JPEG, which alters values, and values that are no integers.
        BandError: not one band, or for colours not three.
    """

    def __init__(self, path: Path, colours: bool = False, opening: Opening | None = None) -> None:
        self.path, self.colours = path, colours
        try:
            self.scene = Scene(path, stored=not colours, opening=opening, quiet=True)
        except BandError as error:
            raise BandError(f"{path}: {_bands(colours)}; this raster has more than four") from error
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
        """Return the label values (rows, cols), colours as one number (see `LabelMap`), and validity."""
        pixels, valid = self.scene.read(window)
        if not self.colours:
            return pixels[0], valid
        red, green, blue = pixels.astype(np.int32)
        return red << 16 | green << 8 | blue, valid

    def present(self, windows: Iterable[Window]) -> set[int]:
        """Return the values of the valid pixels in `windows`.

        Raises:
            InputError: more different values than any set of classes has.
        """
        found: set[int] = set()
        for window in windows:
            values, valid = self.read(window)
            found |= set(np.unique(values[valid]).tolist())
            if len(found) > _MOST_VALUES:
                raise InputError(
                    f"{self.path}: has more than {_MOST_VALUES} different values; labels are a few class "
                    f"{'colours, stored without loss' if self.colours else 'ids'}"
                )
        return found

    def _check(self) -> None:
        scene = self.scene
        if scene.driver == "JPEG":
            raise InputError(f"{self.path}: is a JPEG, which alters label values; give PNG or GeoTIFF")
        if scene.dtype.kind not in "iu":
            raise InputError(
                f"{self.path}: has {scene.dtype} values; labels are integers (gdal_translate -ot Byte converts them)"
            )
        if len(scene.bands) != (3 if self.colours else 1) or (self.colours and scene.dtype != np.uint8):
            raise BandError(f"{self.path}: {_bands(self.colours)}; this raster has {len(scene.bands)} of {scene.dtype}")


def _bands(colours: bool) -> str:
    if colours:
        return "the label map names colours, which need three bands of uint8"
    return "labels have one band, or are colours that --label-map names"


def find_images(rasters: Iterable[Location], labels: Path) -> list[Path]:
    """Return those of `rasters` that are not labels: that neither lie in the folder `labels` (or are that file), nor,
    where images lie there too, carry one of LABEL_SUFFIXES."""
    paths = local(*rasters)
    folder = labels.absolute()
    apart = [path for path in paths if folder not in (path.absolute(), *path.absolute().parents)]
    return apart or [path for path in paths if not path.stem.endswith(LABEL_SUFFIXES)]


def find_labels(images: Sequence[Location], labels: Path) -> list[Path]:
    """Return the label raster of each image: `labels` itself where it is a file; else the file in that folder or below
    with the image's stem, also with one of LABEL_SUFFIXES added and one of IMAGE_SUFFIXES taken away.

    Raises:
        InputMissingError: no such file or folder.
        InputError: an image without a label raster, or with several.
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
        f"{image}: no label raster for it in {labels}; looked for {image.stem}.png or .tif, also with "
        f"{', '.join(LABEL_SUFFIXES)}: name it so, or give --data only labelled images"
    )
