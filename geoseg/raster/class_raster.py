"""Class rasters, ours or not: one band of integers, read from the top down, and what the values are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.config import Opening
from geoseg.errors import BandError, InputError, SettingError
from geoseg.files.record import find_record
from geoseg.grid import Span, Window
from geoseg.location import Location, Remote
from geoseg.raster.scene import Scene

LARGEST_ID = 1 << 62
"""Larger than any id."""

_FEW_ROWS, _MANY_ROWS = 256, 1024
_TOLERANCE = 0.01


class ClassRaster:
    """An open class raster. A context manager.

    known: its classes, where they are not to be looked for. opening: what may be opened, and how.

    Its pixels are read as values: the id a pixel has in the file plus `offset`, and 0 where it has no class. That is
    where the file says so, by its nodata value, mask or alpha, and nowhere else.

    Raises:
        InputMissingError, InputError, SettingError: see `Scene`; also JPEG, which alters ids, and ids that are no
            integers.
        BandError: not one band.
    """

    def __init__(
        self,
        path: Location,
        assume_crs: str | None = None,
        known: ClassMap | None = None,
        opening: Opening | None = None,
    ) -> None:
        self.path, self._known = path, known
        try:
            self.scene = Scene(path, assume_crs=assume_crs, stored=True, opening=opening, quiet=known is not None)
        except BandError as error:
            raise BandError(f"{path}: a class raster has one band; this one has more than four") from error
        try:
            self._check()
        except BaseException:
            self.scene.close()
            raise
        self._plain = self.scene.masks == "nodata 0" and self.scene.dtype in (np.uint8, np.uint16)
        low = int(np.iinfo(self.scene.dtype).min)
        self.offset = 0 if self._plain else LARGEST_ID if self.scene.dtype.itemsize > 4 else 1 - low

    def __enter__(self) -> ClassRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    @property
    def spans(self) -> Iterator[Span]:
        """Rows that are read at once: few; more where the blocks of the file are so high that GDAL's cache may not
        hold them; whole blocks where these are low."""
        stored, total = self.scene.block_shape[0], self.scene.shape[0]
        height = _FEW_ROWS if stored <= _MANY_ROWS else _MANY_ROWS
        height = height // stored * stored or height
        for start in range(0, total, height):
            yield Span(start, min(start + height, total))

    def window(self, rows: Span) -> Window:
        """Return the full width of some rows."""
        return Window(rows, Span(0, self.scene.shape[1]))

    def read(self, rows: Span) -> NDArray[Any]:
        """Return the values of some rows, (rows, cols).

        Raises:
            InputError: a part cannot be decoded, or has an id of more than 62 bits.
        """
        window = self.window(rows)
        if self._plain:
            stored: NDArray[Any] = self.scene.read_stored(window)[0]
            return stored
        pixels, valid = self.scene.read(window)
        ids: NDArray[Any] = pixels[0]
        beyond = ids >= LARGEST_ID if ids.dtype.itemsize > 4 else np.zeros_like(valid)
        if ids.dtype == np.int64:
            beyond |= ids <= -LARGEST_ID
        if bool(beyond[valid].any()):
            raise InputError(f"{self.path}: has ids beyond {LARGEST_ID}; those are no classes")
        values: NDArray[Any] = ids.astype(np.uint16 if ids.dtype == np.uint8 else np.int64)
        values += values.dtype.type(self.offset)
        values[~valid] = 0
        return values

    @cached_property
    def classes(self) -> Mapping[int, LandClass]:
        """Id -> name and colour, as far as they are known: from geoseg's record, else from the category names and the
        palette of the file. Ids that are not there are called 'class N'."""
        recorded = self._known or self._record()
        if recorded is not None:
            return {entry.id: entry for entry in recorded.classes}
        colours = self.scene.colours
        return {
            value: LandClass(value, name, colours.get(value, LandClass.default(value).colour))
            for value, name in enumerate(category_names(self.path) if isinstance(self.path, Path) else [])
            if name
        }

    def named(self, class_id: int) -> LandClass:
        """Return a class by its id, known or not; one without a name has the colour of the palette, if there is one."""
        if class_id in self.classes:
            return self.classes[class_id]
        default = LandClass.default(class_id)
        return replace(default, colour=self.scene.colours.get(class_id, default.colour))

    def chosen(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return the ids of classes, each given by its id or its name.

        Raises:
            SettingError: a name that no class has.
        """
        by_name = {entry.name: value for value, entry in self.classes.items()}
        ids = []
        for text in wanted:
            if text in by_name:
                ids.append(by_name[text])
            elif re.fullmatch(r"-?\d+|class -?\d+", text):
                ids.append(min(max(int(text.removeprefix("class ")), -LARGEST_ID), LARGEST_ID))
            else:
                known = ", ".join(by_name) or "none: give ids"
                raise SettingError(f"{self.path}: has no class called {text!r}; known names are {known}")
        return np.array(sorted(set(ids)), np.int64)

    def _record(self) -> ClassMap | None:
        if isinstance(self.path, Remote):
            return None
        record = find_record(self.path)
        try:
            return None if record is None else record.classes
        except InputError:
            return None

    def _check(self) -> None:
        scene = self.scene
        if scene.driver == "JPEG":
            raise InputError(f"{self.path}: is a JPEG, which alters class ids; give GeoTIFF or PNG")
        if len(scene.bands) != 1:
            raise BandError(
                f"{self.path}: a class raster has one band; this one has {len(scene.bands)} "
                "(gdal_translate -b 1 takes the first)"
            )
        if scene.dtype.kind not in "iu":
            raise InputError(
                f"{self.path}: has {scene.dtype} values; class ids are integers (gdal_translate -ot Byte converts them)"
            )


def category_names(path: Path) -> list[str]:
    """Return the names that stand beside the raster `path` (.aux.xml), by value; empty where there are none."""
    path = path.with_name(path.name + ".aux.xml")
    try:
        found = ElementTree.fromstring(path.read_bytes()).findall("PAMRasterBand[@band='1']/CategoryNames/Category")
    except (OSError, ElementTree.ParseError):
        return []
    names = [(entry.text or "").strip() for entry in found]
    # A name that stands for two ids would not tell them apart.
    return [f"{name} {i}" if name and names.index(name) < i else name for i, name in enumerate(names)]


class Confidence:
    """An open raster of confidences on the pixels of a class raster: whole numbers, of which the largest of their type
    stands for 1, as geoseg writes them, or fractions in [0, 1]. A context manager.

    Raises:
        InputMissingError, InputError, BandError: see `Scene`; also another size, place or type.
    """

    def __init__(self, path: Location, raster: Scene, opening: Opening | None = None) -> None:
        self.scene = Scene(path, (1,), stored=True, opening=opening)
        problem = self._problem(raster)
        if problem:
            self.scene.close()
            raise InputError(f"{path}: {problem}; give the confidence that was written with {raster.path.name}")
        self.full = 255 if self.scene.dtype == np.uint8 else 65535

    def __enter__(self) -> Confidence:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def read(self, rows: Span) -> NDArray[Any]:
        """Return the confidence of some rows in whole numbers up to `full`, (rows, cols); 0 where there is none."""
        pixels, valid = self.scene.read(Window(rows, Span(0, self.scene.shape[1])))
        values: NDArray[Any] = pixels[0]
        if values.dtype.kind == "f":
            values = np.rint(np.clip(np.where(valid, values, 0), 0, 1) * self.full).astype(np.uint16)
        values = np.where(valid, values, values.dtype.type(0))
        return values

    def _problem(self, raster: Scene) -> str | None:
        shape, dtype = self.scene.shape, self.scene.dtype
        if shape != raster.shape:
            return f"has {shape[1]} x {shape[0]} pixels, the class raster {raster.shape[1]} x {raster.shape[0]}"
        if dtype not in (np.uint8, np.uint16) and dtype.kind != "f":
            return f"has {dtype} values, which is neither uint8, uint16 nor float"
        back = ~raster.georeference.transform
        for corner in ((0, 0), (shape[1], 0), (0, shape[0])):
            moved = back @ (self.scene.georeference.transform @ corner)
            if max(abs(moved[0] - corner[0]), abs(moved[1] - corner[1])) > _TOLERANCE:
                return "lies elsewhere"
        return None
