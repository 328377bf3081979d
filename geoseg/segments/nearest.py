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

from collections.abc import Callable, Mapping
from typing import Any, cast

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from geoseg.segments.candidates import CANDIDATES, CHUNK

_SHORT, _INT, _LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_INTS = ir.VectorType(_INT, CHUNK)

Multiply = Callable[[Any, Any, Any], Any]


def _all(value: int) -> Any:
    return ir.Constant(_INTS, [value] * CHUNK)


def multiply_portably(builder: Any, a: Any, b: Any) -> Any:
    """Build a0 b0 + a1 b1 of the int16 halves of each int32 lane, for any processor."""
    halves = []
    for value in (a, b):
        low = builder.ashr(builder.shl(value, _all(16)), _all(16))
        halves.append((low, builder.ashr(value, _all(16))))
    (a0, a1), (b0, b1) = halves
    return builder.add(builder.mul(a0, b0), builder.mul(a1, b1))


def _multiply_x86(name: str, lanes: int) -> Multiply:
    """Return a builder of the same that uses the x86 instruction `name` of so many int32 lanes; LLVM fuses it with a
    following addition where the processor can."""
    part, shorts = ir.VectorType(_INT, lanes), ir.VectorType(_SHORT, 2 * lanes)

    def multiply(builder: Any, a: Any, b: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(part, [shorts, shorts]), name)
        parts = []
        for first in range(0, CHUNK, lanes):
            mask = ir.Constant(part, list(range(first, first + lanes)))
            pieces = [builder.bitcast(builder.shuffle_vector(value, value, mask), shorts) for value in (a, b)]
            parts.append(builder.call(function, pieces))
        while len(parts) > 1:
            length = 2 * parts[0].type.count
            mask = ir.Constant(ir.VectorType(_INT, length), list(range(length)))
            parts = [builder.shuffle_vector(parts[i], parts[i + 1], mask) for i in range(0, len(parts), 2)]
        return parts[0]

    return multiply


def multiply_for(cpu_features: Mapping[str, bool]) -> Multiply:
    """Return the fastest builder for a processor; cpu_features: LLVM's name -> whether it has the feature."""
    if cpu_features.get("avx512bw"):
        return _multiply_x86("llvm.x86.avx512.pmaddw.d.512", 16)
    if cpu_features.get("avx2"):
        return _multiply_x86("llvm.x86.avx2.pmadd.wd", 8)
    return multiply_portably


def _builder(builder: Any, multiply: Multiply, arrays: Any, start: Any) -> None:
    """Build the body of `nearest`."""
    pairs, place, coefficients, index = arrays
    count, pixels = (builder.extract_value(pairs.shape, axis) for axis in (0, 1))

    def load(array: Any, row: Any) -> Any:
        """Load CHUNK int32, or as many pairs of int16, from `start` on."""
        offset = builder.add(builder.mul(row, pixels), start)
        pointer = builder.bitcast(array.data, _INT.as_pointer())
        return builder.load(builder.bitcast(builder.gep(pointer, [offset]), _INTS.as_pointer()), align=4)

    def spread(row: Any, k: int) -> Any:
        """Load one coefficient into all lanes."""
        offset = builder.add(builder.mul(row, _LONG(CANDIDATES)), _LONG(k))
        value = builder.load(builder.gep(coefficients.data, [offset]))
        undefined = ir.Constant(_INTS, ir.Undefined)
        return builder.shuffle_vector(builder.insert_element(undefined, value, _INT(0)), undefined, _all(0))

    def accumulate(total: Any, a: Any, b: Any) -> None:
        builder.store(builder.add(builder.load(total), multiply(builder, a, b)), total)

    def times_16(value: Any) -> Any:
        shorts = ir.VectorType(_SHORT, 2 * CHUNK)
        return builder.bitcast(builder.shl(builder.bitcast(value, shorts), ir.Constant(shorts, [4] * 2 * CHUNK)), _INTS)

    totals = [cgutils.alloca_once(builder, _INTS) for _ in range(CANDIDATES)]
    at = times_16(load(place, _LONG(0)))
    for k, total in enumerate(totals):
        builder.store(spread(_LONG(0), k), total)
        accumulate(total, at, spread(_LONG(1), k))
    with cgutils.for_range(builder, count) as loop:
        values = times_16(load(pairs, loop.index))
        for k, total in enumerate(totals):
            accumulate(total, values, spread(builder.add(loop.index, _LONG(2)), k))
    best: Any = None
    for total in totals:
        key = builder.load(total)
        best = key if best is None else builder.select(builder.icmp_signed("<", key, best), key, best)
    best = builder.trunc(builder.and_(best, _all(15)), ir.VectorType(ir.IntType(8), CHUNK))
    builder.store(best, builder.bitcast(builder.gep(index.data, [start]), best.type.as_pointer()), align=1)


def target_cpu_features() -> Mapping[str, bool]:
    """Return the features of the processor that numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may
    choose instead of this one."""
    settings: Any = config
    if settings.CPU_NAME is None and settings.CPU_FEATURES is None:
        host: Mapping[str, bool] = llvmlite.binding.get_host_cpu_features()
        return host
    return {name[1:]: True for name in (settings.CPU_FEATURES or "").split(",") if name.startswith("+")}


def make_nearest(multiply: Multiply) -> Callable[[Any, Any, Any, Any, Any], None]:
    """Return `nearest`, built with `multiply`."""

    def build(_typing: Any, pairs: Any, place: Any, coefficients: Any, start: Any, index: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given = list(zip(signature.args, arguments, strict=True))
            arrays = [make_array(kind)(context, builder, value) for kind, value in given if kind != types.int64]
            _builder(builder, multiply, arrays, arguments[3])
            return context.get_dummy_value()

        return types.void(pairs, place, coefficients, types.int64, index), code

    return cast(Callable[..., None], intrinsic(build))


nearest = make_nearest(multiply_for(target_cpu_features()))
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
