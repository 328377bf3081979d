"""Outputs in a cloud store: they are made in a folder on this machine as always, and then put, the record last.

The path of such an output is its URL, which pathlib writes with one slash: `s3:/bucket/map.tif`. While files replace
others, `.NAME.placing` lies beside them; as long as it does, or the record is missing, they need not be of one map.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from geoseg.config import PredictConfig, SegmentConfig
from geoseg.errors import LockedError, OutputError, SettingError, WriteError
from geoseg.files.atomic import sha256
from geoseg.files.bucket import Bucket
from geoseg.files.lease import Lease, check_conditions, holder
from geoseg.files.own import check_owner
from geoseg.files.record import read_record, record_path
from geoseg.location import Location, Remote, target

Result = TypeVar("Result")
Config = TypeVar("Config", PredictConfig, SegmentConfig)

PREDICTED, SEGMENTED = ("out", "confidence", "polygons", "areas"), ("out",)
"""Settings of predict and of superpixels that are outputs."""

_PLACING, _LOCK = ".placing", ".lock"


class Delivery:
    """Puts the outputs of one job into a bucket.

    Args:
        outputs: Where they are wanted, as configurations have them; all in one bucket.
        overwrite: Whether existing objects may be replaced. What an interrupted process put may always be.
        keep_run: Whether the run is kept.

    Raises:
        UnavailableError: obstore is not installed.
        OutputError: The folder for the files on this machine cannot be made, or belongs to another user.
    """

    def __init__(self, outputs: Sequence[Path], overwrite: bool = False, keep_run: bool = False) -> None:
        self.overwrite, self.keep_run = overwrite, keep_run
        first = target(outputs[0])
        assert first is not None
        self._bucket = Bucket(first)
        own = Path(tempfile.gettempdir()) / f"geoseg-{os.getuid() if hasattr(os, 'getuid') else 'outputs'}"
        scheme, _, name = self._bucket.url.partition("://")
        self._folder = own / scheme / name
        try:
            own.mkdir(mode=0o700, exist_ok=True)
            check_owner(own)
            for path in outputs:
                self.local(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{self._folder}: cannot be made ({error.strerror}), but files for {self._bucket.url} are made there "
                "first; name another folder by TMPDIR"
            ) from error

    def local(self, path: Path) -> Path:
        """Return where the file for a place in the bucket is made; continuing finds it there."""
        wanted = target(path)
        assert wanted is not None
        return self._folder / wanted.url.partition("://")[2].partition("/")[2]

    def shown(self, path: Path) -> str:
        """Return the URL of the object that a file on this machine is put as."""
        return self._bucket.place(self._key(path))

    def wanted(self, path: Path) -> Path:
        """Return where a file on this machine is wanted, as configurations have it."""
        return Path(self.shown(path))

    def relocated(self, found: Result) -> Result:
        """Return a result, a dataclass, with the places in the bucket instead of those on this machine."""
        places = {name: self.wanted(path) for name, path in vars(found).items() if isinstance(path, Path)}
        return cast("Result", replace(cast("Any", found), **places))

    def check(self, outputs: Iterable[Path], inputs: Iterable[Location] = ()) -> None:
        """Refuse outputs that must not be written.

        Args:
            outputs: Files on this machine that will be put.
            inputs: What is read.

        Raises:
            OutputError: One exists, or is an input.
            UnavailableError: The store cannot be reached.
        """
        outputs = tuple(outputs)
        read = {location.url for location in inputs if isinstance(location, Remote)}
        for path in outputs:
            if self.shown(path) in read:
                raise OutputError(f"{self.shown(path)}: is the input itself; choose another output")
        if self.overwrite or self._bucket.stat(self._marker(outputs[0])) is not None:
            return
        for path in outputs:
            if self._bucket.stat(self._key(path)) is not None:
                raise OutputError(f"{self.shown(path)}: exists already; --overwrite replaces it")

    def is_there(self, output: Path) -> bool:
        """Return whether an output, as configurations have it, is in the bucket with its record."""
        path = self.local(output)
        return all(self._bucket.stat(self._key(file)) is not None for file in (path, record_path(path)))

    @contextmanager
    def holding(self, outputs: Iterable[Path]) -> Iterator[None]:
        """Hold leases on outputs while the context lasts.

        Raises:
            LockedError: A process on some machine works on one of them.
            UnavailableError: The store does not know conditions.
        """
        with ExitStack() as stack:
            for number, path in enumerate(outputs):
                key = self._hidden(path, _LOCK)
                if number == 0:
                    check_conditions(self._bucket, key)
                lease = Lease.take(self._bucket, key)
                if lease is None:
                    who = holder(self._bucket, key) or "another process"
                    raise LockedError(f"{self.shown(path)}: {who} is at work there; try again when it is done")
                stack.callback(lease.release)
            yield

    def send(self, main: Path, stale: Iterable[Path], finish: Callable[[], None]) -> None:
        """Put all files of a finished output, then remove them from this machine.

        Args:
            main: The main file. Its record names all others.
            stale: Files that may describe an older output at this place.
            finish: Removes what is of use only until all files are put.

        Raises:
            WriteError: The store failed; what was put stays, `.NAME.placing` lies beside it, and no record.
        """
        record = record_path(main)
        files = read_record(record).files
        new = {self._key(path): (path, digest) for path, digest in files.items()}
        marker = self._marker(main)
        self._bucket.put(marker, b"")
        old = {self._key(path) for path in stale}
        self._bucket.delete([self._key(record), *sorted(old - set(new) - {self._key(record)})])
        for key, (path, digest) in sorted(new.items(), key=lambda entry: (entry[1][0] != main, entry[0])):
            found = self._bucket.stat(key)
            if found is None or (found.size, found.digest) != (path.stat().st_size, digest):
                self._bucket.upload(key, path, digest)
        self._bucket.upload(self._key(record), record, sha256(record))
        finish()
        self._bucket.delete([marker])
        try:
            for path in (*files, record):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{path}: was put, but cannot be removed ({error.strerror}); remove it") from error

    def _marker(self, main: Path) -> str:
        return self._hidden(main, _PLACING)

    def _hidden(self, path: Path, suffix: str) -> str:
        return self._key(path.with_name(f".{path.name}{suffix}"))

    def _key(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def delivered(config: Config, fields: Sequence[str]) -> tuple[Config, Delivery | None]:
    """Return the settings with which the files for a bucket are made on this machine, and what puts them there.

    Args:
        config: Settings of a job; those without an output in a bucket are returned as they are.
        fields: Names of its outputs.

    Raises:
        SettingError: Some outputs are in a bucket and others are elsewhere.
    """
    given: dict[str, Any] = {name: path for name in fields if (path := getattr(config, name)) is not None}
    places = {name: target(path) for name, path in given.items()}
    if not any(places.values()):
        return config, None
    buckets = {place.url.split("/")[2] if place else "this machine" for place in places.values()}
    if len(buckets) > 1:
        raise SettingError(
            f"outputs on {' and '.join(sorted(buckets))}: all outputs of a command go into one bucket, or none does"
        )
    delivery = Delivery(list(given.values()), config.overwrite, config.keep_run)
    local: dict[str, Any] = {name: delivery.local(path) for name, path in given.items()}
    # Whatever is in the folder on this machine is of an earlier attempt; `Delivery.check` looks at the bucket.
    return replace(config, **local, overwrite=True, keep_run=True), delivery


def undelivered(config: Config, delivery: Delivery, fields: Sequence[str]) -> Config:
    """Return the settings that `delivered` was given, for other processes."""
    wanted: dict[str, Any] = {
        name: delivery.wanted(path) for name in fields if (path := getattr(config, name)) is not None
    }
    return replace(config, **wanted, overwrite=delivery.overwrite, keep_run=delivery.keep_run)
