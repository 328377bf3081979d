"""`geoseg.train` and `geoseg.open_model`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.api.calls import PathLike, Watcher, location_of, run, tuple_of
from geoseg.config import (
    MODEL_NAME,
    Opening,
    Precision,
    TrainConfig,
    Weights,
)
from geoseg.errors import SettingError
from geoseg.recipes import RecipeName

if TYPE_CHECKING:
    from geoseg.jobs.results import TrainResult
    from geoseg.model.file import Model


def train(
    data: PathLike | Sequence[PathLike], out: PathLike = MODEL_NAME, *, recipe: RecipeName | None = None,
    classes: int | None = None, steps: int | None = None, minutes: float | None = None, batch_size: int | None = None,
    patch_size: int | None = None, encoder: str = TrainConfig.encoder, encoder_weights: str | None = None,
    bands: Sequence[int] | None = None, superpixel_size: int | None = None,
    compactness: float = TrainConfig.compactness, device: str = "auto", precision: Precision = "auto", seed: int = 0,
    weights: Weights = "selected", max_bad: int = 0, resume: bool = False, overwrite: bool = False,
    allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: Watcher = False,
) -> TrainResult:  # fmt: skip
    """Learn classes from imagery, without labels.

    Args:
        data: Folder of imagery, one file, or several files.
        out: Model file to write; its log and picture go beside it.
        recipe: A named set of training settings; None takes the protocol whose data the folder looks like, else
            orthophoto. What is None below is taken from it.
        classes: How many classes; up to 12 are learnt as land cover, more as its shades.
        steps: Optimiser steps.
        minutes: Stop after this time; the schedule follows the clock.
        batch_size: Patches per step.
        patch_size: Side of a patch in pixels, a multiple of 32.
        encoder: "compact", or an encoder of segmentation-models-pytorch.
        encoder_weights: What the encoder starts from: a name such as "imagenet", or a file.
        bands: Band numbers from 1, in this order; None takes every band that is not alpha.
        superpixel_size: Side of a superpixel in pixels.
        compactness: Weight of distance in space against distance in colour.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Arithmetic of the network; "auto" takes bfloat16 where it is native.
        seed: Decides every random choice.
        weights: "selected" by a criterion without labels, or the "last".
        max_bad: How many images that cannot be used may be left out.
        resume: Continue an interrupted training, exactly.
        overwrite: Replace a model that exists.
        allow_vrt: Take GDAL VRTs, of rasters under their own folder.
        allow_remote: Take files elsewhere.
        max_pixels: Refuse a raster of more.
        page: Page of a TIFF with several, from 1.
        nodata: Value of invalid pixels; None takes what the file declares.
        progress: Function that gets a `Progress` for every step, or True for a tqdm bar.

    Returns:
        The paths of model, log and picture.

    Raises:
        GeosegError: See `geoseg.errors`: imagery that cannot be used, an output that exists, a training that diverged.

    Example:
        >>> geoseg.train("potsdam/", classes=6, progress=True).model  # doctest: +SKIP
        PosixPath('geoseg-model.safetensors')
    """
    from geoseg.jobs.train import TrainJob

    scenes = [location_of(each) for each in ([data] if isinstance(data, str | os.PathLike) else data)]
    if not scenes:
        raise SettingError("data is empty; name a folder, a file, or several files")
    config = TrainConfig(
        data=scenes[0], out=Path(out), recipe=recipe, classes=classes,
        steps=steps, minutes=minutes, batch_size=batch_size, patch_size=patch_size, encoder=encoder,
        encoder_weights=encoder_weights, bands=tuple_of(bands), superpixel_size=superpixel_size,
        compactness=compactness, device=device, precision=precision, seed=seed, weights=weights, max_bad=max_bad,
        resume=resume, overwrite=overwrite, allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels,
        page=page, nodata=nodata,
    )  # fmt: skip
    with TrainJob(config, None if isinstance(data, str | os.PathLike) else scenes) as job:
        run(job, progress)
        return job.result


def open_model(path: PathLike) -> Model:
    """Return the model in a file: network, bands, statistics, class map and provenance.

    Raises:
        InputMissingError, InputError: There is no such file, or it is not an intact model.
    """
    from geoseg.model.file import load_model
    from geoseg.raster.guards import regular_file

    return load_model(regular_file(Path(path)))
