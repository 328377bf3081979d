"""Arrow arrays from numpy and text.

They are made of buffers: `pyarrow.array` imports pandas if it is installed, which takes a second and 50 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")


def number_array(values: NDArray[Any], kind: Any) -> Any:
    """Return numbers (n,) as an Arrow array of the type `kind`, without a copy where they have it already.

    Those that a mask of numpy's hides are null.

    Raises:
        OverflowError: an integer does not fit the type.
    """
    converted = np.ascontiguousarray(values, kind.to_pandas_dtype())
    if converted.dtype.kind == "i" and converted.dtype != values.dtype and (converted != values).any():
        raise OverflowError(f"values do not fit {kind}")
    # One bit for each number, from the lowest of each byte on.
    shown = np.packbits(~np.ma.getmaskarray(values), bitorder="little") if np.ma.isMaskedArray(values) else None
    valid = None if shown is None else pa.py_buffer(shown)
    return pa.Array.from_buffers(kind, len(converted), [valid, pa.py_buffer(converted)])


def binary_array(contents: Sequence[bytes], kind: Any) -> Any:
    """Return bytes as an Arrow array; kind: binary or string, or a large one of these."""
    wide = pa.types.is_large_binary(kind) or pa.types.is_large_string(kind)
    offsets = np.cumsum([0, *map(len, contents)], dtype=np.int64 if wide else np.int32)
    return pa.Array.from_buffers(kind, len(contents), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(contents))])


def text_array(texts: Sequence[str]) -> Any:
    """Return texts as an Arrow array of strings."""
    return binary_array([text.encode() for text in texts], pa.string())


def repeated_texts(codes: NDArray[Any], texts: Sequence[str]) -> Any:
    """Return texts[code] for each of `codes`, integers (n,), as an Arrow array of strings; a masked code is null."""
    return pa.DictionaryArray.from_arrays(number_array(codes, pa.int32()), text_array(texts)).dictionary_decode()
