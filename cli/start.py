"""What `geoseg` and `python -m geoseg` start: the command line in a process of its own, which it spares some work.

- Python looks for garbage less often. Importing makes a million objects and no garbage, and looking for it at every
  700th took a third of the time of importing torch.
- rasterio, pyarrow and pyogrio are imported without what they import if it is there and no command uses: boto3, pandas
  and geopandas.
- At the end, the process leaves without taking the libraries apart: the work is done, files are closed and locks
  released. Handlers of atexit run before, and threads have ended.

None of it happens where another program calls the command line or the library, under `rio`, or while a debugger, a
profiler or coverage watches; and the last of it not where something waits for the end that was there before.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_OPTIONAL = {"rasterio": ("boto3",), "pyarrow": ("pandas",), "pyogrio": ("geopandas", "pandas")}
"""Library -> what it also imports if that is installed. Requests to s3:// are signed by GDAL, not by boto3."""

_INTERRUPTED = 130
"""Status after Ctrl-C, as `cli.interruption` has it, before anything that could be lost."""

_YOUNG = 20_000
"""Objects between two looks for garbage."""


def main() -> None:
    """Run the command line in this process, which then ends."""
    leaving = _Leaving()
    if not _is_watched():
        if not _is_awaited():
            # Registered before any other handler, this one runs last.
            atexit.register(leaving)
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        sys.meta_path.insert(0, _Sparing())
    try:
        from .main import main as run
    except KeyboardInterrupt:
        leaving.status = _INTERRUPTED
        raise SystemExit(_INTERRUPTED) from None
    try:
        run()
    except SystemExit as end:
        leaving.status = end.code if isinstance(end.code, int) else None
        raise


def _is_watched() -> bool:
    """Whether a debugger, a profiler or coverage is at work in this process."""
    return sys.gettrace() is not None or sys.getprofile() is not None or "coverage" in sys.modules


def _is_awaited() -> bool:
    """Whether something waits for the end of this process already, or may do so: it would wait in vain."""
    count = getattr(atexit, "_ncallbacks", None)
    return count is None or count() > 0


class _Leaving:
    """Ends the process, as a handler of atexit, with the status that the command line ended with."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._process = os.getpid()

    def __call__(self) -> None:
        if self.status is None or os.getpid() != self._process:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # Python knows what to do
        os._exit(self.status)


class _Sparing(MetaPathFinder):
    """Finds the libraries of `_OPTIONAL` as Python does, and has them imported by `_SparingLoader`."""

    def __init__(self) -> None:
        self._absent = Counter[str]()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if self._absent[name]:
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)
        hidden = _OPTIONAL.get(name, ())
        # What is imported already, as pandas that imports pyarrow is, cannot be hidden any more.
        if not hidden or any(each in sys.modules for each in hidden):
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is not None and found.loader is not None:
            found.loader = _SparingLoader(found.loader, partial(self.without, hidden))
        return found

    @contextmanager
    def without(self, names: tuple[str, ...]) -> Iterator[None]:
        """Within this context, libraries that are not imported yet are as if they were not installed."""
        self._absent.update(names)  # counted: pyogrio imports pyarrow
        try:
            yield
        finally:
            self._absent.subtract(names)


class _SparingLoader(Loader):
    """Imports a library within a context that hides others; should it need them after all, once more without."""

    def __init__(self, loader: Loader, hiding: Callable[[], AbstractContextManager[None]]) -> None:
        self._loader, self._hiding = loader, hiding

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        try:
            with self._hiding():
                self._loader.exec_module(module)
                if module.__name__ == "pyarrow":
                    # Once, at the first array that it makes, it looks whether pandas is there.
                    module.array([0])
        except ImportError:
            self._loader.exec_module(module)
