"""What `geoseg` and `python -m geoseg` start: the command line in a process of its own, which it spares some work.

- Python looks for garbage less often. Importing makes a million objects and no garbage, and looking for it at every
  700th took a third of the time of importing torch.
- rasterio and pyogrio are imported without what they import if it is there and no command uses: boto3, pandas and
  geopandas.
- At the end, the process leaves without taking the libraries apart: the work is done, files are closed and locks
  released. Handlers of atexit run before, and threads have ended.

None of it happens where another program calls the command line or the library, under `rio`, or while a debugger,
profiler or coverage watches.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_OPTIONAL = {"rasterio": ("boto3",), "pyogrio": ("geopandas", "pandas")}
"""Library -> what it also imports if that is installed. Requests to s3:// are signed by GDAL, not by boto3."""

_YOUNG = 20_000
"""Objects between two looks for garbage."""


def main() -> None:
    """Run the command line in this process, which then ends."""
    if not _is_watched():
        # Registered before any other handler, this one runs last.
        leaving = _Leaving()
        atexit.register(leaving)
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        sys.meta_path.insert(0, _Sparing())
    else:
        leaving = None
    from .main import main as run

    try:
        run()
    except SystemExit as end:
        if leaving is not None and isinstance(end.code, int):
            leaving.status = end.code
        raise


def _is_watched() -> bool:
    """Whether something else in this process has to see its end, or its imports."""
    return sys.gettrace() is not None or sys.getprofile() is not None or "coverage" in sys.modules


class _Leaving:
    """Ends the process, as a handler of atexit, with the status that the command line ended with."""

    def __init__(self) -> None:
        self.status: int | None = None

    def __call__(self) -> None:
        if self.status is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # Python knows what to do
        os._exit(self.status)


class _Sparing(MetaPathFinder):
    """Finds the libraries of `_OPTIONAL` as Python does, and has them imported by `_SparingLoader`."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path, target) if name in _OPTIONAL else None
        if found is not None and found.loader is not None:
            found.loader = _SparingLoader(found.loader, _OPTIONAL[name])
        return found


class _SparingLoader(Loader):
    """Imports a library as if others were not installed; should it need them after all, once more with them."""

    def __init__(self, loader: Loader, without: tuple[str, ...]) -> None:
        self._loader, self._without = loader, without

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        try:
            with _absent(self._without):
                self._loader.exec_module(module)
        except ImportError:
            self._loader.exec_module(module)


@contextmanager
def _absent(names: tuple[str, ...]) -> Iterator[None]:
    """Within this context, libraries that were not imported yet cannot be: None in `sys.modules` says so."""
    hidden = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
