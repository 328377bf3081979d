"""geoseg plan: runs that other processes compute."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.config import Opening, PolygonizeRastersConfig, PredictConfig, SegmentScenesConfig
from geoseg.errors import InputMissingError, SettingError
from geoseg.jobs.scenes import Scenes
from geoseg.location import Location, Remote, target
from geoseg.outputs.names import RUN
from geoseg.runs.manifest import read_manifest
from geoseg.runs.store import open_store


def plan_runs(config: Opening, command: str) -> Iterator[Location]:
    """Write the runs of a command, and yield the place of each.

    Args:
        config: The settings of the command.
        command: Command that does all the work in one process, for `geoseg status`.

    Raises:
        GeosegError: A scene cannot be opened, an output cannot be written, or there is no model. Of
            several scenes, the others are planned first.
    """
    assert isinstance(config, PredictConfig | SegmentScenesConfig | PolygonizeRastersConfig)
    if getattr(config, "dry_run", False) or config.json or getattr(config, "engine", "local") != "local":
        raise SettingError(
            "a plan is computed by geoseg work, and nothing is computed now: leave out --dry-run, --json and --engine"
        )
    if (place := target(config.out)) is not None and config.run is None:
        # Other machines see the bucket, not the folder on this one where the files are made.
        config = replace(config, run=Remote(f"{place.url}{RUN}"))
    scenes = _scenes_of(config)
    scenes.verb = "planned"
    for job in scenes.jobs():
        with scenes.sparing_others(job), job:
            job.begin(command)
            yield job.run_path
    scenes.finish()


def _scenes_of(config: Opening) -> Scenes[Any]:
    """The scenes of a command, and their jobs."""
    # torch, which one of them needs, takes longer to import than the other's planning takes.
    if isinstance(config, PredictConfig):
        from geoseg.jobs.predictions import Predictions

        predictions = Predictions(config)
        if predictions.choice.learn:
            raise SettingError(
                f"{predictions.choice.path}: is not learnt yet, which is work for one process: run geoseg train, and "
                "give its model with --model"
            )
        return predictions
    from geoseg.jobs.several import PolygonsOfRasters, SuperpixelsOfScenes

    if isinstance(config, PolygonizeRastersConfig):
        return PolygonsOfRasters(config, striped=True)
    assert isinstance(config, SegmentScenesConfig)
    return SuperpixelsOfScenes(config)


def describe(runs: Sequence[Location], shards: int) -> str:
    """Return how many blocks there are to divide, and what is odd about the number of shards."""
    counts = [(read_manifest(open_store(run)) or {}).get("blocks", 0) for run in runs]
    blocks = sum(counts)
    text = f"{blocks} block{'s' * (blocks != 1)}" + (f" in {len(runs)} runs" if len(runs) > 1 else "")
    if blocks < shards:
        text += f"; {shards - blocks} of {shards} shards have none: ask for fewer, or for a smaller --block-size"
    return text


def commands_for(runs: Sequence[Location], shards: int) -> list[str]:
    """Return the commands that compute and finalise `runs`: one for each shard, and then the one to finalise."""
    names = " ".join(shlex.quote(str(place)) for place in _named(runs))
    work = [f"geoseg work {names} --shard {number}/{shards}" for number in range(1, shards + 1)]
    return [*work, f"geoseg finalize {names}"]


def _named(runs: Sequence[Location]) -> Sequence[Location]:
    """The runs, or in place of several the folder that has these and no others."""
    folders = {run.parent for run in runs if isinstance(run, Path)}
    if len(runs) > 1 and len(folders) == 1 and not any(not isinstance(run, Path) for run in runs):
        (folder,) = folders
        if sorted(runs_in(folder)) == sorted(run for run in runs if isinstance(run, Path)):
            return [folder]
    return runs


def runs_in(folder: Path) -> list[Path]:
    """Return the run directories in a folder, in the order of their names."""
    return [path for path in sorted(folder.glob(f"*{RUN}")) if open_store(path).exists()]


def expanded(places: Sequence[Location]) -> list[Location]:
    """Return runs; in place of a folder that is none, those in it.

    Raises:
        InputMissingError: There is no run in a folder.
    """
    found: list[Location] = []
    for place in places:
        if isinstance(place, Path) and place.is_dir() and not open_store(place).exists():
            runs = runs_in(place)
            if not runs:
                raise InputMissingError(f"{place}: has no runs in it; they may be finished, or were never planned")
            found += runs
        else:
            found.append(place)
    return list(dict.fromkeys(found))
