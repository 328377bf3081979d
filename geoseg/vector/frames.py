"""Arrays of integers as bytes: what a stripe of a raster is kept as between its sweep and the joining of all stripes.

    frame:  bytes of the header: uint32 | bytes of the content: uint64 | header | content      little-endian
    header:  JSON, [name, dtype, shape] of each array; content: their bytes one after the other, compressed (zstd)

The same arrays give the same bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_LENGTHS = struct.Struct("<IQ")
_CODEC = pa.Codec("zstd", 1)
_DTYPES = ("|i1", "<i2", "<i4", "<i8", "|u1", "<f8")

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by name: signed integers, uint8 or float64."""


def packed(arrays: Arrays) -> bytes:
    """Return a frame; integers are stored in the smallest type that holds them all."""
    stored = {name: np.ascontiguousarray(_narrowed(array)) for name, array in arrays.items()}
    header = json.dumps([[name, array.dtype.str, array.shape] for name, array in stored.items()]).encode()
    content = _CODEC.compress(b"".join(array.tobytes() for array in stored.values()), asbytes=True)
    return b"".join((_LENGTHS.pack(len(header), len(content)), header, content))


def unpacked(frames: bytes) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the arrays of each frame, one frame at a time, in the types that they are stored in.

    Raises:
        ValueError: these are no frames.
    """
    view, at = memoryview(frames), 0
    while at < len(view):
        try:
            sizes = _LENGTHS.unpack_from(view, at)
            middle = at + _LENGTHS.size + sizes[0]
            entries = [
                (str(name), np.dtype(dtype), tuple(map(int, shape)))
                for name, dtype, shape in json.loads(bytes(view[at + _LENGTHS.size : middle]))
                if dtype in _DTYPES
            ]
            sized = [math.prod(shape) * dtype.itemsize for _, dtype, shape in entries]
            at = middle + sizes[1]
            content = np.frombuffer(_CODEC.decompress(view[middle:at], sum(sized)), np.uint8)
        except (struct.error, pa.ArrowException, KeyError, TypeError) as error:
            raise ValueError(f"no frames: {error}") from error
        starts = np.cumsum([0, *sized]).tolist()
        yield {
            name: content[start : start + size].view(dtype).reshape(shape)
            for (name, dtype, shape), start, size in zip(entries, starts, sized, strict=False)
        }


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "i" or not array.size:
        return array.astype(np.int8) if array.dtype.kind == "i" else array
    bounds = int(array.min()), int(array.max())
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= bounds[0] and bounds[1] <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array.astype(np.int64)
