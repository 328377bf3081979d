"""Settings of the commands that only look at files: geoseg status, info and check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.config.common import Opening
from geoseg.errors import SettingError
from geoseg.location import Location


@dataclass(frozen=True)
class StatusConfig:
    """Settings of `geoseg status`.

    Attributes:
        run: A run directory, or the output it belongs to; either may be in a cloud store.
        json: Print JSON.
    """

    run: Location
    json: bool = False


@dataclass(frozen=True)
class InfoConfig(Opening):
    """Settings of `geoseg info`.

    Attributes:
        file: A scene, a model or a map.
        json: Print JSON.
    """

    file: Location
    json: bool = False


@dataclass(frozen=True)
class CheckConfig:
    """Settings of `geoseg check`.

    Attributes:
        files: Scenes, models, results or run directories.
        scene: The scene that the map or the superpixels were made from.
        json: Print JSON.
    """

    files: tuple[Path, ...]
    scene: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        if self.scene is not None and len(self.files) > 1:
            raise SettingError("scene goes with one result; check the other files without it")
