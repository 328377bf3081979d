"""The inner loop of SLIC: which of nine centres is nearest to each pixel of a cell, in integers, as LLVM IR.

    |p - q|^2 - |p|^2 = |q|^2 - 2 p.q        orders the candidates q of a pixel p

    place, pairs   p0: y x | L a | b 0       16 pixels at a time, each component pair an int32 lane
    coefficients    q: y x | L a | b 0       times -2, spread to all lanes
                       madd + madd + madd    int16 x int16 multiply-add of two components: one instruction of x86
    key            16 (|q|^2 - 2 p.q) + k    the minimum over k = 0..8 is the nearest candidate, the first of equals

Integers are exact: the result is the same in any order, with any length of vector, on any processor and any device.

The IR is written by hand because numba compiles no Python loop to the multiply-add of packed int16. With the fastest
loop that we found instead, superpixels take 1.5 to 1.9 times the CPU time; all of `geoseg superpixels` to a GeoPackage
26 % more, 10.4 s instead of 8.2 s; and all of `geoseg predict` 9 % more, 17.0 s instead of 15.7 s (medians of four or
five interleaved runs on a processor with AVX-512; predict in bfloat16).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geoseg.kernels import Kernel

CANDIDATES = 9
CHUNK = 16
"""Pixels computed at once. LLVM divides them among two or four registers where these are shorter."""


def _made() -> Any:
    from geoseg.segments.nearest_ir import make_nearest, multiply_for, target_cpu_features

    return make_nearest(multiply_for(target_cpu_features()))


nearest: Callable[[Any, Any, Any, Any, Any], None] = Kernel(_made)
"""Write the number of the nearest candidate, the first of equals, of CHUNK pixels of a cell.

Args:
    pairs: int16 (channel pairs, T, 2), the colours, within ±2047.
    place: int16 (T, 2), row and column, within ±2047.
    coefficients: int32 (2 + channel pairs, 9): for each candidate q, 16 |q|^2 + its number; then -2 q pair by pair, two
        int16 in an int32, row and column first.
    start: the first of the pixels.
    index: uint8 (T,), written from `start` on.
All arrays are C-contiguous.
"""
