"""A lease: an object in a cloud store that names the process that holds something, and that the process keeps renewing.

A lease whose object was not replaced for `DEAD_SECONDS`, by the clock of the store, counts as that of a dead process,
and another one takes it over. Taking, renewing and taking over are conditional puts, so that of several processes one
succeeds. All contents differ, because some stores tell versions apart by a checksum of the content alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from geoseg.errors import GeosegError, LockedError, UnavailableError
from geoseg.files.bucket import Bucket, Stat, beside
from geoseg.files.lock import DEAD_SECONDS, Holder
from geoseg.files.system import process_lives

BEAT_SECONDS = 15.0
"""Time between two renewals; each is a request."""

_MAX_BYTES = 4096
_ATTEMPTS = 8


_held: set[str] = set()
"""What distinguishes the leases that this process holds."""


class Lease:
    """A held lease. It is given up by `release`; `take` takes it.

    Attributes:
        key: Of its object.
    """

    def __init__(self, bucket: Bucket, key: str, nonce: str, version: Mapping[str, str]) -> None:
        self.key = key
        self._bucket, self._nonce, self._version = bucket, nonce, version
        self._count, self._lost, self._renewed = 0, False, time.monotonic()
        self._turn, self._released = threading.Lock(), threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._pulse.start()

    @classmethod
    def take(cls, bucket: Bucket, key: str) -> Lease | None:
        """Return the lease of that key; None if a living process holds it. That of a dead one is taken over.

        Raises:
            WriteError, UnavailableError: The store does not answer.
        """
        nonce = secrets.token_hex(8)
        # Before the object is there, so that no thread of this process takes it for one that was given up.
        _held.add(nonce)
        try:
            version = cls._taken(bucket, key, _content(nonce, 0))
            if version is not None:
                return cls(bucket, key, nonce, version)
        except BaseException:
            _held.discard(nonce)
            raise
        _held.discard(nonce)
        return None

    @staticmethod
    def _taken(bucket: Bucket, key: str, content: bytes) -> Mapping[str, str] | None:
        """The version of the object, put now with this content; None if a living process has it."""
        for _ in range(_ATTEMPTS):
            version = bucket.create(key, content)
            if version is not None:
                return version
            found = bucket.read(key, _MAX_BYTES)
            if found is None:
                continue  # It was given up in between.
            if _holder(bucket, key, *found).alive:
                return None
            version = bucket.replace(key, content, found[1].version)
            if version is not None:
                return version
        return None

    def check(self) -> None:
        """Raise LockedError if another process has taken the lease, because this one seemed to be dead."""
        if not self._lost and time.monotonic() - self._renewed > DEAD_SECONDS:
            self._renew()
        if self._lost:
            place = self._bucket.place(self.key)
            raise LockedError(f"{place}: {holder(self._bucket, self.key)} took over while this process was suspended")

    def release(self) -> None:
        """Give up the lease and delete its object; doing so again has no effect."""
        if self._released.is_set():
            return
        self._released.set()
        _held.discard(self._nonce)
        # A heartbeat that waits for its answer finds the object gone, or changes nothing.
        self._pulse.join(1.0)
        with contextlib.suppress(GeosegError):
            # There is no conditional delete: an object that another process may have taken is looked at first.
            late = time.monotonic() - self._renewed > DEAD_SECONDS / 2
            if not self._lost and (not late or _owner(self._bucket.read(self.key, _MAX_BYTES)) == self._nonce):
                self._bucket.delete([self.key])

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            self._renew()

    def _renew(self) -> None:
        # Where the store does not answer now, the next heartbeat, or `check`, tells.
        with self._turn, contextlib.suppress(GeosegError):
            if self._lost:
                return
            began = time.monotonic()
            version = self._replace()
            if version is None:
                # It is another's, or has this process's last heartbeat, whose answer was lost.
                found = self._bucket.read(self.key, _MAX_BYTES)
                if found is not None and _owner(found) == self._nonce:
                    self._version = found[1].version
                    version = self._replace()
            if version is None:
                self._lost = True
            else:
                self._version, self._renewed = version, began

    def _replace(self) -> Mapping[str, str] | None:
        self._count += 1
        return self._bucket.replace(self.key, _content(self._nonce, self._count), self._version)


def check_conditions(bucket: Bucket, key: str) -> None:
    """Refuse a store that ignores the conditions of a put, as old servers of S3's interface do.

    Args:
        bucket: The bucket.
        key: In whose folder an object is put, and deleted again.

    Raises:
        UnavailableError: It ignores them.
    """
    probe = beside(key, "conditions")
    try:
        first = bucket.create(probe, b"1")
        second = bucket.create(probe, b"2")
        third = None if first is None else bucket.replace(probe, b"3", first)
        fourth = None if first is None else bucket.replace(probe, b"4", first)
    finally:
        bucket.delete([probe])
    if first is None or second is not None or third is None or fourth is not None:
        raise UnavailableError(
            f"{bucket.url}: the server ignores conditions of puts (If-None-Match, If-Match), without which two workers "
            "could take one block; use S3 or a newer server, or keep the run in a folder"
        )


def holder(bucket: Bucket, key: str) -> Holder | None:
    """Return the process that a lease names, whether it still holds it or not; None if there is no lease."""
    found = bucket.read(key, _MAX_BYTES)
    return None if found is None else _holder(bucket, key, *found)


@cache
def _machine() -> str:
    """This machine, as far as its process ids reach: containers share the name of a host, but not its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _content(nonce: str, count: int) -> bytes:
    values = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "nonce": nonce, "beat": count}
    return json.dumps(values).encode()


def _owner(found: tuple[bytes, Stat] | None) -> str:
    return "" if found is None else str(_values(found[0]).get("nonce"))


def _values(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _holder(bucket: Bucket, key: str, content: bytes, stat: Stat) -> Holder:
    values = _values(content)
    host, process = str(values.get("host", "an unknown machine")), values.get("pid")
    process = process if isinstance(process, int) else 0
    here = bool(_machine()) and values.get("machine") == _machine()
    own = process == os.getpid()
    # This process may have given it up, but could not delete it.
    if here and (values.get("nonce") not in _held if own else not process_lives(process)):
        return Holder(host, process, 0.0, False)
    # Even on this machine the heartbeat decides: a process that hangs is of no use, and its number may be another's.
    return Holder(host, process, max(0.0, bucket.now(key) - stat.modified.timestamp()), None)
