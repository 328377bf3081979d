"""`geoseg.predict`, `geoseg.superpixels`, `geoseg.polygonize` and `geoseg.change`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoseg.api.calls import (
    AreaLike,
    BandsLike,
    Names,
    PathLike,
    ProgressOption,
    area_of,
    bands_of,
    extras_of,
    location_of,
    names_of,
    optional_path,
    path_of,
    period_of,
)
from geoseg.api.calls import (
    run as finish,
)
from geoseg.config import (
    Blend,
    ChangeConfig,
    Match,
    Opening,
    PolygonizeConfig,
    Precision,
    PredictConfig,
    SegmentConfig,
)
from geoseg.errors import SettingError
from geoseg.location import local
from geoseg.units import Period

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.jobs.results import ChangeResult, MapResult, PolygonsResult, SuperpixelsResult


def predict(
    scene: PathLike, out: PathLike, *, model: PathLike | None = None, relearn: bool = False,
    confidence: PathLike | None = None, polygons: PathLike | None = None, areas: PathLike | None = None,
    min_area: AreaLike | None = None, sld: bool = False, legend: bool = False, stac: bool = False,
    datetime: Period | str | None = None,
    bands: BandsLike | None = None, extra: Sequence[PathLike] | PathLike = (), rescale: bool = False,
    match: Match | None = None, smooth: int | None = None,
    aoi: PathLike | None = None, aoi_layer: str | None = None, bounds: tuple[float, float, float, float] | None = None,
    tile_size: int | None = None, overlap: int | None = None, blend: Blend = "hann",
    block_size: int = PredictConfig.block_size, batch_size: int | None = None, workers: int | None = None,
    threads: int | None = None, client: Client | None = None,
    device: str = "auto", precision: Precision = "auto", assume_crs: str | None = None, overwrite: bool = False,
    run: PathLike | None = None, keep_run: bool = False, restart: bool = False, allow_vrt: bool = False,
    allow_remote: bool = False,
    max_pixels: int = Opening.max_pixels, page: int | None = None, nodata: float | None = None,
    progress: ProgressOption = False,
) -> MapResult:  # fmt: skip
    """Map a scene of any size with a model. The same call continues an interrupted prediction.

    Args:
        scene: The scene.
        out: Class raster (GeoTIFF) to write, or a folder for it; style, preview and record are written next to it.
        model: Model file. None is geoseg-model.safetensors in the working directory; if it does not exist, the model
            that an earlier prediction left next to the output, or else one that is learnt from the scene.
        relearn: Learn the model from the scene, even if there is one.
        confidence: Also write the confidence of each pixel's class, 1..255, to this raster.
        polygons: Also write the regions to this vector file.
        areas: Also write a table of the areas of classes to this CSV file; with several features of `aoi`, for each.
        min_area: Merge smaller regions into a neighbour: an `Area`, "50m2" or "12px".
        sld: Also write the style as SLD.
        legend: Also write a picture of the legend.
        stac: Also write a STAC Item.
        datetime: Acquisition time of the scene, for the STAC Item: a `Period` or "2020-07-14".
        bands: Band numbers, counted from 1, or names, in the model's order.
        extra: The rasters that the model learnt from beside the imagery; see `train`.
        rescale: Map the values of each band onto the range that the model learnt from: the 2nd and 98th percentiles of
            the scene onto those of the model.
        match: Give the bands of the scene, as a whole, the statistics of the imagery that the model learnt from:
            'moments' (mean and standard deviation) or 'percentiles' (2nd percentile, mean and 98th); None is off.
        smooth: Rounds in which superpixels follow similar neighbours, 0..10; None is 3, and 0 is off.
        aoi: Vector file; pixels outside its polygons become nodata.
        aoi_layer: Layer of `aoi`, a GeoPackage, to use; None for the only one with polygons.
        bounds: Map only this part: left, bottom, right, top in the scene's CRS.
        tile_size: Side of the network's windows in pixels; None is the model's.
        overlap: Overlap of the windows in pixels; None is the model's.
        blend: How overlapping windows are combined.
        block_size: Side of a block in pixels. It affects memory, not the result.
        batch_size: Windows per forward pass; None is 1 on a CPU and 4 on a GPU.
        workers: Number of threads; None is the number of cores, at most 8. Not with `client`.
        threads: With `client`, the number of threads in each worker; None is 1, and with a GPU that of its cores, at
            most 16.
        client: A `distributed.Client`: workers of its cluster compute the blocks, and this process publishes them.
        device: As in `train`.
        precision: As in `train`.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace existing outputs.
        run: Run directory, or the address of one in a cloud store; None is beside the output.
        keep_run: Keep the run directory with the finished blocks.
        restart: Discard the finished blocks of an interrupted run and start over.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: As in `train`.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The paths of all files, and the classes. A notebook displays the preview.

    Raises:
        GeosegError: The bands do not match the model, an output exists, the disk is full; see `geoseg.errors`.

    Example:
        >>> geoseg.predict("scene.tif", "classes.tif", min_area="50m2").preview  # doctest: +SKIP
        PosixPath('classes.preview.png')
    """
    from geoseg.jobs.engines import engine_of, engine_settings
    from geoseg.jobs.predict import PredictJob
    from geoseg.jobs.predictions import Predictions

    config = PredictConfig(
        scenes=(location_of(scene),), out=path_of(out), model=optional_path(model), relearn=relearn,
        confidence=optional_path(confidence), polygons=optional_path(polygons), areas=optional_path(areas),
        min_area=area_of(min_area), sld=sld, legend=legend, stac=stac, datetime=period_of(datetime),
        bands=bands_of(bands), extra=extras_of(extra), rescale=rescale, match=match, smooth=smooth,
        aoi=optional_path(aoi), aoi_layer=aoi_layer, bounds=bounds, tile_size=tile_size, overlap=overlap,
        blend=blend,
        block_size=block_size, batch_size=batch_size, workers=workers, **engine_settings(client, threads),
        device=device, precision=precision,
        assume_crs=assume_crs, overwrite=overwrite, run=None if run is None else location_of(run),
        keep_run=keep_run, restart=restart, allow_vrt=allow_vrt,
        allow_remote=allow_remote, max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    if any(path.is_dir() for path in local(*config.scenes)):
        raise SettingError(f"{scene}: is a folder; predict its scenes one by one")
    predictions = Predictions(config)
    if len(predictions.scenes) > 1:
        raise SettingError(f"{scene}: stands for {len(predictions.scenes)} scenes; predict them one by one")
    with engine_of(config, config.device, client) as engine:
        for job in predictions.jobs():
            with job:
                if isinstance(job, PredictJob):
                    job.engine = engine
                finish(job, progress)
                if isinstance(job, PredictJob):
                    return job.result
    raise AssertionError("the last job of a prediction maps its scene")


def superpixels(
    scene: PathLike, out: PathLike, *, size: int = SegmentConfig.size, compactness: float = SegmentConfig.compactness,
    iterations: int = SegmentConfig.iterations, min_size: int | None = None, bands: BandsLike | None = None,
    block_size: int = SegmentConfig.block_size, workers: int | None = None,
    threads: int | None = None, client: Client | None = None, assume_crs: str | None = None,
    overwrite: bool = False, run: PathLike | None = None, keep_run: bool = False, restart: bool = False,
    allow_vrt: bool = False,
    allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> SuperpixelsResult:  # fmt: skip
    """Cut a scene into superpixels (SLIC), without a model.

    Args:
        scene: The scene.
        out: A .tif for a raster of ids (uint32), a .gpkg or .fgb for polygons with band statistics.
        size: Approximate side of a superpixel in pixels, 4..255.
        compactness: Weight of spatial distance against colour distance.
        iterations: Number of iterations of SLIC, 1..50.
        min_size: Merge superpixels of fewer pixels into a neighbour; None is a quarter of size x size.
        bands: As in `train`.
        block_size: As in `predict`.
        workers: As in `predict`.
        threads: As in `predict`.
        client: As in `predict`.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace an existing output.
        run: As in `predict`.
        keep_run: As in `predict`.
        restart: Discard the finished blocks of an interrupted run and start over.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: As in `train`.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The path, and the number of polygons.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.engines import engine_of, engine_settings
    from geoseg.jobs.superpixels import SuperpixelsJob

    config = SegmentConfig(
        scene=location_of(scene), out=path_of(out), size=size, compactness=compactness, iterations=iterations,
        min_size=min_size, bands=bands_of(bands), block_size=block_size, workers=workers,
        **engine_settings(client, threads), assume_crs=assume_crs,
        overwrite=overwrite, run=None if run is None else location_of(run), keep_run=keep_run, restart=restart,
        allow_vrt=allow_vrt, allow_remote=allow_remote,
        max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    with engine_of(config, client=client) as engine, SuperpixelsJob(config) as job:
        job.engine = engine
        finish(job, progress)
        return job.result


def polygonize(
    raster: PathLike, out: PathLike, *, confidence: PathLike | None = None, areas: PathLike | None = None,
    min_area: AreaLike | None = None, simplify: float | None = None, classes: Names | None = None,
    field: str = PolygonizeConfig.field, sld: bool = False, assume_crs: str | None = None, overwrite: bool = False,
    run: PathLike | None = None, keep_run: bool = False, restart: bool = False, allow_vrt: bool = False,
    allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> PolygonsResult:  # fmt: skip
    """Turn a class raster (any raster of integers) into polygons, one for each region, exactly along its pixels.

    Args:
        raster: Class raster of one band.
        out: File to write, in the format of its suffix: .gpkg, .fgb, .parquet, .geojson, .geojsonl, .geojsons, .shp or
            .pmtiles.
        confidence: Raster on the same pixels; its mean is written for each polygon.
        areas: Also write a table of the areas of classes to this CSV file.
        min_area: Merge smaller regions into a neighbour: an `Area`, "50m2" or "12px".
        simplify: Tolerance of the simplification in units of the CRS; neighbours keep their common edges.
        classes: Ids or names of the classes to write; None is all.
        field: Name of the column of class ids.
        sld: Also write the style as SLD.
        assume_crs: CRS of a raster that has none.
        overwrite: Replace an existing output.
        run: Run directory in which finished stripes of rows are kept until the output is published; None keeps none.
        keep_run: Keep the run directory.
        restart: Discard the finished stripes of an interrupted run and start over.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: Value of pixels without a class; None is the value declared in the file.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The path, and the number of polygons.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.polygonize_stripes import polygonize_job

    config = PolygonizeConfig(
        raster=location_of(raster), out=path_of(out),
        confidence=None if confidence is None else location_of(confidence),
        areas=optional_path(areas), min_area=area_of(min_area), simplify=simplify,
        classes=names_of(classes), field=field, sld=sld, assume_crs=assume_crs,
        overwrite=overwrite, run=None if run is None else location_of(run), keep_run=keep_run, restart=restart,
        allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    with polygonize_job(config) as job:
        finish(job, progress)
        return job.result


def change(
    old: PathLike, new: PathLike, out: PathLike, *, polygons: PathLike | None = None, min_area: AreaLike | None = None,
    snap: bool = False, sld: bool = False, assume_crs: str | None = None, overwrite: bool = False,
    allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> ChangeResult:  # fmt: skip
    """Compare two maps of one place, made by one model or with the same named classes: what became what.

    Args:
        old: Class raster of the earlier date.
        new: Class raster of the later date, on the same lattice of pixels; what both cover is compared.
        out: Raster of transitions (GeoTIFF) to write; style, tables and record are written next to it.
        polygons: Also write the regions that changed to this vector file.
        min_area: Merge smaller regions into a neighbour: an `Area`, "50m2" or "12px".
        snap: Compare the nearest pixels where those of both maps are of one size, but shifted by part of a pixel.
        sld: Also write the style as SLD.
        assume_crs: CRS of maps that have none.
        overwrite: Replace existing outputs.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: Value of pixels without a class; None is the value declared in the file.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The paths of all files, and the area of each transition.

    Raises:
        GeosegError: The maps are of other models or lie on other pixels; see `geoseg.errors`.
    """
    from geoseg.jobs.change import ChangeJob

    config = ChangeConfig(
        old=location_of(old), new=location_of(new), out=path_of(out), polygons=optional_path(polygons),
        min_area=area_of(min_area), snap=snap, sld=sld, assume_crs=assume_crs, overwrite=overwrite,
        allow_vrt=allow_vrt, allow_remote=allow_remote, max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    with ChangeJob(config) as job:
        finish(job, progress)
        return job.result
