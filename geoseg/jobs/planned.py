"""Runs that were planned: the job that a manifest describes, opened again by whoever joins the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from geoseg.config import Opening, PolygonizeConfig, PredictConfig, SegmentConfig
from geoseg.config.codec import decode
from geoseg.errors import RunError, SettingError
from geoseg.jobs.blocks import BlockJob
from geoseg.runs.run import Run

_MAX_BLOCKS = 2**26
"""More than a raster of 2^40 pixels has."""


def settings_of(run: Run, **changes: Any) -> Opening:
    """Return the settings of the job that `run` is of.

    Args:
        run: The run.
        changes: Settings to use instead of those planned, where the command has them; None changes nothing.

    Raises:
        RunError: The run is of a job that other processes cannot do, or of another version.
    """
    manifest = run.manifest()
    if manifest.get("job") is None:
        raise RunError(f"{run.path}: was not planned for several processes; the command that began it finishes it")
    try:
        config = decode(manifest["job"])
    except SettingError as error:
        raise RunError(f"{run.path}: has {error}; use the version that planned it, or plan it again") from error
    if isinstance(config, PredictConfig) and (config.model is None or len(config.scenes) != 1):
        raise run.damaged()
    # Where it lies is known, whatever the manifest says: a run may have been moved, or be a copy of another one.
    own = {"run": run.place, "restart": False, "dry_run": False}
    given = {name: value for name, value in changes.items() if value is not None} | own
    return replace(config, **{name: value for name, value in given.items() if hasattr(config, name)})


def open_job(config: Opening) -> BlockJob:
    """Return the job with settings of `settings_of`; the caller closes it.

    Raises:
        GeosegError: Its inputs cannot be opened; see `PredictJob` and `SuperpixelsJob`.
    """
    # torch, which one of them needs, takes longer to import than the other's work may take.
    if isinstance(config, PredictConfig):
        from geoseg.jobs.predict import PredictJob
        from geoseg.model.file import load_model
        from geoseg.outputs.delivery import PREDICTED, delivered
        from geoseg.outputs.folders import outputs_of
        from geoseg.raster.guards import regular_file

        made, delivery = delivered(config, PREDICTED)
        ((scene, outputs),) = outputs_of(made)
        assert made.model is not None
        return PredictJob(made, scene, outputs, load_model(regular_file(made.model)), delivery=delivery)
    if isinstance(config, SegmentConfig):
        from geoseg.jobs.superpixels import SuperpixelsJob

        return SuperpixelsJob(config)
    if isinstance(config, PolygonizeConfig):
        from geoseg.jobs.polygonize_stripes import StripedPolygonizeJob

        return StripedPolygonizeJob(config)
    raise RunError(f"blocks of {type(config).__name__} cannot be computed by several processes")


def blocks_of(run: Run) -> int:
    """Return the number of blocks of a run.

    Raises:
        InputMissingError: The run is gone.
        RunError: Its manifest is damaged.
    """
    blocks = run.manifest().get("blocks")
    if not isinstance(blocks, int) or isinstance(blocks, bool) or not 1 <= blocks <= _MAX_BLOCKS:
        raise run.damaged()
    return blocks
