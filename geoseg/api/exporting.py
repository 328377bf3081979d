"""`geoseg.export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.api.calls import PathLike, ProgressOption, optional_path, path_of, run
from geoseg.config import ExportConfig

if TYPE_CHECKING:
    from geoseg.jobs.results import ExportResult


def export(
    model: PathLike, *, onnx: PathLike | None = None, mlm: PathLike | None = None, tile_size: int | None = None,
    overwrite: bool = False, progress: ProgressOption = False,
) -> ExportResult:  # fmt: skip
    """Write a model for other programs: as ONNX, and as a STAC Item that describes it.

    Args:
        model: The model file.
        onnx: ONNX file to write, with the metadata that the QGIS plugin Deepness reads; needs `geoseg[onnx]`.
        mlm: STAC Item with the Machine Learning Model extension to write. It describes the ONNX file, or the model file
            if there is none.
        tile_size: Height and width of the images that the ONNX file takes, as Deepness needs; None for any.
        overwrite: Replace existing files.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The files, and the classes in the order of the outputs.

    Raises:
        GeosegError: See `geoseg.errors`.

    Example:
        >>> geoseg.export("m.safetensors", onnx="m.onnx", tile_size=512).onnx  # doctest: +SKIP
        PosixPath('m.onnx')
    """
    from geoseg.jobs.export import ExportJob

    config = ExportConfig(path_of(model), optional_path(onnx), optional_path(mlm), tile_size, overwrite)
    with ExportJob(config) as job:
        run(job, progress)
        return job.result
