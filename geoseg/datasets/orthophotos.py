"""Any folder of imagery: georeferenced or not, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from geoseg.config import Opening
from geoseg.datasets.dataset import Faults, Labels
from geoseg.errors import InputError, InputMissingError
from geoseg.location import Location, local
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels


class Orthophotos:
    """The scenes at `paths`, each of which is one image.

    bands, opening: see Scene. faults: takes what is wrong with single files; without it, anything is an error.

    Raises:
        InputMissingError, InputError, BandError: see Scene; all files that cannot be used are in one report.
    """

    name = "orthophoto"
    class_names: tuple[str, ...] = ()
    labelled: Sequence[int] = ()

    def __init__(
        self,
        paths: Sequence[Location],
        bands: Sequence[int] | None = None,
        faults: Faults | None = None,
        opening: Opening | None = None,
    ) -> None:
        own = Faults() if faults is None else faults
        self.sources = _open_all(paths, bands, own, opening)
        self.files = (*local(*paths), *(file for scene in self.sources for file in scene.files))
        try:
            if faults is None or not self.sources:
                own.settle(len(paths))
        except BaseException:
            self.close()
            raise

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


def _open_all(
    paths: Sequence[Location], bands: Sequence[int] | None, faults: Faults, opening: Opening | None
) -> list[Scene]:
    """Open every file that can be used."""
    scenes: list[Scene] = []
    first: dict[Location, Location] = {}
    try:
        for path in paths:
            picture = path.with_suffix("") if isinstance(path, Path) else path
            other = first.get(picture)
            try:
                if other is not None:
                    # The same picture again, or a preview of it: it would be learnt twice.
                    raise InputError(f"{path}: is there twice, also as {other.name}; keep one of them")
                scenes.append(Scene(path, bands, opening=opening, quiet=True))
                first[picture] = path
            except (InputError, InputMissingError) as error:
                faults.add(path, error)
    except BaseException:
        for scene in scenes:
            scene.close()
        raise
    return scenes
