"""geoseg: from unlabelled orthophotos to a land-cover map that opens, named and coloured, in QGIS.

    import geoseg

    model = geoseg.train("images/").model
    result = geoseg.predict("scene.tif", out="classes.tif", model=model, progress=True)

The functions have the names, settings and defaults of the command line. Heavy libraries are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoseg.version import __version__

_HOMES = {
    "geoseg.api.learn": ("open_model", "train"),
    "geoseg.api.divide": ("finalize", "plan", "work"),
    "geoseg.api.make": ("change", "polygonize", "predict", "superpixels"),
    "geoseg.api.exporting": ("export",),
    "geoseg.api.look": ("check", "evaluate", "info", "open_scene", "report"),
    "geoseg.api.naming": ("open_classes", "set_classes", "show_classes", "suggest_classes"),
    "geoseg.api.teaching": ("teach",),
    "geoseg.jobs.job": ("Progress",),
    "geoseg.units": ("Area", "Period"),
    "geoseg.errors": (
        "BandError", "DivergedError", "GeosegError", "InputError", "InputMissingError", "LockedError", "OutputError",
        "RunError", "SettingError", "UnavailableError", "WriteError",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Area", "BandError", "DivergedError", "GeosegError", "InputError", "InputMissingError", "LockedError",
    "OutputError", "Period", "Progress", "RunError", "SettingError", "UnavailableError", "WriteError", "__version__",
    "change", "check", "evaluate", "export", "finalize", "info", "open_classes", "open_model", "open_scene", "plan",
    "polygonize", "predict", "report", "set_classes", "show_classes", "suggest_classes", "superpixels", "teach",
    "train", "work",
]  # fmt: skip

if TYPE_CHECKING:
    from geoseg.api.divide import finalize, plan, work
    from geoseg.api.exporting import export
    from geoseg.api.learn import open_model, train
    from geoseg.api.look import check, evaluate, info, open_scene, report
    from geoseg.api.make import change, polygonize, predict, superpixels
    from geoseg.api.naming import open_classes, set_classes, show_classes, suggest_classes
    from geoseg.api.teaching import teach
    from geoseg.errors import (
        BandError,
        DivergedError,
        GeosegError,
        InputError,
        InputMissingError,
        LockedError,
        OutputError,
        RunError,
        SettingError,
        UnavailableError,
        WriteError,
    )
    from geoseg.jobs.job import Progress
    from geoseg.units import Area, Period


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'geoseg' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
