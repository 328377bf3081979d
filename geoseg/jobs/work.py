"""geoseg work: blocks of runs that were planned, computed beside other processes, on this machine or on others."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from geoseg.config import Opening, PolygonizeConfig, PredictConfig, SegmentConfig
from geoseg.config.codec import decode
from geoseg.config.work import Shard, WorkConfig
from geoseg.errors import (
    GeosegError,
    InputMissingError,
    LockedError,
    RunError,
    SettingError,
    WriteError,
    raise_together,
)
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.job import Job
from geoseg.jobs.plan import expanded
from geoseg.location import Location
from geoseg.runs.folder import MANIFEST
from geoseg.runs.local import Receipt, Stages, compute
from geoseg.runs.run import Run, read_manifest, refuse_gone
from geoseg.runs.shards import band_height, share

log = logging.getLogger(__name__)

_MAX_BLOCKS = 2**32
"""More than a raster of the largest size has."""


def settings_of(run: Run, **changes: Any) -> Opening:
    """Return the settings of the job that `run` is of.

    Args:
        run: The run.
        changes: Settings to use instead of those planned, where the command has them; None changes nothing.

    Raises:
        RunError: The run is of a job that other processes cannot do, or of another version.
    """
    manifest = read_manifest(run.store)
    if manifest is None:
        raise damaged(run)
    if manifest.get("job") is None:
        raise RunError(f"{run.path}: was not planned for several processes; the command that began it finishes it")
    try:
        config = decode(manifest["job"])
    except SettingError as error:
        raise RunError(f"{run.path}: has {error}; use the version that planned it, or plan it again") from error
    if isinstance(config, PredictConfig) and (config.model is None or len(config.scenes) != 1):
        raise damaged(run)
    # Where it lies is known, whatever the manifest says: a run may have been moved, or be a copy of another one.
    own = {"run": run.place, "restart": False, "dry_run": False}
    given = {name: value for name, value in changes.items() if value is not None} | own
    return replace(config, **{name: value for name, value in given.items() if hasattr(config, name)})


def damaged(run: Run) -> RunError:
    """Return the error of a run with a manifest that is none."""
    refuse_gone(run.store)
    return RunError(f"{run.path}: its manifest is damaged or not geoseg's; plan it again with --restart")


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


@dataclass(eq=False)
class _Opened:
    """A run with its job, and what computes its blocks."""

    digest: str
    run: Run
    job: BlockJob
    stages: Stages[Any, Any]
    stack: ExitStack


_opened: dict[str, _Opened] = {}
"""Location -> what `perform` opened; one at a time, because a job holds a scene, a network and their memory."""


def perform(location: Location, indices: Sequence[int]) -> list[Receipt]:
    """Compute blocks of a run in this process, which may be a worker of any engine, and return their receipts.

    The job is opened once for all calls with the same run. A block that another process has claimed has no receipt.

    Args:
        location: The run.
        indices: Indices of the blocks.

    Raises:
        InputMissingError: There is no such run.
        RunError: The scene, the model or the software differs here from what the run was planned with.
        GeosegError: A block cannot be computed or kept.
    """
    opened = _open(location)
    blocks = [opened.job.blocks[index] for index in indices]
    return list(compute(opened.stages, opened.run, blocks, wait=False))


def _open(location: Location) -> _Opened:
    with ExitStack() as stack:
        run = stack.enter_context(Run.join(location))
        digest = hashlib.sha256(run.store.read(MANIFEST) or b"").hexdigest()
        known = _opened.get(str(location))
        if known is not None and known.digest == digest:
            return known
        leave()
        job = stack.enter_context(open_job(settings_of(run, overwrite=True)))
        job.joined(run)
        stages = stack.enter_context(job.stages())
        _opened[str(location)] = _Opened(digest, run, job, stages, stack.pop_all())
    return _opened[str(location)]


def leave() -> None:
    """Close what `perform` has opened in this process."""
    while _opened:
        _opened.popitem()[1].stack.close()


class WorkJob(Job[Receipt]):
    """Blocks of several runs. A context manager.

    Args:
        config: The settings.

    Attributes:
        finished: Number of blocks that are finished now, of those that were asked for.

    Raises:
        InputMissingError: A run is not there.
        RunError: A run was not planned for several processes.
        GeosegError: There is one run, and its job cannot be opened.
    """

    stage = "work"
    unit = "block"

    def __init__(self, config: WorkConfig) -> None:
        self.config = config
        self._errors: dict[Location, GeosegError] = {}
        self._places = expanded(config.runs)
        self.runs: list[Run] = []
        self._counts: list[int] = []
        for place in self._places:
            try:
                run = Run.join(place)
                self._counts.append(_blocks_of(run))
            except GeosegError as error:
                self._add(place, error)
                continue
            self.runs.append(run)
        self._shares = {index: self._share(index) for index in range(len(self.runs))}
        self.total = sum(map(len, self._shares.values()))
        self.finished = 0
        self._only = None
        if len(self._places) == 1:
            self._only = self._open(self.runs[0])

    def close(self) -> None:
        """Give up the claims, and close the inputs."""
        if self._only is not None:
            self._only.close()
        for run in self.runs:
            run.close()

    def run(self, command: str = "") -> Generator[Receipt]:
        """Compute the blocks of the shard that are missing, and yield the receipts of all.

        A run that fails does not stop the others.

        Raises:
            GeosegError: A run failed. With several, it is an InputError, whose details have a line for each.
        """
        for index, blocks in self._shares.items():
            yield from self._sparing_others(index, blocks, wait=self.config.shard is not None)
        if self.config.assist:
            for index in range(len(self.runs)):
                own = set(self._shares.get(index, ()))
                others = [block for block in range(self._counts[index]) if block not in own]
                self.total += len(others)
                yield from self._sparing_others(index, others, wait=False)
        raise_together(self._errors, f"{len(self._errors)} of {len(self._places)} runs could not be worked on")

    def _share(self, index: int) -> Sequence[int]:
        """Return the indices of the blocks of one run that belong to the shard.

        Each run is divided by itself, so that what belongs to a shard does not depend on the others, which may be
        finished meanwhile. Shards are numbered from another one on in each, or small runs would all be of one shard.
        """
        shard, count, run = self.config.shard, self._counts[index], self.runs[index]
        if shard is None:
            return range(count)
        turn = zlib.crc32(run.path.name.encode(errors="surrogateescape")) if len(self._places) > 1 else 0
        own = Shard((shard.number - 1 + turn) % shard.count + 1, shard.count)
        columns = (read_manifest(run.store) or {}).get("columns")
        if not isinstance(columns, int) or not 1 <= columns <= count:
            columns = count
        return share(own.stretch(count), count, columns, band_height(count / shard.count))

    def _sparing_others(self, index: int, blocks: Sequence[int], wait: bool) -> Iterator[Receipt]:
        run = self.runs[index]
        place = run.place
        if place in self._errors or not blocks:
            return
        try:
            yield from self._work(run, blocks, wait)
        except (WriteError, LockedError, InputMissingError) as error:
            if run.store.exists():
                self._add(place, error)
            else:
                log.warning("%s: was finished by another process meanwhile", place)
        except GeosegError as error:
            self._add(place, error)

    def _work(self, run: Run, blocks: Sequence[int], wait: bool) -> Generator[Receipt]:
        with ExitStack() as stack:
            job = self._only or stack.enter_context(self._open(run))
            every = job.blocks
            wanted = every[blocks.start : blocks.stop] if isinstance(blocks, range) else [every[i] for i in blocks]
            for receipt in stack.enter_context(closing(job.compute(run, wanted, wait=wait))):
                self.finished += 1
                yield receipt

    def _open(self, run: Run) -> BlockJob:
        """Return the job of a run; the caller closes it."""
        job = open_job(settings_of(run, overwrite=True, device=self.config.device, workers=self.config.workers))
        try:
            job.joined(run)
            if job.total != _blocks_of(run):
                raise damaged(run)
        except BaseException:
            job.close()
            raise
        return job

    def _add(self, place: Location, error: GeosegError) -> None:
        if len(self._places) == 1:
            raise error
        self._errors[place] = error
        log.warning("not finished: %s: %s", place, error)

    def describe(self, receipt: Receipt) -> str:
        """Return what the block took."""
        return receipt.summary()

    def opening(self) -> str:
        """Return which blocks are computed."""
        runs = f" of {len(self.runs)} runs" if len(self.runs) > 1 else ""
        shard = "" if self.config.shard is None else f"shard {self.config.shard}: "
        return f"{shard}{self.total} block{'s' * (self.total != 1)}{runs}"

    def kept(self) -> str:
        """Return where the finished blocks are."""
        return f"{', '.join(str(run.store.location) for run in self.runs)} holds the finished blocks"


def _blocks_of(run: Run) -> int:
    blocks = (read_manifest(run.store) or {}).get("blocks")
    if not isinstance(blocks, int) or isinstance(blocks, bool) or not 1 <= blocks <= _MAX_BLOCKS:
        raise damaged(run)
    return blocks
