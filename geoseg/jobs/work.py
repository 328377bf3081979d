"""geoseg work: blocks of runs that were planned, computed beside other processes, on this machine or on others."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing

from geoseg.config import Shard, WorkConfig
from geoseg.errors import GeosegError, InputMissingError, LockedError, WriteError, raise_together
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.job import Job
from geoseg.jobs.plan import expanded
from geoseg.jobs.planned import blocks_of, open_job, settings_of
from geoseg.location import Location
from geoseg.runs.local import Receipt
from geoseg.runs.run import Run
from geoseg.runs.shards import Layout

log = logging.getLogger(__name__)


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
                self._counts.append(blocks_of(run))
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
        return Layout.from_json(run.manifest().get("layout"), count).share(own)

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
            if job.total != blocks_of(run):
                raise run.damaged()
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
