"""One process at a time: who holds a lock, how it ends, and when it is taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from geoseg.errors import LockedError
from geoseg.files import lock as lockfile
from geoseg.files.lock import DEAD_SECONDS, Lock, holder
from geoseg.files.system import process_lives

HOLDING = """
import os, signal, sys
from pathlib import Path
from geoseg.files.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A lock file that is not there yet, in a folder that is not there either."""
    return tmp_path / "map.tif.run" / "lock"


def foreign(path: Path, silent: float) -> None:
    """Leave the lock of another machine, heard of so many seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"host": "far-away", "pid": 7}))
    now = path.stat().st_mtime
    os.utime(path, (now - silent, now - silent))


def dead_process() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_lock_is_held_by_one_and_released(path: Path) -> None:
    lock = Lock(path)
    found = holder(path)
    assert found is not None
    assert (found.host, found.process, found.running, found.alive) == (socket.gethostname(), os.getpid(), True, True)
    with pytest.raises(LockedError, match=f"process {os.getpid()} on {socket.gethostname()} is at work there"):
        Lock(path)
    lock.check()
    lock.release()
    assert list(path.parent.iterdir()) == []
    Lock(path).release()


def test_another_process_holds_it_until_it_is_killed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {other.pid} "):
            Lock(path)
        other.kill()
        other.wait()
    assert path.exists()
    lock = Lock(path)
    found = holder(path)
    assert found is not None
    assert found.process == os.getpid()
    lock.release()


def test_a_holder_elsewhere_counts_as_long_as_it_is_heard_of(path: Path) -> None:
    foreign(path, DEAD_SECONDS - 20)
    with pytest.raises(
        LockedError, match=r"process 7 on far-away .* sign of life was 4\d s ago, and after 60 s it counts as dead"
    ):
        Lock(path)
    assert json.loads(path.read_text())["host"] == "far-away"
    foreign(path, DEAD_SECONDS + 1)
    Lock(path).release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 3}', '{"host": "h", "pid": "x"}'])
def test_a_lock_that_names_nobody_is_free(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    assert holder(path) is None
    Lock(path).release()


def test_where_there_are_no_advisory_locks_the_process_decides(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockfile, "take_lock", lambda file: None)
    lock = Lock(path)
    with pytest.raises(LockedError, match="is at work there"):
        Lock(path)
    lock.release()
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": dead_process()}))
    Lock(path).release()


def test_a_lock_that_goes_while_it_is_asked_for_is_asked_for_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder has finished, and taken the folder away, after the file was opened."""
    opening = os.open
    taken: list[Path] = []

    def racing(name: Path, *more: int) -> int:
        file = opening(name, *more)
        if name == path and not taken:
            taken.append(path.parent.rename(path.parent.with_name("finished")))
        return file

    monkeypatch.setattr(os, "open", racing)
    lock = Lock(path)
    assert taken
    assert path.exists()
    lock.release()


def test_a_lock_that_was_taken_over_is_noticed(path: Path) -> None:
    lock = Lock(path, beat=0.01)
    other = path.with_name("other")
    other.write_text(json.dumps({"host": "far-away", "pid": 7}))
    other.replace(path)
    waiting = threading.Event()
    for _ in range(1000):
        if lock._lost:
            break
        waiting.wait(0.01)
    with pytest.raises(LockedError, match="process 7 on far-away took over"):
        lock.check()
    lock.release()
    assert path.exists()


def test_the_heart_beats(path: Path) -> None:
    lock = Lock(path, beat=0.01)
    os.utime(path, (1, 1))
    waiting = threading.Event()
    for _ in range(1000):
        if path.stat().st_mtime > 1:
            break
        waiting.wait(0.01)
    assert path.stat().st_mtime > 1
    lock.release()


def test_processes() -> None:
    assert process_lives(os.getpid())
    assert not process_lives(dead_process())
