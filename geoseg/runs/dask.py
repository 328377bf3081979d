"""Compute the blocks of a run on a Dask cluster.

A task is a stretch of neighbouring blocks, and its answer their receipts; workers write the blocks into the run
themselves. About two tasks per worker are under way at any time, and nothing of a finished one is kept, so memory stays
flat here and in the scheduler, however many blocks there are. What is lost with a worker is computed again by another;
what is lost with the scheduler, by the next run.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from geoseg.errors import GeosegError, LockedError, ResourceError, UnavailableError, first_line
from geoseg.runs.local import Receipt
from geoseg.runs.regions import Regions
from geoseg.runs.tasks import Failure, answer_of, name_of, work
from geoseg.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

MAX_STRETCH = 9
"""Largest number of blocks in a task. Their receipts arrive together."""

_TASKS_PER_WORKER = 2
"""One that is computed, and one that waits for it to end."""

_RETRIES = 2
"""How often a task is tried again after an error that is not geoseg's."""

_NAMED = 3
"""Number of blocks that an error names."""

_WAIT_SECONDS = 0.5
"""Time after which the main thread looks whether anything changed, though no task has ended."""

_LOOK_SECONDS = 2.0
"""Time between two counts of the workers."""

_ALONE_SECONDS = 60.0
"""Time without a worker after which a warning says so."""

_PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before blocks that another process works on are asked for again; the last one holds for ever."""


@dataclass
class _Task:
    """Blocks to compute in one go.

    Attributes:
        indices: Their indices, in ascending order.
        worker: Address of the worker that should do it; None leaves that to the scheduler.
        attempt: How often some of them were asked for before.
        due: When to submit it, in seconds of the monotonic clock.
        alone: Whether no other task is under way.
    """

    indices: tuple[int, ...]
    worker: str | None = None
    attempt: int = 0
    due: float = 0.0
    alone: bool = False


class Blocks:
    """The blocks of a run that a cluster is to compute.

    Args:
        client: A client of the cluster, which stays open.
        perform: Computes blocks on a worker: called with `run` and indices, it returns receipts, of all blocks but
            those that another process works on. A function of a module that workers can import.
        run: Location of the run, which this machine and all workers see; a path is absolute.
        indices: Indices of the blocks, in an order in which stretches are compact.
        name: Index of a block -> what an error calls it.
        patience: Seconds after which workers that all have ended are given up; None waits for others.
    """

    def __init__(
        self, client: Client, perform: Callable[[Any, Sequence[int]], list[Receipt]], run: Any,
        indices: Sequence[int], name: Callable[[int], str] = "block {}".format, patience: float | None = None,
    ) -> None:  # fmt: skip
        self._client, self._perform, self._run, self._name = client, name_of(perform), run, name
        self._regions, self._patience = Regions(indices), patience
        self._again: list[_Task] = []
        self._under_way: dict[int, tuple[Future[Any], _Task]] = {}
        self._answers: dict[int, Any] = {}
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._suspects: list[int] = []
        self._poison: list[int] = []
        self._topic, self._numbers = f"geoseg-{uuid4().hex}", count()

    def receipts(self) -> Generator[Receipt]:
        """Compute the blocks, and yield their receipts as they arrive. Closing the generator drops what is under way.

        Raises:
            GeosegError: The error of a worker, as it is.
            UnavailableError: The scheduler is gone, or geoseg is missing on a worker.
            ResourceError: Blocks ended every worker that computed them; all others are finished.
        """
        with Watch(self._client) as watch:
            self._client.subscribe_topic(self._topic, self._hear)
            try:
                while self._submit(watch.workers):
                    yield from self._collect()
                    self._check_workers(watch)
            finally:
                for future, _ in self._under_way.values():
                    future.release()
                with suppress(Exception):
                    self._client.unsubscribe_topic(self._topic)
        if self._poison:
            raise self._poisoned()

    def _submit(self, workers: Collection[str]) -> bool:
        """Keep the workers busy; return whether anything is left to wait for."""
        self._check_scheduler()
        self._regions.settle(workers)
        self._recall(workers)
        while self._again and len(self._under_way) < _TASKS_PER_WORKER * (len(workers) + 1):
            now = time.monotonic()
            due = next((task for task in self._again if task.due <= now), None)
            if due is None:
                break
            self._again.remove(due)
            self._start(due)
        busy = Counter(task.worker for _, task in self._under_way.values())
        for _ in range(_TASKS_PER_WORKER):
            for worker in workers:
                if busy[worker] < _TASKS_PER_WORKER and self._regions:
                    self._start(_Task(self._regions.following(worker, workers, MAX_STRETCH), worker))
                    busy[worker] += 1
        if self._suspects and not (self._under_way or self._again or self._regions):
            self._start(_Task((self._suspects.pop(0),), alone=True))
        return bool(self._under_way or self._again or self._regions)

    def _recall(self, workers: Collection[str]) -> None:
        """Take back the tasks of workers that are gone: the scheduler might wait for exactly these for ever."""
        for number, (future, task) in list(self._under_way.items()):
            if task.worker is not None and task.worker not in workers and not future.done():
                del self._under_way[number]
                future.release()
                self._again.append(_Task(task.indices, None, task.attempt))

    def _start(self, task: _Task) -> None:
        number = next(self._numbers)
        future = self._client.submit(
            work, self._topic, number, self._perform, self._run, task.indices, __version__,
            key=(self._topic, task.indices[0], task.indices[-1], number), pure=False, retries=_RETRIES,
            workers=None if task.worker is None else [task.worker], allow_other_workers=task.worker is not None,
        )  # fmt: skip
        self._under_way[number] = future, task
        future.add_done_callback(lambda _: self._ended.put(number))

    def _hear(self, event: Any) -> None:
        """Keep the answer of a task, in the thread of the client. It arrives before the task ends."""
        number, answer = answer_of(event)
        self._answers[number] = answer

    def _collect(self) -> Generator[Receipt]:
        """Wait for tasks to end, but not for long, and yield the receipts of one that has."""
        try:
            number = self._ended.get(timeout=_WAIT_SECONDS)
        except Empty:
            return
        self._check_scheduler()
        if number not in self._under_way:
            return
        future, task = self._under_way.pop(number)
        error = future.exception() if future.status == "error" else None
        future.release()
        # Without an answer, all blocks are asked for again, and those that are finished are not computed again.
        yield from self._receipts_of(task, self._answers.pop(number, []) if error is None else error)

    def _receipts_of(self, task: _Task, answer: Any) -> list[Receipt]:
        """The receipts in the answer of a task; what is missing is asked for again, unless it is given up."""
        if isinstance(answer, BaseException):
            self._failed(task, answer)
            return []
        if isinstance(answer, Failure):
            if not isinstance(answer.error, LockedError) or task.attempt > len(_PAUSES):
                raise _located(answer)
            answer = []
        found = {receipt.block.index for receipt in answer}
        missing = tuple(index for index in task.indices if index not in found)
        if missing:
            # Another process works on them, or its claim outlives it for a while.
            pause = _PAUSES[min(task.attempt, len(_PAUSES) - 1)]
            self._again.append(_Task(missing, None, task.attempt + 1, time.monotonic() + pause))
        return list(answer)

    def _failed(self, task: _Task, error: BaseException) -> None:
        """Put off the blocks of a task that ended its workers; raise any other error.

        The scheduler blames every task that was with such a worker. So in the end each block is tried alone.
        """
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker):
            raise _explained(error)
        (self._poison if task.alone else self._suspects).extend(task.indices)

    def _poisoned(self) -> ResourceError:
        names = [self._name(index) for index in sorted(self._poison)]
        named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        return ResourceError(
            f"{named}: every worker that computed {'this block' if len(names) == 1 else 'one of these blocks'} was "
            "killed, most likely for its memory; give workers more of it, or choose a smaller --block-size. All other "
            "blocks are finished and kept"
        )

    def _check_scheduler(self) -> None:
        """Refuse to wait for a scheduler that is gone: it has forgotten all tasks, even if it comes back."""
        client = self._client
        if client.status != "running" or any(future.status == "cancelled" for future, _ in self._under_way.values()):
            address = client.scheduler.address if client.scheduler is not None else "the Dask scheduler"
            raise UnavailableError(
                f"{address}: the Dask scheduler is gone; finished blocks are kept, and the same command, given a "
                "scheduler, computes only the missing ones"
            )

    def _check_workers(self, watch: Watch) -> None:
        if self._patience is not None and watch.alone > self._patience:
            raise UnavailableError(
                f"all Dask workers have ended, and none has come for {watch.alone:.0f} s; finished blocks are kept, "
                "and the same command computes only the missing ones"
            )


class Watch:
    """Looks for workers every few seconds, in a thread, as the scheduler may be slow to answer. A context manager.

    Attributes:
        workers: Addresses of the worker processes.
    """

    def __init__(self, client: Client) -> None:
        self._client, self._ended, self._seen = client, threading.Event(), time.monotonic()
        self.workers = self._count()

    @property
    def alone(self) -> float:
        """Seconds since there was a worker."""
        return 0.0 if self.workers else time.monotonic() - self._seen

    def __enter__(self) -> Watch:
        threading.Thread(target=self._watch, name="workers", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _count(self) -> tuple[str, ...]:
        return tuple(self._client.nthreads())

    def _watch(self) -> None:
        warned = False
        while not self._ended.wait(_LOOK_SECONDS):
            with suppress(Exception):
                self.workers = self._count()
            if self.workers:
                self._seen, warned = time.monotonic(), False
            elif not warned and self.alone > _ALONE_SECONDS:
                log.warning("no Dask worker for %.0f s; waiting for one to come", _ALONE_SECONDS)
                warned = True


def _located(failure: Failure) -> GeosegError:
    """The error of a worker, with the machine that it happened on if that is another one."""
    error, host = failure.error, failure.host
    if host == socket.gethostname():
        return error
    moved = type(error)(f"{error} (on {host})")
    moved.details = error.details
    return moved


def _explained(error: BaseException) -> BaseException:
    """The error to raise for one that is not geoseg's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ImportError) and (cause.name or "").split(".")[0] == "geoseg":
            return UnavailableError(
                f"the Dask scheduler or a worker lacks this geoseg ({first_line(cause)}); install {__version__} there"
            )
        cause = cause.__cause__
    return error
