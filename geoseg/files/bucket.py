"""Objects in a cloud store: s3://, gs:// or az://, through obstore (`pip install obstore`).

obstore repeats requests that fail by a 5xx status, by too many requests or by a lost connection, with exponential
backoff and jitter. What it cannot repeat is a conditional put whose answer is lost, for it may have succeeded: here the
object is read back, and this process recognises its own write, or an equal one, by its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from geoseg.errors import SettingError, UnavailableError, WriteError
from geoseg.files import cloud
from geoseg.files.cloud import failure, pauses, short
from geoseg.files.credentials import store_options
from geoseg.location import Remote

SCHEMES = ("s3", "gs", "az")
"""Schemes of the URLs of cloud stores that geoseg writes to."""

DIGEST = "sha256"
"""Metadata of an object: the SHA-256 of its content, as its writer stated it."""

_CHUNK = 8 << 20
_SMALL = 1 << 20
_CLOCK_SECONDS = 300.0


@dataclass(frozen=True)
class Stat:
    """What a store knows of an object.

    Attributes:
        size: Bytes.
        version: What distinguishes this content from a later one, for `Bucket.replace`.
        modified: When it was put, by the clock of the store.
        digest: Its SHA-256 as its writer stated it; empty if it did not.
    """

    size: int
    version: Mapping[str, str]
    modified: datetime
    digest: str = ""


def is_bucket(location: object) -> bool:
    """Return whether a location is in a cloud store that geoseg writes to."""
    return isinstance(location, Remote) and location.url.partition("://")[0].lower() in SCHEMES


class Bucket:
    """One bucket (a container of Azure), whose objects have keys such as `folder/map.tif`.

    Args:
        location: Anything in it.

    Attributes:
        url: Of the bucket, without a slash at the end.

    Raises:
        SettingError: The location is not one in a bucket, or the settings of the environment are wrong.
        UnavailableError: obstore is not installed.
    """

    def __init__(self, location: Remote) -> None:
        found = re.fullmatch(r"(\w+)://([^/?#]+)(?:/.*)?", location.url)
        if found is None or found[1].lower() not in SCHEMES:
            raise SettingError(f"{location}: is not a place in a bucket; write it like s3://bucket/folder/name")
        self.url = f"{found[1].lower()}://{found[2]}"
        try:
            import obstore.store
        except ImportError as error:
            raise UnavailableError(f"{location}: cloud stores need obstore: pip install obstore") from error
        self._obstore: Any = obstore
        self._clock = -_CLOCK_SECONDS, 0.0
        patience = {
            "max_retries": cloud.PATIENCE.retries, "retry_timeout": timedelta(seconds=cloud.PATIENCE.seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=cloud.PATIENCE.longest),
            },
        }  # fmt: skip
        config, client = store_options(found[1].lower())
        try:
            self._small, self._large = (
                self._obstore.store.from_url(
                    self.url, config=config, retry_config=patience,
                    client_options={**client, "timeout": timedelta(seconds=limit)},
                )
                for limit in (cloud.PATIENCE.small, cloud.PATIENCE.large)
            )  # fmt: skip
        except (self._obstore.exceptions.BaseError, ValueError) as error:
            raise SettingError(
                f"{self.url}: cannot be used ({short(error)}); check the variables AWS_*, GOOGLE_* or AZURE_*"
            ) from error

    def place(self, key: str) -> str:
        """Return the URL of an object, for messages."""
        return f"{self.url}/{key}"

    def stat(self, key: str) -> Stat | None:
        """Return what the store knows of an object; None if there is none."""
        with self._reading(key):
            found = self._get(self._small, key, head=True)
            return None if found is None else _stat(found)

    def read(self, key: str, max_bytes: float = float("inf")) -> tuple[bytes, Stat] | None:
        """Return the content of an object; None if there is none, or it is larger than `max_bytes`."""
        with self._reading(key):
            found = self._get(self._large, key)
            if found is None or found.meta["size"] > max_bytes:
                return None
            return bytes(found.bytes()), _stat(found)

    def create(self, key: str, data: bytes, digest: str = "") -> Mapping[str, str] | None:
        """Put an object if there is none of that key.

        Args:
            key: Of the object.
            data: Its content.
            digest: Its SHA-256, to be kept with it: then an equal object is recognised without reading it.

        Returns:
            The version of the object, put now or before, by this process or another one, with this content; None if
            there is one of other content.

        Raises:
            WriteError, UnavailableError, OutputError: The store does not do it.
        """
        return self._conditional(key, data, digest, None)

    def replace(self, key: str, data: bytes, version: Mapping[str, str]) -> Mapping[str, str] | None:
        """Replace an object if it still has that version.

        Returns:
            The new version; None if the object was replaced or deleted meanwhile. The content must be one that no
            other process writes, so that this one recognises it where an answer was lost.
        """
        return self._conditional(key, data, "", version)

    def _conditional(
        self, key: str, data: bytes, digest: str, version: Mapping[str, str] | None
    ) -> Mapping[str, str] | None:
        exceptions, waits = self._obstore.exceptions, pauses()
        while True:
            failed: BaseException | None = None
            with self._writing(key):
                try:
                    mode = "create" if version is None else dict(version)
                    return _version(self._put(key, data, digest, mode))
                except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                    pass
                except exceptions.GenericError as error:
                    failed = error  # It may have been done all the same.
            try:
                found, own = self._compare(key, data, digest)
            except UnavailableError:
                if failed is None:
                    raise
                found, own = version, False
            if own:
                return found
            if found is not None if version is None else failed is None or found != version:
                return None
            pause = next(waits, None)
            if pause is None:
                self._raise(key, failed or TimeoutError("it appears and disappears"), writing=True)
            time.sleep(pause)

    def _compare(self, key: str, data: bytes, digest: str) -> tuple[Mapping[str, str] | None, bool]:
        """The version of an object, if there is one, and whether it has this content."""
        if digest and (found := self.stat(key)) is not None and found.digest:
            return found.version, (found.size, found.digest) == (len(data), digest)
        content = self.read(key)
        return (None, False) if content is None else (content[1].version, content[0] == data)

    def put(self, key: str, data: bytes, digest: str = "") -> Mapping[str, str]:
        """Put an object, whatever is there; return its version."""
        with self._writing(key):
            return _version(self._put(key, data, digest, "overwrite"))

    def upload(self, key: str, path: Path, digest: str) -> None:
        """Put a file, in pieces if it is large, and check that the store has all of it.

        Args:
            key: Of the object.
            path: The file.
            digest: Its SHA-256, which is kept with the object.

        Raises:
            WriteError: The store failed, or has fewer bytes than the file.
        """
        with self._writing(key):
            self._obstore.put(
                self._large, key, path, attributes={DIGEST: digest}, chunk_size=_chunk(path), max_concurrency=4
            )
        found, size = self.stat(key), path.stat().st_size
        if found is None or found.size != size or found.digest not in ("", digest):
            raise WriteError(f"{self.place(key)}: is not what was written there; run the same command again")

    def download(self, key: str, path: Path) -> tuple[str, Stat] | None:
        """Write an object to a file; return its SHA-256 and what the store knows of it, None if there is no object."""
        exceptions, waits = self._obstore.exceptions, pauses()
        while True:
            try:
                with self._reading(key):
                    found = self._get(self._large, key)
                    if found is None:
                        return None
                    digest = hashlib.sha256()
                    with path.open("wb") as file:
                        for chunk in found.stream(min_chunk_size=_SMALL):
                            file.write(chunk)
                            digest.update(chunk)
                    return digest.hexdigest(), _stat(found)
            except UnavailableError as error:
                # The connection broke within the content; obstore has given up on all else.
                pause = next(waits, None)
                if pause is None or not isinstance(error.__cause__, exceptions.GenericError):
                    raise
                time.sleep(pause)
            except OSError as error:
                raise WriteError(f"{path}: cannot be written ({error.strerror or error}); is the disk full?") from error

    def keys(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects whose keys begin with `prefix`, in ascending order, a page at a time.

        Args:
            prefix: Of keys; not only of whole names between slashes.
            after: Only keys that come after this one.
        """
        folder, slash, start = prefix.rpartition("/")
        # Stores list by folder; within it, they begin after a key, and what follows the prefix is not asked for.
        after = max(after, f"{folder}{slash}{_before(start)}" if start else "")
        with self._reading(prefix):
            for page in self._obstore.list(self._small, folder or None, offset=after or None, chunk_size=1000):
                for found in page:
                    if found["path"].startswith(prefix):
                        yield found["path"], found["size"]
                    elif found["path"] > prefix:
                        return

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, many in one request where the store can; those that are not there do not matter."""
        for some in _batches(keys):
            with self._writing(some[0]), contextlib.suppress(FileNotFoundError):
                # A request that deletes many needs a body, and some servers do not know it.
                self._obstore.delete(self._small, some[0] if len(some) == 1 else some)

    def now(self, key: str) -> float:
        """Return the time by the clock of the store, in seconds since 1970.

        Its clock is read off an object that is put beside `key`, and deleted again; for five minutes this process then
        counts on by its own.
        """
        read_at, then = self._clock
        if time.monotonic() - read_at >= _CLOCK_SECONDS:
            probe = beside(key, "clock")
            read_at = time.monotonic()
            try:
                self.put(probe, b"")
                found = self.stat(probe)
            finally:
                self.delete([probe])
            then = time.time() if found is None else found.modified.timestamp()
            self._clock = read_at, then
        return then + time.monotonic() - read_at

    def _put(self, key: str, data: bytes, digest: str, mode: Any) -> Any:
        store = self._small if len(data) <= _SMALL else self._large
        attributes = {DIGEST: digest} if digest else None
        return self._obstore.put(store, key, data, mode=mode, attributes=attributes, use_multipart=False)

    def _get(self, store: Any, key: str, head: bool = False) -> Any:
        try:
            return self._obstore.get(store, key, options={"head": head})
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, FileNotFoundError) as error:
            self._raise(key, error, writing=False)

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, FileNotFoundError) as error:
            self._raise(key, error, writing=True)

    def _raise(self, key: str, error: BaseException, writing: bool) -> NoReturn:
        raise failure(self._obstore.exceptions, self.url, key, error, writing) from error


def _version(found: Mapping[str, Any]) -> Mapping[str, str]:
    return {name: found[name] for name in ("e_tag", "version") if found[name] is not None}


def _stat(found: Any) -> Stat:
    meta = found.meta
    return Stat(meta["size"], _version(meta), meta["last_modified"], dict(found.attributes).get(DIGEST, ""))


def _chunk(path: Path) -> int:
    """Bytes of each piece of an upload, of which a store takes at most 10,000."""
    return max(_CHUNK, -(-path.stat().st_size // 9_000))


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    """The keys, as many at a time as one request deletes."""
    pending = iter(keys)
    while some := list(islice(pending, 1000)):
        yield some


def beside(key: str, name: str) -> str:
    """Return the key of a hidden object of this process in the folder of another one."""
    folder, slash, _ = key.rpartition("/")
    return f"{folder}{slash}.{name}-{secrets.token_hex(8)}"


def _before(start: str) -> str:
    """A text that comes right before all that begin with `start`."""
    return f"{start[:-1]}{chr(ord(start[-1]) - 1)}~"
