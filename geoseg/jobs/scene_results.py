"""What became of each of many scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.location import shown

Status = Literal["done", "done before", "failed", "not done"]


@dataclass(frozen=True)
class SceneResult:
    """What became of one scene.

    Attributes:
        scene: The scene.
        outputs: The outputs that have names of their own, and the record; also those that are not there yet.
        status: done, by this process; done before, by another or an earlier one; failed; or not done, because an error
            that concerns all scenes, or an interruption, came first.
        error: Why it failed, on one line.
        exit_code: Exit status of the error; 0 for what is done, None for what was not done.
        pixels: Number of pixels of the output, nodata too; None where nothing was done.
        seconds: Wall time; None where nothing was done.
        classes: Names of the classes that occur; None where that is not known.
    """

    scene: str
    outputs: tuple[Path, ...]
    status: Status
    error: str | None = None
    exit_code: int | None = 0
    pixels: int | None = None
    seconds: float | None = None
    classes: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, the seconds to a millisecond."""
        return {
            "scene": self.scene,
            "outputs": [shown(path) for path in self.outputs],
            "status": self.status,
            "error": self.error,
            "exit_code": self.exit_code,
            "pixels": self.pixels,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "classes": None if self.classes is None else list(self.classes),
        }


@dataclass(frozen=True)
class Facts:
    """What is told of a finished job: the number of pixels, and the names of the classes that occur, if it has any."""

    pixels: int
    classes: tuple[str, ...] | None = None
