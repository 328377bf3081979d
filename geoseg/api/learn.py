"""`geoseg.train` and `geoseg.open_model`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from geoseg.api.calls import (
    BandsLike,
    PathLike,
    ProgressOption,
    bands_of,
    extras_of,
    location_of,
    path_of,
    run,
)
from geoseg.config import (
    MODEL_NAME,
    Opening,
    Precision,
    TrainConfig,
    Weights,
)
from geoseg.errors import SettingError
from geoseg.launch import Launch
from geoseg.recipes import RecipeName

if TYPE_CHECKING:
    from geoseg.jobs.results import TrainResult
    from geoseg.model.file import Model


def train(
    data: PathLike | Sequence[PathLike], out: PathLike = MODEL_NAME, *, recipe: RecipeName | None = None,
    classes: int | None = None, steps: int | None = None, minutes: float | None = None, batch_size: int | None = None,
    patch_size: int | None = None, encoder: str = TrainConfig.encoder, encoder_weights: str | None = None,
    bands: BandsLike | None = None, index: Sequence[str] | str = (),
    extra: Sequence[PathLike] | PathLike = (), superpixel_size: int | None = None,
    compactness: float = TrainConfig.compactness, device: str = "auto", threads: int | None = None,
    precision: Precision = "auto", seed: int = 0,
    weights: Weights = "selected", max_bad: int = 0, resume: bool = False, overwrite: bool = False,
    allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> TrainResult:  # fmt: skip
    """Learn classes from images, without labels.

    Args:
        data: Folder of images, one image, or several images.
        out: Model file to write; a log and a picture are written next to it.
        recipe: Named set of training settings. None is that of the benchmark whose layout the folder has, otherwise
            orthophoto. Settings below that are None come from the recipe.
        classes: Number of classes: up to 12 are land-cover classes, more divide these further.
        steps: Number of optimiser steps.
        minutes: Time limit; the learning-rate schedule then follows the clock.
        batch_size: Patches per step, of all processes together.
        patch_size: Side of a patch in pixels, a multiple of 32.
        encoder: "compact", or an encoder of segmentation-models-pytorch.
        encoder_weights: Initial weights of the encoder: a name such as "imagenet", or a file; None is random.
        bands: Band numbers, counted from 1, or names, in this order; None is all bands except alpha.
        index: Spectral indices to learn from as further bands, such as "ndvi" or ["ndvi", "ndwi"]; "ndvi=4,1" names
            the bands of the formula.
        extra: Rasters whose bands are added to those of the images, such as a surface model: "dsm.tif", a folder of
            them, or "dsm=tile_7.tif" to name it.
        superpixel_size: Side of a superpixel in pixels.
        compactness: Weight of spatial distance against colour distance.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: Threads that train on a CPU; None is the number of cores. With the compact encoder, the result does
            not depend on it.
        precision: Arithmetic of the network; "auto" uses bfloat16 where the hardware supports it.
        seed: Seed of all random choices.
        weights: Which weights are saved: "selected" by a criterion without labels, or the "last" ones.
        max_bad: Largest number of unusable images that may be left out.
        resume: Continue an interrupted training; the result is the same as without the interruption.
        overwrite: Replace an existing model, or discard an interrupted training.
        allow_vrt: Accept GDAL VRTs whose sources are in the same folder or below it.
        allow_remote: Accept remote files: URLs, cloud storage, archives.
        max_pixels: Refuse rasters with more pixels.
        page: Page of a multi-page TIFF, counted from 1; None is the first.
        nodata: Value of invalid pixels; None is the value declared in the file.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The paths of model, log and picture.

    Raises:
        GeosegError: Images cannot be used, the output exists, or the training diverged; see `geoseg.errors`.

    Example:
        >>> geoseg.train("potsdam/", classes=6, progress=True).model  # doctest: +SKIP
        PosixPath('geoseg-model.safetensors')
    """
    from geoseg.jobs.train import TrainJob

    several = isinstance(data, Iterable) and not isinstance(data, str | os.PathLike)
    given: Any = data if several else [data]
    scenes = [location_of(each) for each in given]
    if not scenes:
        raise SettingError("data is empty; name a folder, a file, or several files")
    config = TrainConfig(
        data=scenes[0], out=path_of(out), recipe=recipe, classes=classes,
        steps=steps, minutes=minutes, batch_size=batch_size, patch_size=patch_size, encoder=encoder,
        encoder_weights=encoder_weights, bands=bands_of(bands), superpixel_size=superpixel_size,
        index=(index,) if isinstance(index, str) else tuple(index), extra=extras_of(extra),
        compactness=compactness, device=device, threads=threads, precision=precision, seed=seed, weights=weights,
        max_bad=max_bad, resume=resume, overwrite=overwrite, allow_vrt=allow_vrt, allow_remote=allow_remote,
        max_pixels=max_pixels,
        page=page, nodata=nodata,
    )  # fmt: skip
    with TrainJob(config, scenes if several else None, launch=Launch.of()) as job:
        run(job, progress)
        return job.result


def open_model(path: PathLike) -> Model:
    """Return the model in a file: network, bands, statistics, class map and provenance.

    Raises:
        InputMissingError, InputError: The file does not exist, or is not an intact model.
    """
    from geoseg.model.file import load_model
    from geoseg.raster.guards import regular_file

    return load_model(regular_file(path_of(path)))
