"""How torchrun, or another launcher that follows its conventions, started this process, and how its threads wait.

A launcher starts one training in several processes and tells each by environment variables who it is: RANK of
WORLD_SIZE, and LOCAL_RANK of LOCAL_WORLD_SIZE on its machine. They meet at MASTER_ADDR and MASTER_PORT.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from geoseg.errors import SettingError

_MEETING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_NAMELESS = "none"
"""What torchrun calls a launch that nobody named."""


@dataclass(frozen=True)
class Launch:
    """The place of this process in a launch; a process that no launcher started is the only one of its own.

    Attributes:
        rank: Of this process, in [0, size).
        size: Number of processes, on all machines.
        local_rank: Of this process on its machine.
        local_size: Number of processes on its machine.
        name: What tells this launch from all others, the same after a restart; None without a launcher.
        restarted: Whether the launcher may have started this process in place of one that ended.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    name: str | None = None
    restarted: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Launch:
        """Return the launch that environment variables describe.

        Raises:
            SettingError: They contradict one another.
        """
        if not all(environment.get(name) for name in _MEETING):
            return cls()
        defaults = {"LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "TORCHELASTIC_RESTART_COUNT": 0}
        rank, size, local_rank, local_size, restarts = (
            _number(environment, name, defaults.get(name))
            for name in ("RANK", "WORLD_SIZE", *defaults)
        )  # fmt: skip
        if not 0 <= rank < size or not 0 <= local_rank < local_size <= size:
            raise SettingError(
                f"RANK is {rank} of WORLD_SIZE {size}, LOCAL_RANK is {local_rank} of LOCAL_WORLD_SIZE {local_size}, "
                "which cannot be; start with torchrun, or unset these environment variables"
            )
        run = environment.get("TORCHELASTIC_RUN_ID")
        if run is None:
            return cls(rank, size, local_rank, local_size)
        if run != _NAMELESS:
            # Machines may join and leave a launch that has a name, which is not counted as a restart.
            return cls(rank, size, local_rank, local_size, run, restarted=True)
        # The agent that restarts this process is its parent.
        return cls(rank, size, local_rank, local_size, f"{socket.gethostname()}:{os.getppid()}", restarts > 0)

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0


@contextmanager
def passive_waiting() -> Iterator[None]:
    """Let the threads of OpenMP libraries that are loaded within this context sleep while they wait for one another.

    By default they spin, and where other programs have the cores, the thread that is waited for gets none of them:
    torch, which meets its threads some thousand times a step, then takes ten times as long. The libraries read their
    settings once. A user's own come first, and processes that this one starts do not inherit ours.
    """
    if any(name in os.environ for name in _WAITING):
        yield
        return
    os.environ[_WAITING[0]] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[_WAITING[0]]


def _number(environment: Mapping[str, str], name: str, default: int | None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    try:
        return int(text)
    except ValueError as error:
        raise SettingError(
            f"the environment variable {name} is {text!r}, not a number; start with torchrun, or unset it"
        ) from error
