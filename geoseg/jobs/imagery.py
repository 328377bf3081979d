"""What is recorded of imagery, and told of it, beyond what is learnt: units, resolution, undeclared nodata."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.errors import InputError, InputMissingError
from geoseg.raster.derived import DerivedScene
from geoseg.raster.fills import Fill, undeclared_fill
from geoseg.raster.ground import Ground
from geoseg.raster.sample import sample
from geoseg.raster.scaling import ConvertedImage, Scaling, conversion
from geoseg.raster.scene import Scene
from geoseg.raster.source import ImageSource

log = logging.getLogger(__name__)

_MAX_SCENES = 64
"""Number of scenes that are looked at, evenly spaced through the set."""


def in_common_units(sources: Sequence[ImageSource]) -> list[ImageSource]:
    """Return the images with the values of scenes whose scale and offset differ converted to the units of the first."""
    first = next((source for source in sources if isinstance(source, Scene)), None)
    return [source if first is None else _converted(source, first) for source in sources]


def scaling_of(sources: Sequence[ImageSource]) -> Scaling | None:
    """Return the scale and offset that the first scene declares; None where it declares none."""
    first = next(iter(_scenes(sources)), None)
    return first.scaling if first is not None and first.scaling.declared else None


def added_bands(sources: Sequence[ImageSource]) -> dict[str, Any]:
    """Return `extras`, `indices` and `file_dtype` of a `Model`; empty where scenes have no bands but their own."""
    first = next(iter(_scenes(sources)), None)
    if not isinstance(first, DerivedScene):
        return {}
    kinds = {scene.file_dtype for scene in _some(_scenes(sources)) if isinstance(scene, DerivedScene)}
    return {
        "indices": first.indices, "extras": tuple(extra.bands for extra in first.extras),
        "file_dtype": str(np.result_type(*kinds)),
    }  # fmt: skip


def pixel_size_of(sources: Sequence[ImageSource]) -> tuple[float, float] | None:
    """Return the smallest and largest side of a pixel, in metres on the ground; None where no scene tells it."""
    sizes = [Ground(scene.georeference, scene.shape).sampling_distance for scene in _some(_scenes(sources))]
    known = [size for size in sizes if size is not None]
    return (min(known), max(known)) if known else None


def warn_of_fills(sources: Sequence[ImageSource]) -> None:
    """Log one warning where scenes have values that seem to be nodata without being declared so."""
    scenes = [scene for scene in _some(_scenes(sources)) if not scene.declares_nodata]
    found: list[tuple[Scene, Fill]] = []
    for scene in scenes:
        fill = _fill_of(scene)
        if fill is not None:
            found.append((scene, fill))
    if not found:
        return
    scene, fill = found[0]
    several = f" ({len(found)} of {len(scenes)} scenes are like this)" if len(found) > 1 else ""
    log.warning("%s: %s%s", scene.path, fill.message(), several)
    for scene in _scenes(sources):
        scene.nodata_told = True


def _fill_of(scene: Scene) -> Fill | None:
    try:
        pixels, valid = sample(scene)
    except (InputError, InputMissingError):
        return None  # it is reported, or left out, when all of it is read
    return undeclared_fill(pixels, valid) if valid.any() else None


def _scenes(sources: Sequence[ImageSource]) -> list[Scene]:
    images = [source.image if isinstance(source, ConvertedImage) else source for source in sources]
    return [image for image in images if isinstance(image, Scene)]


def _some(scenes: Sequence[Scene]) -> list[Scene]:
    count = min(len(scenes), _MAX_SCENES)
    return [scenes[i * len(scenes) // count] for i in range(count)]


def _converted(source: ImageSource, first: Scene) -> ImageSource:
    if not isinstance(source, Scene):
        return source
    found = conversion(source.scaling, source.dtype, first.scaling, first.dtype)
    return source if found is None else ConvertedImage(source, found)
