"""`geoseg.predict`, `geoseg.superpixels` and `geoseg.polygonize`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.api.calls import PathLike, Watcher, area_of, location_of, path_of, run, tuple_of
from geoseg.config import (
    Blend,
    Opening,
    PolygonizeConfig,
    Precision,
    PredictConfig,
    SegmentConfig,
)
from geoseg.units import Area, Period

if TYPE_CHECKING:
    from geoseg.jobs.results import MapResult, PolygonsResult, SuperpixelsResult


def predict(
    scene: PathLike, out: PathLike, *, model: PathLike | None = None, confidence: PathLike | None = None,
    polygons: PathLike | None = None, min_area: Area | str | None = None, sld: bool = False, legend: bool = False,
    stac: bool = False, datetime: Period | str | None = None, bands: Sequence[int] | None = None,
    aoi: PathLike | None = None, bounds: tuple[float, float, float, float] | None = None, tile_size: int | None = None,
    overlap: int | None = None, blend: Blend = "hann", block_size: int = PredictConfig.block_size,
    batch_size: int | None = None, workers: int | None = None, device: str = "auto", precision: Precision = "auto",
    assume_crs: str | None = None, overwrite: bool = False, keep_run: bool = False, restart: bool = False,
    allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: Watcher = False,
) -> MapResult:  # fmt: skip
    """Map a scene of any size with a model. Interrupted, the same call goes on where it was.

    Args:
        scene: The scene.
        out: Class raster to write, a GeoTIFF; style, preview and record go beside it.
        model: Model file; None takes geoseg-model.safetensors in the working directory, and learns one from the scene
            where there is none.
        confidence: Also write the confidence of each pixel's class, 1..255, to this file.
        polygons: Also write the regions to this vector file.
        min_area: Give smaller regions to a neighbour: an `Area`, "50m2" or "12px".
        sld: Also write the style as SLD.
        legend: Also write a picture of the legend.
        stac: Also write a STAC Item.
        datetime: When the scene was taken, for the STAC Item: a `Period` or "2020-07-14".
        bands: Band numbers from 1, in the model's order.
        aoi: Vector file; what lies outside of its polygons becomes nodata.
        bounds: Map only this part: left, bottom, right, top in the scene's CRS.
        tile_size: Side of the network's windows in pixels; None takes the model's.
        overlap: Pixels by which windows overlap; None takes the model's.
        blend: How overlapping windows are weighted.
        block_size: Pixels a side that are written at once: decides memory, not the result.
        batch_size: Windows per forward.
        workers: Threads.
        device: As in `train`.
        precision: As in `train`.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace outputs that exist.
        keep_run: Keep the run directory with its finished parts.
        restart: Forget what an interrupted run has finished.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: As in `train`.
        progress: Function that gets a `Progress` for every step, or True for a tqdm bar.

    Returns:
        The paths of all files, and the classes. In a notebook it shows the preview.

    Raises:
        GeosegError: See `geoseg.errors`: bands that do not match the model's, an output that exists, a full disk.

    Example:
        >>> geoseg.predict("scene.tif", "classes.tif", min_area="50m2").preview  # doctest: +SKIP
        PosixPath('classes.preview.png')
    """
    from geoseg.jobs.predict import PredictJob, prediction_jobs

    config = PredictConfig(
        scenes=(location_of(scene),), out=Path(out), model=path_of(model), confidence=path_of(confidence),
        polygons=path_of(polygons), min_area=area_of(min_area), sld=sld,
        legend=legend, stac=stac, datetime=Period.parse(datetime) if isinstance(datetime, str) else datetime,
        bands=tuple_of(bands), aoi=path_of(aoi), bounds=bounds, tile_size=tile_size, overlap=overlap, blend=blend,
        block_size=block_size, batch_size=batch_size, workers=workers, device=device, precision=precision,
        assume_crs=assume_crs, overwrite=overwrite, keep_run=keep_run, restart=restart, allow_vrt=allow_vrt,
        allow_remote=allow_remote, max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    for job in prediction_jobs(config):
        with job:
            run(job, progress)
            if isinstance(job, PredictJob):
                return job.result
    raise AssertionError("a prediction ends with the job of its scene")


def superpixels(
    scene: PathLike, out: PathLike, *, size: int = SegmentConfig.size, compactness: float = SegmentConfig.compactness,
    iterations: int = SegmentConfig.iterations, min_size: int | None = None, bands: Sequence[int] | None = None,
    block_size: int = SegmentConfig.block_size, workers: int | None = None, assume_crs: str | None = None,
    overwrite: bool = False, keep_run: bool = False, restart: bool = False, allow_vrt: bool = False,
    allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: Watcher = False,
) -> SuperpixelsResult:  # fmt: skip
    """Cut a scene into superpixels (SLIC), without a model.

    Args:
        scene: The scene.
        out: A .tif for a raster of ids (uint32), a .gpkg or .fgb for polygons with mean and deviation of each band.
        size: Side of a superpixel in pixels, about; 4..255.
        compactness: Weight of distance in space against distance in colour.
        iterations: Steps of assigning pixels and moving centres, 1..50.
        min_size: Pixels below which a superpixel is given to a neighbour; None is a quarter of size x size.
        bands: As in `train`; so are allow_vrt to nodata.
        block_size: As in `predict`; so are workers to restart.
        workers: Threads.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace an output that exists.
        keep_run: Keep the run directory.
        restart: Forget what an interrupted run has finished.
        allow_vrt: Take GDAL VRTs.
        allow_remote: Take files elsewhere.
        max_pixels: Refuse a raster of more.
        page: Page of a TIFF with several.
        nodata: Value of invalid pixels.
        progress: Function that gets a `Progress` for every step, or True for a tqdm bar.

    Returns:
        The path, and how many polygons there are.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.superpixels import SuperpixelsJob

    config = SegmentConfig(
        scene=location_of(scene), out=Path(out), size=size, compactness=compactness, iterations=iterations,
        min_size=min_size, bands=tuple_of(bands), block_size=block_size, workers=workers, assume_crs=assume_crs,
        overwrite=overwrite, keep_run=keep_run, restart=restart, allow_vrt=allow_vrt, allow_remote=allow_remote,
        max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    with SuperpixelsJob(config) as job:
        run(job, progress)
        return job.result


def polygonize(
    raster: PathLike, out: PathLike, *, confidence: PathLike | None = None, min_area: Area | str | None = None,
    simplify: float | None = None, classes: Sequence[str | int] | None = None, field: str = PolygonizeConfig.field,
    sld: bool = False, assume_crs: str | None = None, overwrite: bool = False, allow_vrt: bool = False,
    allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: Watcher = False,
) -> PolygonsResult:  # fmt: skip
    """Turn a class raster, geoseg's or any of integers, into polygons: one for each region, exactly along its pixels.

    Args:
        raster: Class raster of one band.
        out: File to write, by its suffix: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .geojsons or .shp.
        confidence: Raster on the same pixels, whose mean over each polygon is written.
        min_area: Give smaller regions to a neighbour: an `Area`, "50m2" or "12px".
        simplify: Tolerance in units of the CRS; neighbours keep their common edges.
        classes: Ids or names of the classes to write; None for all.
        field: Name of the column of class ids.
        sld: Also write the style as SLD.
        assume_crs: CRS of a raster that has none.
        overwrite: Replace an output that exists.
        allow_vrt: As in `train`; so are the next four.
        allow_remote: Take files elsewhere.
        max_pixels: Refuse a raster of more.
        page: Page of a TIFF with several.
        nodata: Value of pixels without a class.
        progress: Function that gets a `Progress` for every step, or True for a tqdm bar.

    Returns:
        The path, and how many polygons there are.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.polygonize import PolygonizeJob

    config = PolygonizeConfig(
        raster=location_of(raster), out=Path(out), confidence=None if confidence is None else location_of(confidence),
        min_area=area_of(min_area), simplify=simplify,
        classes=None if classes is None else tuple(map(str, classes)), field=field, sld=sld, assume_crs=assume_crs,
        overwrite=overwrite, allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels, page=page,
        nodata=nodata,
    )  # fmt: skip
    with PolygonizeJob(config) as job:
        run(job, progress)
        return job.result
