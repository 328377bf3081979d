"""`geoseg.evaluate`, `geoseg.report`, `geoseg.check`, `geoseg.info` and `geoseg.open_scene`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.api.calls import (
    BandsLike,
    Numbers,
    PathLike,
    ProgressOption,
    bands_of,
    location_of,
    numbers_of,
    optional_path,
    path_of,
    run,
)
from geoseg.config import (
    CheckConfig,
    EvaluateConfig,
    Opening,
    Precision,
    ReportConfig,
)
from geoseg.recipes import ProtocolName

if TYPE_CHECKING:
    from geoseg.checks.findings import Finding
    from geoseg.evaluation.report import Report
    from geoseg.jobs.results import ReportResult
    from geoseg.raster.scene import Scene


def evaluate(
    file: PathLike, *, labels: PathLike | None = None, data: PathLike | None = None,
    protocol: ProtocolName | None = None, ignore: Numbers = (), label_map: PathLike | None = None,
    bands: BandsLike | None = None, rescale: bool = False, smooth: int | None = None, device: str = "auto",
    precision: Precision = "auto", picture: PathLike | None = None, overwrite: bool = False, allow_vrt: bool = False,
    allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> Report:  # fmt: skip
    """Score a model (on the images of `data`) or a class raster against labels.

    Args:
        file: Model or class raster.
        labels: Label raster, or a folder of them, named like the images.
        data: Images that a model maps: a folder, or one image.
        protocol: The benchmark that `data` holds, with its own labels; None is the one the model was trained on.
        ignore: Label values that are not scored.
        label_map: JSON or CSV file that names label values or colours.
        bands: Band numbers, counted from 1, or names, in the model's order.
        rescale: As in `predict`.
        smooth: As in `predict`; None is its default, and 0 by a protocol.
        device: As in `train`.
        precision: As in `train`.
        picture: Also draw the confusion matrix to this PNG file.
        overwrite: Replace an existing picture.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: As in `train`.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The scores for a one-to-one and a many-to-one match of clusters to classes.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.evaluate import EvaluateJob

    config = EvaluateConfig(
        file=location_of(file), labels=optional_path(labels), data=optional_path(data), protocol=protocol,
        ignore=numbers_of("ignore", ignore) or (),
        label_map=optional_path(label_map), bands=bands_of(bands), rescale=rescale, smooth=smooth,
        device=device, precision=precision,
        picture=optional_path(picture), overwrite=overwrite,
        allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels, page=page,
        nodata=nodata,
    )  # fmt: skip
    with EvaluateJob(config) as job:
        run(job, progress)
        return job.report


def report(
    raster: PathLike, out: PathLike | None = None, *, scene: PathLike | None = None,
    confidence: PathLike | None = None, bands: BandsLike | None = None, title: str | None = None,
    overwrite: bool = False, allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels,
    page: int | None = None, nodata: float | None = None, progress: ProgressOption = False,
) -> ReportResult:  # fmt: skip
    """Show a map, its scene and its classes in one HTML file, in which the classes can be named.

    Args:
        raster: Class raster.
        out: HTML file to write; None is <raster>.report.html beside the raster.
        scene: The scene that the map was made from; None is the one that the map names, if it lies beside the map, in
            the folder above or in the working directory.
        confidence: Raster on the same pixels; None is the one that was written with the map.
        bands: Bands of the scene to show, as in `train`; None is the first three that the map was made from.
        title: Heading of the page; None is made of the name of the scene.
        overwrite: Replace an existing report.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: Value of pixels without a class; None is the value declared in the file.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The path, and the classes that occur.

    Raises:
        GeosegError: The scene is not found, or is not that of the map; see `geoseg.errors`.
    """
    from geoseg.jobs.report import ReportJob

    config = ReportConfig(
        raster=location_of(raster), out=optional_path(out), scene=None if scene is None else location_of(scene),
        confidence=None if confidence is None else location_of(confidence), bands=bands_of(bands), title=title,
        overwrite=overwrite, allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels, page=page,
        nodata=nodata,
    )  # fmt: skip
    with ReportJob(config) as job:
        run(job, progress)
        return job.result


def check(*files: PathLike, scene: PathLike | None = None) -> list[Finding]:
    """Read all of `files` and check them; nothing is written.

    Args:
        files: Scenes, models, results of geoseg, run directories.
        scene: The scene that a map or superpixels were made from, to compare them with.

    Returns:
        One finding for each check. Everything is intact if all of them are `ok`.

    Raises:
        GeosegError: A file is missing, or cannot be checked at all.
    """
    from geoseg.jobs.check import check_files

    return list(check_files(CheckConfig(tuple(map(path_of, files)), optional_path(scene))))


def info(file: PathLike, **opening: Any) -> dict[str, Any]:
    """Describe a scene, a model or a map.

    Args:
        file: The file.
        opening: allow_vrt, allow_remote, max_pixels, page and nodata, as in `train`.

    Returns:
        Name -> JSON value; 'kind' is 'scene', 'model', 'classes', 'confidence' or 'superpixels'.

    Raises:
        GeosegError: The file is missing, or neither a raster nor a model.
    """
    from geoseg.jobs.info import file_info

    return file_info(location_of(file), Opening(**opening))


def open_scene(path: PathLike, bands: BandsLike | None = None, assume_crs: str | None = None, **opening: Any) -> Scene:
    """Open a raster to read windows of pixels and their validity. A context manager.

    Args:
        path: The raster.
        bands: As in `train`.
        assume_crs: CRS of a scene that has none.
        opening: allow_vrt, allow_remote, max_pixels, page and nodata, as in `train`.

    Raises:
        GeosegError: The file is missing, or cannot be opened as a scene.

    Example:
        >>> with geoseg.open_scene("scene.tif") as scene:  # doctest: +SKIP
        ...     pixels, valid = scene.read(scene.extent)
    """
    from geoseg.raster.scene import Scene

    return Scene(location_of(path), bands_of(bands), assume_crs, opening=Opening(**opening))
