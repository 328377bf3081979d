"""The orientation tag of an image: how a viewer turns it, which geoseg, like GDAL, does not."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from geoseg.raster.scene import Scene

log = logging.getLogger(__name__)

_TAG = 274
_SHORT = 3
_MAX_ENTRIES = 512
_MAX_CHUNKS = 1024
_NAMES = {
    2: "mirrored", 3: "turned by 180 degrees", 4: "flipped", 5: "transposed", 6: "turned by 90 degrees",
    7: "transposed the other way", 8: "turned by 270 degrees",
}  # fmt: skip


def orientation(scene: Scene) -> int:
    """Return the orientation, 1 to 8 as in EXIF, of a local scene without a georeference; 1 for any other."""
    place = scene.georeference
    if not isinstance(scene.path, Path) or place.crs or not place.transform.is_identity or place.points or place.rpcs:
        return 1
    try:
        with scene.path.open("rb") as file:
            return _READERS.get(scene.driver, lambda _: 1)(file)
    except (OSError, struct.error, ValueError):
        return 1


def warn_of_orientation(scenes: Iterable[Scene]) -> None:
    """Log one warning for all scenes that viewers and annotation tools turn, if there are any."""
    warn_of_turned([(scene.path, value) for scene in scenes if (value := orientation(scene)) != 1])


def warn_of_turned(turned: Sequence[tuple[object, int]]) -> None:
    """Log one warning for all images, each with its orientation, if there are any."""
    if turned:
        name, value = turned[0]
        log.warning(
            "%s%s: %s shown %s by viewers and annotation tools (EXIF orientation %d), but read as stored here; "
            "`mogrify -auto-orient` turns the pixels themselves",
            name, f" and {len(turned) - 1} more" if len(turned) > 1 else "", "are" if len(turned) > 1 else "is",
            _NAMES[value], value,
        )  # fmt: skip


def _of_tiff(file: BinaryIO, start: int = 0) -> int:
    """The orientation in the first directory of a TIFF that begins at `start`; EXIF is such a TIFF."""
    file.seek(start)
    head = file.read(8)
    order = "<" if head[:2] == b"II" else ">"
    if struct.unpack(f"{order}H", head[2:4])[0] != 42:
        return 1
    file.seek(start + struct.unpack(f"{order}I", head[4:8])[0])
    (count,) = struct.unpack(f"{order}H", file.read(2))
    for _ in range(min(count, _MAX_ENTRIES)):
        tag, kind, length, value = struct.unpack(f"{order}HHIH2x", file.read(12))
        if tag == _TAG:
            return value if kind == _SHORT and length == 1 and value in _NAMES else 1
    return 1


def _of_jpeg(file: BinaryIO) -> int:
    file.seek(2)
    for _ in range(_MAX_CHUNKS):
        marker, length = struct.unpack(">HH", file.read(4))
        if marker == 0xFFE1 and file.read(6) == b"Exif\0\0":
            return _of_tiff(file, file.tell())
        if not 0xFFE0 <= marker <= 0xFFEF and marker != 0xFFFE:
            return 1
        file.seek(length - 2 - 6 * (marker == 0xFFE1), 1)
    return 1


def _of_png(file: BinaryIO) -> int:
    file.seek(8)
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            return _of_tiff(file, file.tell())
        file.seek(length + 4, 1)
    return 1


_READERS = {"GTiff": _of_tiff, "JPEG": _of_jpeg, "PNG": _of_png}
