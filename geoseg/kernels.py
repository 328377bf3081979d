"""Compiling numba kernels, and running them in threads.

numba is imported, and a kernel compiled or loaded from the cache, when a kernel is first called: a command that calls
none does without. No other module imports numba, except those that write LLVM IR for it.

The threads are Python's, not numba's: numba's default threading layer must not be entered from two Python threads at
once, and torch brings an OpenMP pool of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import update_wrapper
from itertools import pairwise
from typing import Any, TypeVar, cast

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

Range = tuple[int, int]
"""The half-open range [start, stop) of rows, columns, cells or other indices."""

ParallelMap = Callable[[Callable[[Range], Any], Sequence[Range]], list[Any]]
"""Calls a function for each of some ranges, and returns the results in their order."""

_STRIPES_PER_THREAD = 4

SUMS_BYTES = 128 << 20
"""Memory for the sums that threads add up side by side, each in an array of its own. A block of imagery has a
superpixel per cell of its lattice and stays far below it; one of noise has seventy."""

_BUILDING = threading.RLock()


class Kernel:
    """A function of numba's that is made when it is first needed.

    numba asks a global of a kernel that it compiles for its `_numba_type_`, so one kernel may call another.

    Args:
        make: Returns the function, as numba's decorators do.
        function: The Python function that it is made of, if there is one.
    """

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any] | None = None) -> None:
        self._make, self._made = make, cast(Any, None)
        if function is not None:
            update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        return (self.made() if self._made is None else self._made)(*arguments)

    def made(self) -> Any:
        """Return the function, which is made once for all threads."""
        with _BUILDING:
            if self._made is None:
                self._made = self._make()
            return self._made

    @property
    def _numba_type_(self) -> Any:
        made = self.made()
        if hasattr(made, "_numba_type_"):
            return made._numba_type_
        # An intrinsic, which numba's context knows once it has read the registry where intrinsics enrol.
        from numba.core.registry import cpu_target

        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(made)


def inlined(function: F) -> F:
    """Return `function` for use inside a compiled one, where a call would cost more than its work."""

    def make() -> Any:
        from numba import njit

        return njit(nogil=True, error_model="numpy", forceinline=True)(function)

    return cast(F, Kernel(make, function))


def compiled(function: F) -> F:
    """Return `function`, compiled by numba on first use; it then runs without the GIL.

    The machine code is cached next to the module or in the user's cache directory. If neither is writable (a read-only
    container, a frozen application), every process compiles it anew. No fast-math flag is set, so every floating-point
    operation is that of IEEE 754 on every machine.
    """

    def make() -> Any:
        from numba import njit

        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            return _loading_lightly(njit(cache=True, **options)(function))
        except RuntimeError:  # numba: "cannot cache function ...: no locator available"
            return njit(**options)(function)

    return cast(F, Kernel(make, function))


def _loading_lightly(dispatcher: Any) -> Any:
    """Return a dispatcher that loads machine code from the cache without what only compiling needs.

    Before it looks into the cache, numba imports and registers all that it can compile, 0.3 s of CPU time. Compiling
    does so again, so here it is left out. What remains is the runtime that kernels call. A numba whose cache has other
    insides is left as it is. What cannot be read is compiled again, and what cannot be kept is no error.
    """
    from numba.core import caching, runtime

    class Cache(cast(Any, caching).FunctionCache):  # type: ignore[misc]
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            cast(Any, runtime).rtsys.initialize(target_context)
            try:
                with self._guard_against_spurious_io_errors():
                    return self._load_overload(sig, target_context)
            except Exception as error:  # a damaged file may raise anything
                log.info("a compiled kernel cannot be read (%s) and is compiled again", error)
                with suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception as error:  # the disk is full, or the cache is damaged and cannot be emptied
                log.info("a compiled kernel cannot be kept (%s)", error)

    inside = ("_load_overload", "_guard_against_spurious_io_errors")
    if type(dispatcher._cache) is caching.FunctionCache and all(hasattr(Cache, name) for name in inside):
        dispatcher._cache = Cache(dispatcher.py_func)
    return dispatcher


def _trailing_zeros() -> Any:
    from numba.cpython.unsafe import numbers

    return numbers.trailing_zeros


trailing_zeros: Callable[[Any], Any] = Kernel(_trailing_zeros)
"""Count the zero bits below the lowest set bit of an integer that is not 0: one instruction of the processor.

numba has it for its own use. A plain loop over bytes makes cutting superpixels 5 % slower.
"""


def _prefetch() -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array

    def prefetch(_typing: Any, array: Any, offset: Any) -> Any:
        def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            data = make_array(array)(context, builder, arguments[0]).data
            pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            # Read, keep in all levels of the cache, data rather than instructions.
            builder.call(function, [pointer, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.int64), build

    return intrinsic(prefetch)


prefetch: Callable[[Any, Any], None] = Kernel(_prefetch)
"""Ask for the cache line of the element at an offset of a C-contiguous array, which may lie outside of the array.

numba has nothing for it. Without it, cutting superpixels takes 13 % more time on one thread; see
`geoseg.segments.assignment`.
"""


def stripes(start: int, stop: int, threads: int) -> list[Range]:
    """Divide [start, stop) into ranges to compute in parallel: one for one thread, otherwise a few for each thread."""
    return pieces(start, stop, 1 if threads == 1 else _STRIPES_PER_THREAD * threads)


def summed_stripes(start: int, stop: int, threads: int, nbytes: int) -> list[Range]:
    """Return `stripes` for work that fills an array of `nbytes` for each: as few as fit into `SUMS_BYTES`, or one."""
    return pieces(start, stop, min(len(stripes(start, stop, threads)), SUMS_BYTES // max(nbytes, 1)))


def pieces(start: int, stop: int, count: int) -> list[Range]:
    """Divide [start, stop) into `count` ranges of about the same length, or into fewer that are not empty."""
    count = max(1, min(stop - start, count))
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    return list(pairwise(edges))


@contextmanager
def worker_threads(threads: int) -> Iterator[ParallelMap]:
    """Yield a `ParallelMap` that uses `threads` threads; with one thread, everything runs in the caller's."""
    if threads == 1:
        yield lambda work, items: [work(item) for item in items]
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="kernels") as pool:
        yield lambda work, items: list(pool.map(work, items))
