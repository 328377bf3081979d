"""Arrays made of buffers are those that pyarrow makes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from geoseg.vector.arrow_arrays import binary_array, number_array, repeated_texts, text_array

TEXTS = ["water", "", "Straße", "水"]


def test_arrays_are_those_of_pyarrow() -> None:
    numbers = np.arange(-3, 40)[::3]
    for kind in (pa.int32(), pa.int64(), pa.float64()):
        assert number_array(numbers, kind).equals(pa.array(numbers, kind))
    assert number_array(np.array([1.5, np.nan]), pa.float64()).null_count == 0
    assert text_array(TEXTS).equals(pa.array(TEXTS))
    codes = np.array([3, 0, 0, 2, 1])
    assert repeated_texts(codes, TEXTS).equals(pa.array([TEXTS[code] for code in codes]))
    masked = np.ma.masked_array(codes, codes == 0)
    assert repeated_texts(masked, TEXTS).equals(pa.array([TEXTS[code] if code else None for code in codes]))
    for kind in (pa.binary(), pa.large_binary()):
        assert binary_array([b"ab", b"", b"c"], kind).equals(pa.array([b"ab", b"", b"c"], kind))
    for empty in (number_array(np.empty(0), pa.int32()), text_array([]), repeated_texts(codes[:0], TEXTS)):
        empty.validate(full=True)
        assert len(empty) == 0


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OverflowError, match="int32"):
        number_array(np.array([1 << 31]), pa.int32())


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, numpy, pyarrow; from geoseg.vector.arrow_arrays import number_array, repeated_texts;"
        "column = number_array(numpy.arange(3), pyarrow.int32());"
        "texts = repeated_texts(numpy.arange(2), ['a', 'b']);"
        "schema = pyarrow.schema([('a', pyarrow.int32()), ('b', pyarrow.string())]);"
        "pyarrow.record_batch([column[:2], texts], schema=schema); assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
