"""The settings of a command as JSON, so that another process, on this machine or another, can do the same work.

Only settings that differ from their defaults are kept. Paths become absolute, because the other process may have
another working directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from geoseg.config.common import Opening
from geoseg.config.polygonize import PolygonizeConfig
from geoseg.config.predict import PredictConfig
from geoseg.config.superpixels import SegmentConfig
from geoseg.errors import SettingError
from geoseg.extras import Extra
from geoseg.location import Remote, target
from geoseg.units import Area, Period

_COMMANDS: Mapping[str, type[Opening]] = {
    "predict": PredictConfig, "superpixels": SegmentConfig, "polygonize": PolygonizeConfig,
}  # fmt: skip


def encode(config: Opening) -> dict[str, Any]:
    """Return the settings of a command as JSON values.

    Args:
        config: Those of predict, superpixels or polygonize.
    """
    command = next(name for name, kind in _COMMANDS.items() if type(config) is kind)
    settings = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    changed = {
        entry.name: _encoded(settings[entry.name])
        for entry in fields(config)
        if entry.default is MISSING or settings[entry.name] != entry.default
    }
    return {"command": command, "settings": changed}


def decode(content: Any) -> Opening:
    """Return the settings that `encode` returned.

    Raises:
        SettingError: They are no such settings, or those of a version with others.
    """
    try:
        kind = _COMMANDS[content["command"]]
        return kind(**{name: _decoded(value) for name, value in content["settings"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"settings of no command that this version of geoseg has ({error})") from error


def _encoded(value: Any) -> Any:
    if isinstance(value, Path):
        return {"path": str(value if target(value) else value.absolute())}
    if isinstance(value, Remote):
        return {"url": value.url}
    if isinstance(value, Extra):
        return {"extra": value.title, "at": _encoded(value.path)}
    if isinstance(value, Area):
        return {"area": value.value, "unit": value.unit}
    if isinstance(value, Period):
        return {"period": str(value)}
    if isinstance(value, tuple):
        return [_encoded(each) for each in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(each) for each in value)
    if not isinstance(value, dict):
        return value
    if "path" in value:
        if "\0" in value["path"]:
            raise SettingError("a path with a character that no path has")
        return Path(value["path"])
    if "extra" in value:
        return Extra(value["extra"], _decoded(value["at"]))
    if "url" in value:
        return Remote(value["url"])
    if "area" in value:
        return Area(value["area"], value["unit"])
    return Period.parse(value["period"])
