"""The jobs that work through a scene block by block: what predict and superpixels have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from geoseg.files.atomic import remove_leftovers
from geoseg.files.targets import check_space
from geoseg.jobs.job import Job
from geoseg.raster.scene import Scene
from geoseg.runs.directory import Run, is_run
from geoseg.runs.local import Receipt

_REMEDY = "when it is complete, start over with --restart"


class BlockJob(Job[Receipt]):
    """A job whose finished blocks are kept in a run directory until the outputs are published.

    Attributes:
        scene: The scene, which is open.
        run_path: The run directory.
        restart: Whether the blocks of an earlier run are computed again.
    """

    unit = "block"
    scene: Scene
    run_path: Path
    restart: bool
    _reused = 0

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
        self._reused, fingerprint = 0, self._fingerprint()
        with Run(self.run_path, fingerprint, blocks=self.total, command=command, restart=self.restart) as run:
            with run.discarded_if_refused():
                run.lock_outputs(*self._main_outputs())
                # Another process may have finished since the outputs were checked.
                self._check_outputs()
                check_space(self.run_path.parent, self._disk_bytes())
            for path in self._output_files():
                remove_leftovers(path.parent, path.stem)
            with closing(self._compute(run)) as receipts:
                for receipt in receipts:
                    self._reused += receipt.reused
                    yield receipt
            self.scene.check_unchanged(_REMEDY)
            self._publish(run)

    def describe(self, receipt: Receipt) -> str:
        """Return what the block took."""
        return receipt.summary()

    def closing(self) -> str:
        """Return how many blocks were finished before; empty for none."""
        return f"{self._reused} of {self.total} blocks were finished before" if self._reused else ""

    def kept(self) -> str:
        """Return where the finished blocks are; empty if there is no run directory yet."""
        return f"{self.run_path} holds the finished blocks" if is_run(self.run_path) else ""

    def _check_scene(self) -> None:
        """Refuse to keep a block of a scene that has changed; often, so without asking a server."""
        self.scene.check_unchanged(_REMEDY, network=False)

    def _disk_bytes(self) -> int:
        """Estimated size of what is written; 0 leaves it to the writers to refuse a full disk."""
        return 0

    @abstractmethod
    def _fingerprint(self) -> dict[str, Any]:
        """All that decides the pixels."""

    @abstractmethod
    def _check_outputs(self) -> None:
        """Refuse outputs that cannot or must not be written."""

    @abstractmethod
    def _main_outputs(self) -> Iterable[Path]:
        """The outputs that have names of their own, which another command may be given as well."""

    @abstractmethod
    def _output_files(self) -> Iterable[Path]:
        """The files whose temporaries, left by killed processes, are removed."""

    @abstractmethod
    def _compute(self, run: Run) -> Generator[Receipt]:
        """Compute the missing blocks."""

    @abstractmethod
    def _publish(self, run: Run) -> None:
        """Write the outputs from the parts, and put them in place."""
