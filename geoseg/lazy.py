"""Libraries that are imported when a name of theirs is first used, so that a command pays only for those it needs.

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module.

    Args:
        name: Of the module; a submodule that its package does not import has a `Lazy` of its own.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def lazy(name: str) -> Any:
    """Return what stands for a module until it is used."""
    return Lazy(name)
