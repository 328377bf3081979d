"""`geoseg.teach`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.api.calls import BandsLike, PathLike, ProgressOption, bands_of, location_of, optional_path, path_of, run
from geoseg.config import Opening, Precision, TeachConfig

if TYPE_CHECKING:
    from geoseg.naming.teach_report import TeachReport


def teach(
    model: PathLike, scene: PathLike, reference: PathLike, field: str | None = None, *, out: PathLike | None = None,
    reference_layer: str | None = None, next: PathLike | None = None, suggestions: int = TeachConfig.suggestions,
    known_only: bool = False, bands: BandsLike | None = None, rescale: bool = False, workers: int | None = None,
    device: str = "auto", precision: Precision = "auto", assume_crs: str | None = None, overwrite: bool = False,
    allow_vrt: bool = False, allow_remote: bool = False, max_pixels: int = Opening.max_pixels, page: int | None = None,
    nodata: float | None = None, progress: ProgressOption = False,
) -> TeachReport:  # fmt: skip
    """Teach a model named classes with references: a few points of each class are enough.

    Args:
        model: The model file.
        scene: The scene that the references lie in.
        reference: Points, lines or polygons (a vector file), or a class raster on the pixels of the scene.
        field: Field of the vector file that names the class of a feature; None for a raster.
        out: Model file to write; None is the model's name with "-taught".
        reference_layer: Layer of the vector file; None for the only one.
        next: GeoPackage of the superpixels whose class would help most; None is that of `out` with ".next.gpkg".
        suggestions: How many superpixels it holds; with 0 it is not written.
        known_only: Leave out references of classes that the model was not taught before.
        bands: As in `predict`.
        rescale: As in `predict`.
        workers: Number of threads; None is the number of cores, at most 8.
        device: As in `train`.
        precision: As in `train`.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace existing outputs.
        allow_vrt: As in `train`.
        allow_remote: As in `train`.
        max_pixels: As in `train`.
        page: As in `train`.
        nodata: As in `train`.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        What was found out; its `model` is the file to predict with.

    Raises:
        GeosegError: See `geoseg.errors`.

    Example:
        >>> geoseg.teach("m.safetensors", "scene.tif", "points.gpkg", "landcover").agreement  # doctest: +SKIP
        0.81
    """
    from geoseg.jobs.teach import TeachJob

    config = TeachConfig(
        model=path_of(model), scene=location_of(scene), reference=path_of(reference), field=field,
        reference_layer=reference_layer, out=optional_path(out), next=optional_path(next), suggestions=suggestions,
        known_only=known_only, bands=bands_of(bands), rescale=rescale, workers=workers, device=device,
        precision=precision, assume_crs=assume_crs, overwrite=overwrite, allow_vrt=allow_vrt,
        allow_remote=allow_remote, max_pixels=max_pixels, page=page, nodata=nodata,
    )  # fmt: skip
    with TeachJob(config) as job:
        run(job, progress)
        return job.report
