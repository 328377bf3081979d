"""How kernels are compiled, and how their work is shared among threads.

Threads are ours, not numba's: its default threading layer may not be entered from two Python threads at once, and
torch brings an OpenMP pool of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

F = TypeVar("F", bound=Callable[..., Any])

Rows = tuple[int, int]
Each = Callable[[Callable[[Rows], Any], Sequence[Rows]], list[Any]]

STRIPES_PER_THREAD = 4


def inlined(function: F) -> F:
    """Return `function` for use inside a compiled one, where a call would cost more than its work."""
    return cast(F, njit(nogil=True, error_model="numpy", forceinline=True)(function))


def compiled(function: F) -> F:
    """Return `function` compiled by numba on first use; it then runs without the GIL.

    The machine code is cached beside the module or in the user's cache directory; where neither can be
    written (a read-only container, a frozen application) it is compiled anew in each process.
    No fast-math flag is set, so that every float operation is the IEEE one on every machine.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return cast(F, njit(**options)(function))


def _trailing_zeros(_context: Any, word: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), build


trailing_zeros: Callable[[Any], Any] = cast(Any, intrinsic(_trailing_zeros))
"""Count the zero bits below the lowest set one of a uint64 that is not 0."""


def _prefetch(_typing: Any, array: Any, offset: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        data = make_array(array)(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), build


prefetch: Callable[[Any, Any], None] = cast(Any, intrinsic(_prefetch))
"""Ask for the cache line of the element at an offset of a C-contiguous array, which may lie outside of it."""


def stripes(start: int, stop: int, threads: int) -> list[Rows]:
    """Cut [start, stop) into a few pieces per thread."""
    count = 1 if threads == 1 else max(1, min(stop - start, STRIPES_PER_THREAD * threads))
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    return list(pairwise(edges))


@contextmanager
def team(threads: int) -> Iterator[Each]:
    """Yield a function that calls another for each item, in `threads` threads, and returns the results in order."""
    if threads == 1:
        yield lambda work, items: [work(item) for item in items]
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="kernels") as pool:
        yield lambda work, items: list(pool.map(work, items))
