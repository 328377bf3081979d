"""`geoseg.plan`, `geoseg.work` and `geoseg.finalize`: one job, divided among processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from geoseg.api.calls import (
    PathLike,
    ProgressOption,
    area_of,
    bands_of,
    location_of,
    names_of,
    optional_path,
    path_of,
    period_of,
)
from geoseg.api.calls import (
    run as follow,
)
from geoseg.config import PolygonizeRastersConfig, PredictConfig, SegmentScenesConfig, Shard, WorkConfig
from geoseg.errors import SettingError
from geoseg.location import Location, Remote
from geoseg.recipes import check_choice

if TYPE_CHECKING:
    from geoseg.jobs.results import MapResult, PolygonsResult, SuperpixelsResult

Divided = Literal["predict", "superpixels", "polygonize"]

_PATHS = ("model", "aoi", "polygons", "areas", "scheduler_file")
_CONVERTED: Mapping[str, Callable[[Any], Any]] = {
    "bands": bands_of, "min_area": area_of, "datetime": period_of, "classes": names_of,
    "run": lambda place: None if place is None else location_of(place),
    "confidence": lambda place: None if place is None else location_of(place),
    **dict.fromkeys(_PATHS, optional_path),
}  # fmt: skip
"""Setting -> what makes it of the argument."""


def plan(command: Divided, source: PathLike, out: PathLike, **settings: Any) -> Location:
    """Write the run of a job, for other processes to compute; see `work` and `finalize`.

    Args:
        command: 'predict', 'superpixels' or 'polygonize'.
        source: The scene or, for 'polygonize', the class raster.
        out: The output.
        **settings: Those of the function with that name.

    Returns:
        The place of the run.

    Raises:
        GeosegError: The input cannot be opened, the output cannot be written, or there is no model.

    Example:
        >>> run = geoseg.plan("predict", "scene.tif", "classes.tif", model="m.safetensors")  # doctest: +SKIP
        >>> for number in range(1, 17):  # doctest: +SKIP
        ...     queue.submit(geoseg.work, run, shard=f"{number}/16")
        >>> geoseg.finalize(run)  # doctest: +SKIP
    """
    from geoseg.jobs.plan import plan_runs

    check_choice("command", command, get_args(Divided))
    given = {name: _CONVERTED.get(name, lambda value: value)(value) for name, value in settings.items()}
    inputs, output = (location_of(source),), path_of(out)
    try:
        if command == "predict":
            config: Any = PredictConfig(scenes=inputs, out=output, **given)
        elif command == "superpixels":
            config = SegmentScenesConfig(scenes=inputs, out=output, **given)
        else:
            config = PolygonizeRastersConfig(rasters=inputs, out=output, **given)
    except TypeError as error:
        raise SettingError(f"{command} has no such setting ({error})") from None
    runs = list(plan_runs(config, f"geoseg.{command}"))
    if len(runs) != 1:
        raise SettingError(f"{source}: stands for {len(runs)} scenes; plan them one by one")
    return runs[0]


def work(
    run: PathLike | Location, *, shard: str | None = None, assist: bool = False, device: str | None = None,
    workers: int | None = None, progress: ProgressOption = False,
) -> int:  # fmt: skip
    """Compute blocks of a run that was planned, beside any number of other processes.

    Args:
        run: The place of the run.
        shard: Part of the blocks to compute, such as "3/16"; None is all that nobody else computes.
        assist: After the shard is finished, compute blocks of others that nobody has.
        device: Device, of the kind that the run was planned for; None is as planned.
        workers: Number of threads; None is as planned.
        progress: As in `predict`.

    Returns:
        Number of blocks that are finished now, of those that were asked for.

    Raises:
        GeosegError: There is no such run, or a block cannot be computed; see `geoseg.errors`.
    """
    from geoseg.jobs.work import WorkJob

    part = None if shard is None else Shard.parse(str(shard))
    with WorkJob(WorkConfig((_place_of(run),), part, assist, device, workers)) as job:
        follow(job, progress)
        return job.finished


def finalize(
    run: PathLike | Location, *, keep_run: bool = False, progress: ProgressOption = False
) -> MapResult | SuperpixelsResult | PolygonsResult:
    """Verify all blocks of a run and publish its outputs.

    Args:
        run: The place of the run.
        keep_run: Keep the run.
        progress: As in `predict`.

    Returns:
        What the function returns that does all the work in one process.

    Raises:
        LockedError: Blocks are missing, which the message names, or another process finalises the run.
        GeosegError: The outputs cannot be written; see `geoseg.errors`.
    """
    from geoseg.jobs.finalize import FinalizeJob

    with FinalizeJob(_place_of(run), keep_run) as job:
        follow(job, progress)
        result: MapResult | SuperpixelsResult | PolygonsResult = job.result
        return result


def _place_of(run: PathLike | Location) -> Location:
    return run if isinstance(run, Remote) else location_of(run)
