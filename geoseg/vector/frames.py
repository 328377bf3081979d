"""Arrays of numbers as bytes: what a stripe of a raster is kept as between its sweep and the joining of all stripes.

The bytes are an Arrow IPC file, compressed (zstd). Each record batch is a *frame*: some arrays, one a row, with their
names, types, shapes and contents. The same arrays give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy
from geoseg.vector.arrow_arrays import binary_array, number_array, text_array

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_DTYPES = {dtype: np.dtype(dtype) for dtype in ("<i2", "<i4", "<i8", "<f8")}
_UNIT = 8

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by name: signed integers or float64."""


class FrameWriter:
    """Writes frames, one after the other; `finish` returns the bytes of all."""

    def __init__(self) -> None:
        self._sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1), use_threads=False)
        self._file = pa.ipc.new_file(self._sink, _schema(), options=options)

    def add(self, arrays: Arrays) -> None:
        """Add a frame; integers are stored in the smallest type that holds them all."""
        stored = [_narrowed(array) for array in arrays.values()]
        sizes = np.cumsum([0, *(array.ndim for array in stored)])
        lengths = np.array([length for array in stored for length in array.shape], np.int64)
        columns = [
            text_array(list(arrays)),
            text_array([array.dtype.str for array in stored]),
            pa.ListArray.from_arrays(number_array(sizes, pa.int32()), number_array(lengths, pa.int64())),
            # Whole units, so that every array begins at an aligned address.
            binary_array([array.tobytes() + bytes(-array.nbytes % _UNIT) for array in stored], pa.large_binary()),
        ]
        self._file.write_batch(pa.record_batch(columns, schema=_schema()))

    def finish(self) -> bytes:
        """Return all frames; none can be added any more."""
        self._file.close()
        content: bytes = self._sink.getvalue().to_pybytes()
        return content


class Frames:
    """The frames of a `FrameWriter`, each of which is decompressed when it is read.

    Raises:
        ValueError: these are no frames.
    """

    def __init__(self, content: bytes) -> None:
        self._file = pa.ipc.open_file(pa.py_buffer(content), options=pa.ipc.IpcReadOptions(use_threads=False))
        if self._file.schema != _schema():
            raise ValueError(f"frames have the columns {_schema().names}, not {self._file.schema.names}")

    def __len__(self) -> int:
        return int(self._file.num_record_batches)

    def __getitem__(self, index: int) -> Arrays:
        """Return the arrays of a frame, in the types that they are stored in; they cannot be written to."""
        names, dtypes, shapes, contents = self._file.get_batch(index).columns
        _, offsets, buffer = contents.buffers()
        starts = np.frombuffer(offsets, np.int64)[:-1].tolist()
        arrays = {}
        for name, code, shape, start in zip(
            names.to_pylist(), dtypes.to_pylist(), shapes.to_pylist(), starts, strict=False
        ):
            dtype = _DTYPES[code]
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(buffer, dtype, count, start).reshape(shape)
        return arrays


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    if array.dtype.kind != "i" or not array.size:
        return array.astype(np.int16) if array.dtype.kind == "i" else array
    bounds = int(array.min()), int(array.max())
    for dtype in (np.int16, np.int32):
        if np.iinfo(dtype).min <= bounds[0] and bounds[1] <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array.astype(np.int64)


def _schema() -> pa.Schema:
    return pa.schema(
        [("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("content", pa.large_binary())]
    )
