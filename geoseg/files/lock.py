"""A lock file, which one process at a time holds, on this machine or on others that share the folder.

If the file system has advisory locks (flock; on Windows, a locked byte), the holder has one on the file; it ends with
the process. Not every file system shares such locks between machines, so the file also names host and process, and the
holder keeps updating its modification time. A holder on another machine counts as dead when this heartbeat stops.
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

from geoseg.errors import LockedError, WriteError
from geoseg.files.own import check_owner, open_plain, probe, read_plain
from geoseg.files.system import WINDOWS, process_lives, take_lock

BEAT_SECONDS = 5.0
"""Time between two heartbeats."""

DEAD_SECONDS = 60.0
"""Time without a heartbeat after which a holder on another machine counts as dead."""

_MAX_ATTEMPTS = 100
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """The process that a lock file names.

    Attributes:
        host: Name of its machine.
        process: Process id.
        silent: Seconds since its last heartbeat.
        running: Whether the process exists; None if it is on another machine.
    """

    host: str
    process: int
    silent: float
    running: bool | None

    @property
    def alive(self) -> bool:
        """Whether the process exists or, on another machine, has sent a heartbeat recently."""
        return self.silent < DEAD_SECONDS if self.running is None else self.running

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def holder(path: Path) -> Holder | None:
    """Return the process that the lock file names, whether it still holds the lock or not; None if it names none."""
    try:
        content = json.loads(read_plain(path, _MAX_BYTES))
        host, process = str(content["host"]), int(content["pid"])
        changed = path.lstat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    # A time that lies ahead is that of a wrong clock; if it is far ahead, it is no sign of life.
    return Holder(host, process, abs(_now(path.parent) - changed), _running(host, process))


class Lock:
    """A held lock. It is given up by `release`, or when the process ends.

    Args:
        path: The lock file.
        beat: Seconds between two heartbeats.
        name: What is locked, for messages; None for the folder of the lock file, which is created if it is missing.

    Raises:
        LockedError: Another process holds the lock; the message names it, and when its last heartbeat was.
        OutputError: The folder belongs to another user.
        RuntimeError: The system refuses the thread of the heartbeat.
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path, beat: float = BEAT_SECONDS, name: Path | None = None) -> None:
        self.path = path
        self._beat_seconds = beat
        self._file = _acquire(path, name)
        self._content = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
        self._released = threading.Event()
        self._lost = False
        self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        try:
            os.ftruncate(self._file, 0)
            os.write(self._file, self._content)
            self._pulse.start()
        except (OSError, RuntimeError):
            self._give_up()
            raise

    def check(self) -> None:
        """Raise LockedError if another process has taken the lock, because this one seemed to be dead."""
        if self._lost:
            raise LockedError(f"{self.path.parent}: {holder(self.path)} took over while this process was suspended")

    def release(self) -> None:
        """Give up the lock and delete its file."""
        self._released.set()
        self._pulse.join()
        if self._is_held():
            self._give_up()
        else:
            os.close(self._file)

    def _give_up(self) -> None:
        """Delete the file and close it, or the other way round where an open file cannot be deleted."""
        if WINDOWS:
            os.close(self._file)
        # There, another process may have taken it in between, and has it open: then it stays.
        with contextlib.suppress(OSError):
            self.path.unlink()
        if not WINDOWS:
            os.close(self._file)

    def _beat(self) -> None:
        while not self._released.wait(self._beat_seconds):
            self._lost = self._lost or not self._is_held()
            if not self._lost:
                with contextlib.suppress(OSError):
                    os.utime(self._file if os.utime in os.supports_fd else self.path)

    def _is_held(self) -> bool:
        try:
            return _is_same(self._file, self.path) and read_plain(self.path, _MAX_BYTES) == self._content
        except OSError:
            return False


class OutputLocks:
    """Locks on outputs, from before the work until they are published. A context manager, which gives them up.

    Raises:
        LockedError: Another process works on one of the outputs.
        WriteError: A lock file, `.NAME.lock` beside the output, cannot be created.
    """

    def __init__(self, *outputs: Path) -> None:
        self._held: list[Lock] = []
        try:
            for output in outputs:
                self._held.append(_output_lock(output))
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> OutputLocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give up the locks; doing so again has no effect."""
        while self._held:
            self._held.pop().release()


def _output_lock(output: Path) -> Lock:
    target = output.resolve()
    try:
        return Lock(target.with_name(f".{target.name}.lock"), name=output)
    except OSError as error:
        raise WriteError(f"{output}: cannot be locked ({error.strerror})") from error


def _acquire(path: Path, output: Path | None) -> int:
    """Return a descriptor of the lock file once no other process holds it."""
    name = output or path.parent
    for _ in range(_MAX_ATTEMPTS):
        try:
            if output is None:
                # The folder is geoseg's own, in which nobody else has anything to do; that of an output may be shared.
                path.parent.mkdir(exist_ok=True)
                check_owner(path.parent)
            file = open_plain(path)
        except FileNotFoundError:
            # Another process finished in between and removed the folder.
            continue
        try:
            free = take_lock(file)
            found = holder(path)
            # If the advisory lock is free, no process of this machine holds it.
            if free is False or (found is not None and found.alive and (free is None or found.running is None)):
                raise _locked(name, found)
            if _is_same(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    raise LockedError(f"{name}: keeps changing hands; other processes work on the same output, try again later")


def _locked(name: Path, found: Holder | None) -> LockedError:
    who = "another process" if found is None else str(found)
    advice = "try again when it is done"
    if found is not None and found.running is None:
        advice = (
            f"its last sign of life was {found.silent:.0f} s ago, and after {DEAD_SECONDS:.0f} s it counts as dead: "
            "try again then"
        )
    return LockedError(f"{name}: {who} is at work there; {advice}")


def _is_same(file: int, path: Path) -> bool:
    """Whether `path` still names the open file; a process that finishes removes the folder."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _running(host: str, process: int) -> bool | None:
    """Whether the process exists; None if it is on another machine."""
    if host != socket.gethostname():
        return None
    return process_lives(process)


def _now(folder: Path) -> float:
    """The time by the clock of the file system, which may be on another machine."""
    try:
        return probe(folder).st_mtime
    except OSError:
        return time.time()
