"""What a worker of a cluster does for one task: compute a stretch of blocks, and answer with their receipts.

A task is the location of a run, indices of blocks, and the name of the function that computes them; no pixel and no
model travels. The scheduler unpickles tasks too, so this module imports next to nothing.
"""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from geoseg.errors import GeosegError, UnavailableError
from geoseg.version import __version__

_one_at_a_time = threading.Lock()
"""A job is open once in a process, and computes in threads of its own; a worker may have several threads for tasks."""


@dataclass(frozen=True)
class Failure:
    """An error of geoseg's, as the answer of a task: raised, it would be tried again, and its class might be lost.

    Attributes:
        error: The error.
        host: Machine that it happened on.
    """

    error: GeosegError
    host: str


def name_of(function: Any) -> str:
    """Return the name, "package.module:function", by which workers find a function.

    Raises:
        TypeError: It is not a function of a module.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    if _function(name) is not function:
        raise TypeError(f"{function!r} is not a function that workers can import")
    return name


def work(topic: str, number: int, perform: str, run: Any, indices: Sequence[int], version: str) -> None:
    """Compute blocks on this worker, one stretch at a time, and tell the client of it.

    The answer is an event, which goes with the next message to the scheduler. The result of a task would stay here
    until it is fetched, be lost with this worker, and keep whoever fetches it waiting for a connection.

    Args:
        topic: Topic of the event, which is (number, answer); see `answer_of`.
        number: Number of the task.
        perform: Name of the function that computes blocks; see `name_of`.
        run: Location of the run.
        indices: Indices of the blocks.
        version: Version of geoseg that asks for it.
    """
    from distributed import get_worker

    answer = compute(perform, run, indices, version)
    get_worker().log_event(topic, (number, pickle.dumps(answer)))


def compute(perform: str, run: Any, indices: Sequence[int], version: str) -> list[Any] | Failure:
    """Compute blocks; return their receipts or, on an error of geoseg's or another version of it, a `Failure`."""
    try:
        if version != __version__:
            raise UnavailableError(
                f"a Dask worker has geoseg {__version__} and this process {version}; install one version on both"
            )
        with _one_at_a_time:
            return list(_function(perform)(run, indices))
    except GeosegError as error:
        error.__cause__ = error.__context__ = None
        return Failure(error.with_traceback(None), socket.gethostname())


def answer_of(event: tuple[float, tuple[int, bytes]]) -> tuple[int, list[Any] | Failure]:
    """Return number and answer of the task that an event tells of."""
    _, (number, pickled) = event
    return number, pickle.loads(pickled)


def quieten() -> None:
    """Print nothing on standard error, which this worker shares with the command that started it.

    The command tells the same warnings itself: it opens the same scene with the same settings.
    """
    warnings.simplefilter("ignore")
    for name in ("geoseg", "distributed", "tornado", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [logging.NullHandler()], False


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
