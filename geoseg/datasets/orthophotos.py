"""A folder of any imagery, georeferenced or not, without labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from geoseg.bands import customary_names
from geoseg.config import Opening
from geoseg.datasets.agreement import Opened, agree, warn_of_sizes
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.dataset import Labels
from geoseg.errors import InputError, InputMissingError
from geoseg.extras import Extra
from geoseg.indices import IndexRequest
from geoseg.location import Location, local
from geoseg.raster.derived import open_bands
from geoseg.raster.orientation import warn_of_orientation
from geoseg.raster.scene import Scene
from geoseg.raster.source import Pixels

log = logging.getLogger(__name__)


class Orthophotos:
    """Scenes, each of which is one image. A `Dataset` without labels.

    Scenes whose pixels or bands do not fit the others cannot be used; see `geoseg.datasets.agreement`.

    Args:
        paths: Of the scenes.
        bands: See `Scene`.
        bad_images: Takes scenes that cannot be used, which are then left out; None makes any of them an error.
        opening: See `Scene`.
        indices: Bands to compute from those of the scenes.
        extras: Rasters that add their bands to the scenes.

    Raises:
        InputMissingError, InputError, BandError: See `Scene`. All scenes that cannot be used are reported together.
    """

    name = "orthophoto"
    class_names: tuple[str, ...] = ()
    labelled: Sequence[int] = ()

    def __init__(
        self,
        paths: Sequence[Location],
        bands: Sequence[int | str] | None = None,
        bad_images: BadImages | None = None,
        opening: Opening | None = None,
        indices: Sequence[IndexRequest] = (),
        extras: Sequence[Extra] = (),
    ) -> None:
        bad = BadImages() if bad_images is None else bad_images
        self.sources = _open_all(
            paths, bands, bad, partial(open_bands, opening=opening, quiet=True, indices=indices, extras=extras)
        )
        self.files = (*local(*paths), *(file for scene in self.sources for file in scene.files))
        warn_of_sizes(self.sources)
        warn_of_orientation(self.sources)
        _warn_of_custom(self.sources, indices)
        try:
            if bad_images is None or not self.sources:
                bad.enforce_limit(len(paths))
        except BaseException:
            self.close()
            raise

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the first scene."""
        return self.sources[0].band_names

    @property
    def count(self) -> int:
        """Number of scenes."""
        return len(self.sources)

    def image(self, index: int) -> Pixels:
        """Return all pixels of a scene at once, whatever its size, and their validity."""
        scene = self.sources[index]
        return scene.read(scene.extent)

    def labels(self, index: int) -> Labels:
        """Raise ValueError: scenes have no labels."""
        raise ValueError(f"{self.sources[index].path} has no labels")

    def close(self) -> None:
        """Close the scenes."""
        for scene in self.sources:
            scene.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _warn_of_custom(scenes: Sequence[Scene], indices: Sequence[IndexRequest]) -> None:
    """Warn where the names of bands do not say which are those of an index."""
    for scene in scenes[:1]:
        names = scene.band_names[: len(scene.file_bands)]
        taken = customary_names(names)
        if taken is not names and any(request.bands is None for request in indices):
            log.warning(
                "%s: its bands have no names and are taken for %s; if they are others, give those of an index, such as "
                "--index %s=%s",
                scene.path, ", ".join(taken), indices[0].name, ",".join("N" for _ in indices[0].formula.roles),
            )  # fmt: skip


def _open_all(
    paths: Sequence[Location],
    bands: Sequence[int | str] | None,
    bad_images: BadImages,
    opened_with: Callable[[Location, Sequence[int | str] | None], Scene],
) -> list[Scene]:
    """Open all scenes that can be used."""
    scenes: list[Scene] = []
    opened: dict[Location, Location] = {}
    try:
        for path in paths:
            picture = path.with_suffix("") if isinstance(path, Path) else path
            other = opened.get(picture)
            try:
                if other is not None:
                    # The same picture in another format, or a preview of it: it would be learnt twice.
                    raise InputError(f"{path}: is a duplicate of {other.name}; keep one of them")
                scenes.append(opened_with(path, bands))
                opened[picture] = path
            except (InputError, InputMissingError) as error:
                bad_images.add(path, error)

        def reopen(scene: Scene, order: tuple[int, ...]) -> Scene:
            scene.close()
            own = [band for band in order if band in scene.file_bands]
            return opened_with(scene.path, own)

        named = [Opened(path, scene) for path, scene in zip(opened.values(), scenes, strict=True)]
        return agree(named, bands is not None, bad_images.add, reopen)
    except BaseException:
        for scene in scenes:
            scene.close()
        raise
