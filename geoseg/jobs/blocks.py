"""The jobs that work through a scene block by block: what predict and superpixels have in common.

One process can do all of such a job (`BlockJob.run`). Or one begins it (`BlockJob.begin`), any number of processes join
the run and compute blocks (`geoseg.jobs.work`), and one finalises it (`geoseg.jobs.finalize`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from geoseg.config import Opening
from geoseg.config.codec import encode
from geoseg.errors import SettingError, UnavailableError
from geoseg.files.atomic import remove_leftovers
from geoseg.files.targets import check_space
from geoseg.grid import Block, Partition
from geoseg.jobs.job import Job
from geoseg.location import Location
from geoseg.outputs.delivery import Delivery
from geoseg.raster.scene import Scene
from geoseg.raster.unwritten import unwritten_blocks
from geoseg.runs.local import Receipt, Stages, compute
from geoseg.runs.ranked import Ranked
from geoseg.runs.run import Run
from geoseg.runs.shards import Layout
from geoseg.runs.store import open_store
from geoseg.runs.stretches import Stretches

_REMEDY = "when it is complete, start over with --restart"


class Engine(Protocol):
    """What computes the blocks of a job instead of this process; see `geoseg.jobs.engines`."""

    def begin(self) -> str:
        """Start what it needs, unless that is done; return a line about it, empty if there is nothing new."""

    def receipts(self, run: Run, blocks: Sequence[Block]) -> Generator[Receipt]:
        """Compute those of all blocks that the run lacks, and yield the receipts of all."""


class BlockJob(Job[Receipt]):
    """A job whose finished blocks are kept in a run directory until the outputs are published.

    Attributes:
        scene: The scene, which is open.
        blocks: All blocks of the run.
        run_path: The run directory.
        restart: Whether the blocks of an earlier run are computed again.
        delivery: Puts the outputs into a cloud store; None if they stay where they are made.
        engine: What computes the blocks; None for this process.
    """

    unit = "block"
    scene: Scene
    blocks: Sequence[Block]
    run_path: Location
    restart: bool
    delivery: Delivery | None = None
    engine: Engine | None = None
    _reused = 0
    _computed: Sequence[int] | None = None

    def close(self) -> None:
        """Close the scene."""
        self.scene.close()

    def run(self, command: str = "") -> Generator[Receipt]:
        """Compute the blocks that the run directory lacks, yield the receipts of all, then publish the outputs.

        Raises:
            RunError: The run directory holds a run of another scene or model, or with other settings.
            LockedError: Another process is at work there, or on one of the outputs.
            WriteError: The file system failed; the run is kept.
            InputError: A block of the scene cannot be decoded, or the scene has changed since it was opened; the run
                is kept, with the blocks of the scene as it was.
        """
        self._reused = 0
        with self.coordinated(command) as run:
            with closing(self._compute(run)) as receipts:
                for receipt in receipts:
                    self._reused += receipt.reused
                    yield receipt
            self.publish(run)

    def begin(self, command: str = "") -> None:
        """Write the run, for other processes to compute.

        Args:
            command: Command that finishes the work.

        Raises:
            RunError, LockedError, WriteError: As for `run`.
        """
        with self.coordinated(command, planned=True):
            pass

    @contextmanager
    def coordinated(self, command: str | None, planned: bool = False) -> Iterator[Run]:
        """Yield the run, which no other process may coordinate or publish meanwhile; it is made if it is missing.

        Args:
            command: Command that continues the work; None for a run whose blocks are all there.
            planned: Whether other processes are to compute it.

        Raises:
            RunError, LockedError, WriteError: As for `run`.
        """
        config = self.worker_settings()
        job = None if config is None else encode(config)
        held = nullcontext() if self.delivery is None else self.delivery.holding(self.main_outputs())
        with held, Run(
            self.run_path, self._fingerprint(), blocks=self.total, layout=Layout.of(self.blocks).to_json(),
            command=command, planned=planned, restart=self.restart, job=job, nodata=self.nodata_blocks,
        ) as run:  # fmt: skip
            with run.discarded_if_refused():
                run.lock_outputs(*self.main_outputs())
                # Another process may have finished since the outputs were checked.
                self._check_outputs()
                if command is not None:
                    check_space(run.store.scratch, self._disk_bytes())
            # Once for a.tif, a.qml and a.preview.png: each time, a folder is listed that may hold thousands of maps.
            for folder, start in {(path.parent, path.name.partition(".")[0]) for path in self._output_files()}:
                remove_leftovers(folder, start)
            yield run

    def joined(self, run: Run) -> None:
        """Refuse a run that is not of this job.

        Raises:
            RunError: The scene, the model or the software differs here from what the run was planned with.
        """
        run.check(self._fingerprint())

    def compute(self, run: Run, blocks: Sequence[Block], *, wait: bool = True) -> Generator[Receipt]:
        """Compute those of `blocks` that the run lacks, on this machine, and yield their receipts; see `compute`."""
        # What is kept from block to block depends on which blocks follow.
        self._computed = blocks.indices if isinstance(blocks, Partition) else [block.index for block in blocks]
        order = Ranked(self.blocks, self._computed) if isinstance(self.blocks, Partition) else None
        with self.stages() as stages:
            yield from compute(stages, run, blocks, order=order, wait=wait)

    def publish(self, run: Run) -> None:
        """Publish the outputs of a run that has all parts.

        Raises:
            InputError: The scene has changed meanwhile.
            WriteError: The file system failed; the run is kept.
        """
        self.scene.check_unchanged(_REMEDY)
        self._publish(run)
        if self.delivery is not None:
            main, kept = next(iter(self.main_outputs())), self.delivery.keep_run
            self.delivery.send(main, self._stale_files(), finish=(lambda: None) if kept else run.discard)

    @cached_property
    def nodata_blocks(self) -> Stretches:
        """The blocks that are known to be all nodata, as no pixel of them was ever written."""
        if not isinstance(self.blocks, Partition):
            return Stretches()
        return Stretches.of(unwritten_blocks(self.scene, self.blocks))

    def opening(self) -> str:
        """Start the engine; return a line about it, empty for this process."""
        return "" if self.engine is None else self.engine.begin()

    def describe(self, receipt: Receipt) -> str:
        """Return what the block took."""
        return receipt.summary()

    def closing(self) -> str:
        """Return how many blocks were finished before; empty for none."""
        return f"{self._reused} of {self.total} blocks were finished before" if self._reused else ""

    def kept(self) -> str:
        """Return where the finished blocks are; empty if there is no run directory yet."""
        try:
            there = open_store(self.run_path).exists()
        except UnavailableError:
            there = True  # Where the store cannot be reached, what was put there still is.
        return f"{self.run_path} holds the finished blocks" if there else ""

    @property
    def output(self) -> str:
        """The main output: its path, or its URL in a cloud store."""
        return self.shown(next(iter(self.main_outputs())))

    def shown(self, path: Path) -> str:
        """Return the path of an output, or its URL in a cloud store."""
        return str(path) if self.delivery is None else self.delivery.shown(path)

    def worker_settings(self) -> Opening | None:
        """Return settings with which another process can compute blocks of this job; None if it cannot."""
        return None

    def _compute(self, run: Run) -> Generator[Receipt]:
        """Compute the missing blocks."""
        if self.engine is None:
            yield from self.compute(run, self.blocks)
            return
        if self.worker_settings() is None:
            raise SettingError("the model has no file that other processes could load; save it, and give its path")
        with closing(self.engine.receipts(run, self.blocks)) as receipts:
            yield from receipts

    def _check_scene(self) -> None:
        """Refuse to keep a block of a scene that has changed; often, so without asking a server."""
        self.scene.check_unchanged(_REMEDY, network=False)

    def _disk_bytes(self) -> int:
        """Estimated size of what is written; 0 leaves it to the writers to refuse a full disk."""
        return 0

    @property
    @abstractmethod
    def result(self) -> Any:
        """The files, once `run` is exhausted."""

    @abstractmethod
    def stages(self) -> AbstractContextManager[Stages[Any, Any]]:
        """Return what computes a block; it is held open for any number of blocks."""

    @abstractmethod
    def main_outputs(self) -> Iterable[Path]:
        """Return the outputs that have names of their own, the first of them before all others."""

    @abstractmethod
    def _fingerprint(self) -> dict[str, Any]:
        """All that decides the pixels."""

    @abstractmethod
    def _check_outputs(self) -> None:
        """Refuse outputs that cannot or must not be written."""

    def _stale_files(self) -> Iterable[Path]:
        """The files that may describe an older output, and must not survive it."""
        return ()

    @abstractmethod
    def _output_files(self) -> Iterable[Path]:
        """The files whose temporaries, left by killed processes, are removed."""

    @abstractmethod
    def _publish(self, run: Run) -> None:
        """Write the outputs from the parts, and put them in place."""
