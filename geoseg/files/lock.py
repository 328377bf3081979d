"""A lock file: one process at a time, on this machine or on others that see the same folder.

Where the file system has advisory locks (flock), one is held on the file and ends with its process, however that
ends. Not every file system shares those between machines: so the file also names host and process, and the time it
was last changed is a heartbeat. A holder on another machine is taken for dead when that has stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from geoseg.errors import LockedError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
"""Seconds between two heartbeats, and without one until a holder on another machine is taken for dead."""

_ATTEMPTS = 100


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: host and process, and seconds since the last heartbeat; `here` if it is a live process of this
    machine, None where that cannot be known."""

    host: str
    process: int
    silent: float
    here: bool | None

    @property
    def alive(self) -> bool:
        """Whether the holder is to be taken for alive."""
        return self.silent < DEAD_SECONDS if self.here is None else self.here

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def holder(path: Path) -> Holder | None:
    """Return who holds, or held, the lock file; None where nobody is named there."""
    try:
        said = json.loads(path.read_bytes())
        host, process = str(said["host"]), int(said["pid"])
        changed = path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Holder(host, process, max(0.0, _now(path.parent) - changed), _alive(host, process))


class Lock:
    """A held lock; release it, or let its process end.

    Args:
        path: the lock file; its folder is made where it is missing.
        beat: seconds between two heartbeats.

    Raises:
        LockedError: another process holds it; the message says which, and for how long it has been silent.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, beat: float = BEAT_SECONDS) -> None:
        self.path = path
        self._beat_seconds = beat
        self._file = _claimed(path)
        self._said = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
        try:
            os.truncate(self._file, 0)
            os.write(self._file, self._said)
        except OSError:
            os.close(self._file)
            raise
        self._released = threading.Event()
        self._lost = False
        self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._pulse.start()

    def check(self) -> None:
        """Raise LockedError if somebody else has taken the lock since: this process was thought dead."""
        if self._lost:
            raise LockedError(f"{self.path.parent}: {holder(self.path)} took over while this process was asleep")

    def release(self) -> None:
        """Give the lock back; its file goes."""
        self._released.set()
        self._pulse.join()
        if self._own():
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _beat(self) -> None:
        while not self._released.wait(self._beat_seconds):
            self._lost = self._lost or not self._own()
            if not self._lost:
                with contextlib.suppress(OSError):
                    os.utime(self.path)

    def _own(self) -> bool:
        try:
            return _same(self._file, self.path) and self.path.read_bytes() == self._said
        except OSError:
            return False


def _claimed(path: Path) -> int:
    """Return the descriptor of the lock file, which nobody else holds."""
    for _ in range(_ATTEMPTS):
        path.parent.mkdir(exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # The folder was there a moment ago: its work is done.
            continue
        try:
            free = _flocked(file)
            found = holder(path)
            # A lock that is free belongs to nobody on this machine.
            if free is False or (found is not None and found.alive and (free is None or found.here is None)):
                raise _locked(path, found)
            if _same(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    raise LockedError(f"{path}: comes and goes; another process works on the same output, try later")


def _flocked(file: int) -> bool | None:
    """Take the advisory lock; return whether it was free, None where there are none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _locked(path: Path, found: Holder | None) -> LockedError:
    who = "another process" if found is None else str(found)
    then = "try again when it is done"
    if found is not None and found.here is None:
        then = (
            f"it was heard of {found.silent:.0f} s ago and is taken for dead after {DEAD_SECONDS:.0f}: try again then"
        )
    return LockedError(f"{path.parent}: {who} is at work there; {then}")


def _same(file: int, path: Path) -> bool:
    """Whether `path` still names the open file: whoever finishes takes the folder away."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _alive(host: str, process: int) -> bool | None:
    """Whether the process runs; None on another machine."""
    if host != socket.gethostname():
        return None
    return process_lives(process)


def process_lives(process: int) -> bool:
    """Return whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _now(folder: Path) -> float:
    """The time by the clock of the file system, which may be another machine's."""
    probe = folder / f".clock.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
