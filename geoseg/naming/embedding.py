"""Pictures as files of a limited size, for a page that holds them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy
from geoseg.outputs.pictures import Picture

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = lazy("PIL.Image")

_SCENE = (
    (1.0, 88), (1.0, 80), (1.0, 70), (1.0, 60), (0.8, 60), (0.64, 60), (0.5, 55), (0.35, 50), (0.2, 40), (0.1, 40),
    (0.05, 40), (0.02, 40),
)  # fmt: skip
"""Scale and JPEG quality of a scene, in the order in which they are tried."""

_STRIPS = ((8, 82), (8, 70), (8, 58), (4, 70), (4, 55), (2, 60), (1, 60), (1, 40))
"""Patches of a class and JPEG quality, in the order in which they are tried."""

_SHRINK = 0.9


@dataclass(frozen=True)
class Strip:
    """Patches of a class, side by side: the file, empty without any, and their number."""

    jpeg: bytes = b""
    count: int = 0


def encode_map(indices: NDArray[np.uint8], classes: int, budget: int) -> tuple[bytes, tuple[int, int]]:
    """Return palette indices as a PNG of at most `budget` bytes, and its size (rows, cols).

    Pixels are left out, by nearest neighbour, until it fits. Its palette is grey, with index 0 transparent.

    Args:
        indices: uint8 (rows, cols), 0..classes.
        classes: Number of entries of the palette after the first, at most 255.
        budget: Bytes, enough for a few pixels.
    """
    scale = 1.0
    while True:
        small = _nearest(indices, scale)
        image = Image.fromarray(small).convert("L")
        palette = Image.frombytes("P", image.size, image.tobytes())
        palette.putpalette(bytes(np.repeat(np.arange(classes + 1, dtype=np.uint8), 3)))
        buffer = io.BytesIO()
        palette.save(buffer, "PNG", optimize=True, transparency=bytes([0] + [255] * classes))
        if buffer.tell() <= budget or max(small.shape) <= 1:
            return buffer.getvalue(), (int(small.shape[0]), int(small.shape[1]))
        scale *= min(_SHRINK, _SHRINK * math.sqrt(budget / buffer.tell()))


def encode_scene(picture: Picture, budget: int) -> bytes:
    """Return a picture as a JPEG of at most `budget` bytes: of lower quality, or smaller, until it fits."""
    data = b""
    for scale, quality in _SCENE:
        image = Image.fromarray(picture)
        if scale < 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS)
        data = _jpeg(image, quality)
        if len(data) <= budget:
            break
    return data


def encode_mask(valid: NDArray[np.bool_]) -> bytes:
    """Return a mask (rows, cols) as a PNG that is transparent where it is false."""
    image = Image.frombytes("P", valid.shape[::-1], valid.astype(np.uint8).tobytes())
    image.putpalette(bytes([0, 0, 0, 0, 0, 0]))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, bits=1, transparency=bytes([0, 255]))
    return buffer.getvalue()


def encode_strips(patches: Sequence[Sequence[Picture]], budget: int) -> list[Strip]:
    """Return the patches of each class side by side as a JPEG.

    All together have at most `budget` bytes: quality and number of patches are lowered until they fit, and in the end
    the last classes have none.
    """
    strips: list[Strip] = []
    for count, quality in _STRIPS:
        strips = [_strip(row[:count], quality) for row in patches]
        if sum(len(strip.jpeg) for strip in strips) <= budget:
            return strips
    total = 0
    for i, strip in enumerate(strips):
        total += len(strip.jpeg)
        if total > budget:
            strips[i] = Strip()
    return strips


def _strip(patches: Sequence[Picture], quality: int) -> Strip:
    return Strip(_jpeg(Image.fromarray(np.concatenate(patches, axis=1)), quality), len(patches)) if patches else Strip()


def _jpeg(image: Any, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()


def _nearest(values: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale >= 1:
        return values
    chosen = []
    for length in values.shape:
        count = max(1, round(length * scale))
        chosen.append((np.arange(count) * 2 + 1) * length // (2 * count))
    return values[np.ix_(*chosen)]
