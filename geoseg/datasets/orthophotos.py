"""Any folder of imagery: georeferenced or not, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from geoseg.config import Opening
from geoseg.datasets.dataset import Labels, Pixels
from geoseg.datasets.reading import open_quietly
from geoseg.errors import InputError
from geoseg.locations import Location, local
from geoseg.scene import Scene


class Orthophotos:
    """The scenes at `paths`, each of which is one image.

    bands, opening: see Scene.

    Raises:
        InputMissingError, InputError, BandError: see Scene; all files that cannot be used are in one message.
    """

    name = "orthophoto"
    class_names: tuple[str, ...] = ()
    labelled: Sequence[int] = ()

    def __init__(
        self, paths: Sequence[Location], bands: Sequence[int] | None = None, opening: Opening | None = None
    ) -> None:
        self.sources = _open_all(paths, bands, opening)
        self.files = (*local(*paths), *(file for scene in self.sources for file in scene.files))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the first scene."""
        return self.sources[0].band_names

    @property
    def count(self) -> int:
        """How many scenes there are."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return all pixels of a scene at once, whatever its size, and their validity."""
        scene = self.sources[index]
        return scene.read(scene.extent)

    def labels(self, index: int) -> Labels:
        """Raise ValueError: there are none."""
        raise ValueError(f"{self.sources[index].path} has no labels")

    def close(self) -> None:
        """Close the scenes."""
        for scene in self.sources:
            scene.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_all(paths: Sequence[Location], bands: Sequence[int] | None, opening: Opening | None) -> list[Scene]:
    """Open every file, and report all that cannot be read in one message."""
    scenes: list[Scene] = []
    problems: list[InputError] = []
    try:
        for path in paths:
            try:
                scenes.append(open_quietly(path, bands, opening=opening))
            except InputError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            told = "; ".join(map(str, problems[:10]))
            raise InputError(f"{len(problems)} of {len(paths)} files cannot be used: {told}")
    except BaseException:
        for scene in scenes:
            scene.close()
        raise
    return scenes
