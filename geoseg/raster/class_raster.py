"""Class rasters, of geoseg or others: one band of integers, read from the top down, and the names of its values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import NODATA, ClassMap, LandClass
from geoseg.config import Opening
from geoseg.errors import BandError, InputError
from geoseg.files.record import find_record
from geoseg.grid import Span, Window
from geoseg.location import Location, Remote
from geoseg.raster.choice import choose
from geoseg.raster.compression import require_lossless
from geoseg.raster.confidence_units import require_fractions, unit_message
from geoseg.raster.georeference import crs_name, same_horizontal_crs
from geoseg.raster.legend import Legend, read_legend
from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

MAX_ID = 1 << 62
"""Above the largest id that is accepted."""

_MIN_SPAN, _MAX_SPAN = 256, 1024
"""Rows that are read at once."""
_MAX_OFFSET = 0.01
"""Pixels by which corners of a confidence may differ from those of its class raster."""


class ClassRaster:
    """An open class raster. A context manager.

    Pixels are read as *values*: the id that a pixel has in the file plus `offset`, or 0 where it has no class. A pixel
    has no class where the nodata value, mask or alpha band of the file says so, and nowhere else; see `read_ids`.

    Args:
        path: The raster.
        assume_crs: CRS of a raster that has none.
        known: Its classes; None takes them from the file or from the record of geoseg.
        opening: What may be opened, and how.

    Attributes:
        path: As it was given.
        scene: The raster, open for reading.
        offset: What is added to ids, so that values are positive.

    Raises:
        InputMissingError, SettingError: See `Scene`.
        InputError: See `Scene`; also a JPEG, whose compression alters ids, or ids that are not integers.
        BandError: The raster has more than one band.
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
            self.scene = Scene(
                path, assume_crs=assume_crs, stored=True, opening=opening, quiet=known is not None, sparse_zeros=True
            )
        except BandError as error:
            raise BandError(f"{path}: a class raster has one band; this one has more than four") from error
        try:
            self._check()
        except BaseException:
            self.scene.close()
            raise
        self._own = is_own(self.scene)
        # As geoseg writes them: stored pixels are values already.
        self._stored_as_values = self.scene.masks == "nodata 0" and self.scene.dtype in (np.uint8, np.uint16)
        lowest = int(np.iinfo(self.scene.dtype).min)
        self.offset = 0 if self._stored_as_values else MAX_ID if self.scene.dtype.itemsize > 4 else 1 - lowest

    def __enter__(self) -> ClassRaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    @property
    def spans(self) -> Iterator[Span]:
        """The spans of rows to read one after another.

        They are 256 rows high, rounded down to whole blocks of the file where blocks are lower; 1024 rows where blocks
        are so high that GDAL's cache may not hold a row of them.
        """
        stored, total = self.scene.block_shape[0], self.scene.shape[0]
        height = _MIN_SPAN if stored <= _MAX_SPAN else _MAX_SPAN
        height = height // stored * stored or height
        for start in range(0, total, height):
            yield Span(start, min(start + height, total))

    def window(self, rows: Span) -> Window:
        """Return the window of some rows, full width."""
        return Window(rows, Span(0, self.scene.shape[1]))

    def read(self, rows: Span) -> NDArray[Any]:
        """Return the values of some rows, integers (rows, cols); see `read_window`."""
        return self.read_window(self.window(rows))

    def read_window(self, window: Window) -> NDArray[Any]:
        """Return the values of a window within the raster, integers (rows, cols).

        Raises:
            InputError: A block cannot be decoded, or a valid id has more than 62 bits.
        """
        if self._stored_as_values:
            stored: NDArray[Any] = self.scene.read_stored(window)[0]
            return stored
        ids, valid = read_ids(self.scene, window, self._own)
        too_large = ids >= MAX_ID if ids.dtype.itemsize > 4 else np.zeros_like(valid)
        if ids.dtype == np.int64:
            too_large |= ids <= -MAX_ID
        if bool(too_large[valid].any()):
            raise InputError(f"{self.path}: has values beyond ±{MAX_ID}, which cannot be class ids")
        values: NDArray[Any] = ids.astype(np.uint16 if ids.dtype == np.uint8 else np.int64)
        values += values.dtype.type(self.offset)
        values[~valid] = 0
        return values

    @cached_property
    def classes(self) -> Mapping[int, LandClass]:
        """Id -> name and colour, of the ids whose names are known.

        They come from geoseg's record, else from the `legend` of the file.
        """
        recorded = self._known or self._record()
        if recorded is not None:
            return {entry.id: entry for entry in recorded.classes}
        return {value: self._coloured(LandClass.default(value), name) for value, name in self.legend.names.items()}

    @cached_property
    def legend(self) -> Legend:
        """The names and colours in the file and beside it; colours of its palette come before those of a table."""
        nodata = re.match(r"nodata (-?\d+)\b", self.scene.masks)
        found = read_legend(self.path, int(nodata[1]) if nodata else None) if isinstance(self.path, Path) else Legend()
        return Legend(found.names, self.scene.colours or found.colours)

    def land_class(self, class_id: int) -> LandClass:
        """Return the class with an id; one without a name is called 'class N', and coloured by the palette if any."""
        if class_id in self.classes:
            return self.classes[class_id]
        return self._coloured(LandClass.default(class_id))

    def _coloured(self, default: LandClass, name: str | None = None) -> LandClass:
        colour = self.legend.colours.get(default.id, default.colour)
        return replace(default, name=name or default.name, colour=colour)

    def chosen(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the classes that texts choose, as name -> id; see `choose`."""
        return choose(self.path, texts, {entry.name: value for value, entry in self.classes.items()})

    def ids_of(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the ids of the classes that texts choose, sorted, each once."""
        return np.array(sorted({min(max(i, -MAX_ID), MAX_ID) for i in self.chosen(texts).values()}), np.int64)

    def _record(self) -> ClassMap | None:
        if isinstance(self.path, Remote):
            return None
        record = find_record(self.path)
        return None if record is None else record.classes

    def _check(self) -> None:
        scene = self.scene
        if scene.driver == "JPEG":
            raise InputError(f"{self.path}: is a JPEG, whose compression alters class ids; give a GeoTIFF or PNG")
        if len(scene.bands) != 1:
            raise BandError(
                f"{self.path}: a class raster has one band; this one has {len(scene.bands)} "
                "(gdal_translate -b 1 extracts the first)"
            )
        if scene.dtype.kind not in "iu":
            raise InputError(
                f"{self.path}: has {scene.dtype} values; class ids are integers "
                "(gdal_translate -ot Int32 converts them)"
            )
        require_lossless(self.path, scene.lossy, "class ids")


def read_ids(scene: Scene, window: Window, own: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the ids (rows, cols) of a window of a class raster, and where a pixel has a class.

    0 is an id like any other, unless the file says that it is nodata. In the rasters of geoseg it always is, also in a
    copy that has lost its nodata value.

    Args:
        scene: The class raster.
        window: Within the raster.
        own: Whether geoseg wrote it; see `is_own`.

    Raises:
        InputError: A block cannot be decoded.
    """
    pixels, valid = scene.read(window)
    ids: NDArray[Any] = pixels[0]
    return ids, valid & (ids != NODATA) if own else valid


def is_own(scene: Scene) -> bool:
    """Return whether geoseg wrote a raster, as the raster itself says."""
    try:
        return scene.provenance is not None
    except InputError:
        return True


class Confidence:
    """An open raster of confidences on the pixels of a class raster. A context manager.

    Values are unsigned integers, whose largest stands for 1, as geoseg writes them; or floats in [0, 1].

    Args:
        path: The raster.
        raster: The class raster that it belongs to.
        opening: What may be opened, and how.

    Attributes:
        path: As it was given.
        scene: The raster, open for reading.
        max_value: What `read` returns for a confidence of 1.
        largest: The largest value read so far.

    Raises:
        InputMissingError, BandError: See `Scene`.
        InputError: See `Scene`; also a raster of another size, position, CRS or type, or with several bands.
    """

    def __init__(self, path: Location, raster: Scene, opening: Opening | None = None) -> None:
        self.path = path
        # The raster has warned of what both have in common.
        self.scene = Scene(path, (1,), stored=True, opening=opening, quiet=True, sparse_zeros=True)
        mismatch = self._mismatch(raster)
        if mismatch:
            self.scene.close()
            raise InputError(f"{path}: {mismatch}; give the confidence that was written with {raster.path.name}")
        self.max_value = 255 if self.scene.dtype == np.uint8 else 65535
        self.largest = 0

    def __enter__(self) -> Confidence:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def read(self, rows: Span) -> NDArray[Any]:
        """Return the confidence of some rows, integers (rows, cols) in [0, max_value]; 0 where invalid.

        Raises:
            InputError: A block cannot be decoded, or has a float that is no fraction.
        """
        pixels, valid = self.scene.read(Window(rows, Span(0, self.scene.shape[1])))
        values: NDArray[Any] = np.where(valid, pixels[0], pixels.dtype.type(0))
        if values.dtype.kind == "f":
            require_fractions(self.path, float(values.min(initial=0)), float(values.max(initial=0)))
            values = np.rint(np.clip(values, 0, 1) * self.max_value).astype(np.uint16)
        self.largest = max(self.largest, int(values.max(initial=0)))
        return values

    def warn_of_units(self) -> None:
        """Warn, once all rows have been read, where whole numbers seem to be per cent, as those of geoseg never are."""
        if self.scene.dtype.kind == "u" and not is_own(self.scene):
            message = unit_message(self.largest, self.max_value)
            if message is not None:
                log.warning("%s: %s", self.path, message)

    def _mismatch(self, raster: Scene) -> str | None:
        shape, dtype, bands = self.scene.shape, self.scene.dtype, self.scene.count - ("alpha" in self.scene.masks)
        if bands > 1:
            return f"has {bands} bands; a confidence has one (gdal_translate -b extracts it)"
        if shape != raster.shape:
            return f"has {shape[1]} x {shape[0]} pixels, the class raster {raster.shape[1]} x {raster.shape[0]}"
        if dtype not in (np.uint8, np.uint16) and dtype.kind != "f":
            return f"has {dtype} values, not uint8, uint16 or float"
        crs, expected = self.scene.georeference.crs, raster.georeference.crs
        if not same_horizontal_crs(crs, expected):
            return f"is in {crs_name(crs)}, the class raster in {crs_name(expected)}"
        to_pixels = ~raster.georeference.transform
        for corner in ((0, 0), (shape[1], 0), (0, shape[0])):
            moved = to_pixels @ (self.scene.georeference.transform @ corner)
            if max(abs(moved[0] - corner[0]), abs(moved[1] - corner[1])) > _MAX_OFFSET:
                return "does not lie where the class raster lies"
        return None
