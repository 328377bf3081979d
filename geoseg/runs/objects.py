"""A run in a cloud store: s3://bucket/folder, with an object for each file that a run directory has.

A part and its record are put only if they are not there. Whoever finds one there, as another worker computed the same
block or an answer was lost, compares it with its own: parts are deterministic, so they are equal. Claims and the lock
are leases (`geoseg.files.lease`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from geoseg.errors import InputError, InputMissingError, LockedError, RunError, SettingError
from geoseg.files.atomic import remove_leftovers, scratch_folder, sha256
from geoseg.files.bucket import Bucket
from geoseg.files.lease import Lease, check_conditions, holder
from geoseg.files.lock import DEAD_SECONDS, Holder
from geoseg.location import Remote
from geoseg.runs.ahead import Ahead
from geoseg.runs.folder import LOCK, MANIFEST

_KEPT = re.compile(rf"{re.escape(MANIFEST)}|part-\d{{6,}}.*|claim-\d{{6,}}|\.(clock|conditions)-.*")
"""Names of the objects of a run, except the lock."""

_MAX_BYTES = 64 << 20
_WIDTH = 16


class ObjectStore:
    """A `geoseg.runs.store.Store` in a bucket.

    Args:
        location: The folder of the run: s3://bucket/folder, or likewise gs:// and az://.

    Attributes:
        location: The same, without a slash at the end.
        width: How many objects are asked for at a time.

    Raises:
        SettingError: The location names no folder in a bucket.
        UnavailableError: obstore is not installed.
    """

    width = _WIDTH

    def __init__(self, location: Remote) -> None:
        self.location = Remote(location.url.rstrip("/"))
        self._bucket = Bucket(self.location)
        self._folder = self.location.url.partition("://")[2].partition("/")[2].strip("/")
        if not self._folder:
            raise SettingError(f"{location}: is a whole bucket; name a folder of its own for the run, in that bucket")
        self._stack = ExitStack()
        # At the latest when the process ends, while what removes the files still works.
        weakref.finalize(self, self._stack.close)
        self._ahead = Ahead(self._fetch, _WIDTH)
        self._scratch: Path | None = None

    @property
    def path(self) -> Path:
        """The location as pathlib writes it."""
        return Path(self.location.url)

    @property
    def scratch(self) -> Path:
        """A folder on this machine, of this process: copies of parts, and intermediate files."""
        if self._scratch is None:
            temporary = Path(tempfile.gettempdir())
            remove_leftovers(temporary)
            self._scratch = self._stack.enter_context(scratch_folder(temporary / f"geoseg-{secrets.token_hex(4)}"))
        return self._scratch

    def prepare(self) -> None:
        """Refuse a store that cannot keep a run, before the first one is begun there."""
        if not self.exists():
            check_conditions(self._bucket, self._key(MANIFEST))

    def check_owner(self) -> None:
        """Do nothing: who may write to a bucket is decided there."""

    def exists(self) -> bool:
        """Return whether there is a manifest, damaged or not."""
        return self._bucket.stat(self._key(MANIFEST)) is not None

    def read(self, name: str, max_bytes: int = _MAX_BYTES) -> bytes | None:
        """Return the content of an object; None if there is none, or it is too large."""
        found = self._bucket.read(self._key(name), max_bytes)
        return None if found is None else found[0]

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Put an object.

        Raises:
            RunError: There is one of other content, and it is not to be replaced.
        """
        key = self._key(name)
        if replace:
            self._bucket.put(key, data)
        elif self._bucket.create(key, data) is None:
            raise self._differs(name)

    def keep(self, name: str, make: Callable[[Path], None]) -> str:
        """Put the file that `make` writes, unless there is an equal one; return its SHA-256. It is read into memory.

        Raises:
            RunError: There is one of other content.
        """
        path = self.scratch / name
        try:
            make(path)
            data = path.read_bytes()
        finally:
            path.unlink(missing_ok=True)
        digest = hashlib.sha256(data).hexdigest()
        if self._bucket.create(self._key(name), data, digest) is None:
            raise self._differs(name)
        return digest

    def holds(self, name: str, digest: str) -> bool:
        """Return whether there is an object with that SHA-256, which is not read where its writer stated it.

        The store itself verified the content when it was put; `local` verifies what it reads.
        """
        found = self._bucket.stat(self._key(name)) if "/" not in name else None
        if found is None or found.digest:
            return found is not None and found.digest == digest
        return sha256(self.local(name)) == digest

    def local(self, name: str) -> Path:
        """Return the path of a copy on this machine, verified; it does not exist if there is no such object.

        Raises:
            InputError: The object is not what was put there.
        """
        path = self.scratch / name
        if not path.exists():
            self._ahead.get(name, _following(name))
        return path

    def _fetch(self, name: str) -> None:
        path = self.scratch / name
        begun = path.with_name(f"{name}.begun")
        found = self._bucket.download(self._key(name), begun)
        if found is not None:
            digest, stat = found
            if stat.digest not in ("", digest):
                begun.unlink()
                raise InputError(
                    f"{self._place(name)}: does not match its checksum; delete this object and run the same command "
                    "again"
                )
            begun.replace(path)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that begin with `prefix`, in ascending order, a thousand for each request."""
        start = self._key("")
        for key, _ in self._bucket.keys(start + prefix):
            if "/" not in (name := key.removeprefix(start)):
                yield name

    def size(self) -> int:
        """Return the size of all objects in bytes."""
        return sum(size for _, size in self._bucket.keys(self._key("")))

    def lock(self) -> Lease:
        """Take the lock of the run.

        Raises:
            LockedError: Another process has it.
        """
        lease = Lease.take(self._bucket, self._key(LOCK))
        if lease is None:
            found = self.holder()
            raise LockedError(
                f"{self.location}: {found or 'another process'} is at work there; try again when it is done, or, if it "
                f"has ended, {DEAD_SECONDS:.0f} s after its last heartbeat"
            )
        return lease

    def claim(self, name: str) -> Lease | None:
        """Claim what `name` stands for; None if a living process has it.

        Raises:
            InputMissingError: The run is gone.
        """
        lease = Lease.take(self._bucket, self._key(name))
        if lease is not None and not self.exists():
            # Nothing may be put into a run that was finished or removed: nobody would ever delete it.
            lease.release()
            raise InputMissingError(f"{self.location}: is gone; another process has finished or removed it")
        return lease

    def holder(self, name: str = LOCK) -> Holder | None:
        """Return the process that a lease names; None if there is none."""
        return holder(self._bucket, self._key(name))

    def tidy(self) -> None:
        """Do nothing: an object is whole or absent."""

    def empty(self) -> None:
        """Delete the objects of the run, the manifest last: until then this is a run with fewer parts."""
        self._bucket.delete(
            self._key(name) for name in self.names() if _KEPT.fullmatch(name) and name != MANIFEST
        )  # fmt: skip
        self._bucket.delete([self._key(MANIFEST)])

    def discard(self) -> None:
        """Delete the objects of the run, and the files on this machine. The lock goes when it is released."""
        self._ahead.close()
        self.empty()
        self._stack.close()
        self._scratch = None

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _place(self, name: str) -> str:
        return self._bucket.place(self._key(name))

    def _differs(self, name: str) -> RunError:
        return RunError(
            f"{self._place(name)}: holds other content than this process computed, so it was damaged or is of another "
            "run; delete it and run the same command again, or start over with --restart"
        )


def _following(name: str) -> Iterator[str]:
    """The names of the same layer of the blocks that follow."""
    found = re.fullmatch(r"part-(\d{6,})(-.*)", name)
    if found is not None:
        yield from (f"part-{index:06d}{found[2]}" for index in count(int(found[1]) + 1))
