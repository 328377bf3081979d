"""What distinguishes an open raster from others, and from itself after a change."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.files.stamps import Stamp, Stamps
from geoseg.location import Location, Remote
from geoseg.raster.opening import OpenedRaster
from geoseg.raster.remote import has_changed, identity


class Identity:
    """The identity of a raster, as it was when it was opened.

    Args:
        name: What messages call the raster.
        raster: The raster, just opened.
        lock: Held while its file is used.
    """

    def __init__(self, name: Location, raster: OpenedRaster, lock: threading.Lock) -> None:
        self._name, self._raster, self._lock = name, raster, lock
        self._stamps = Stamps.of(raster.files)
        self._remote: dict[str, Any] | None = None

    @property
    def bytes(self) -> int | None:
        """Size of the file; None for a remote raster."""
        path = self._raster.path
        return None if isinstance(path, Remote) else self._stamp(path).bytes

    def to_json(self) -> dict[str, Any]:
        """Return what `Scene.identity` tells of the files."""
        path, files = self._raster.path, self._raster.files
        if isinstance(path, Remote):
            found = self._remote = self._ask_server(path)
        else:
            found = {"path": str(path), **self._stamp(path)._asdict()}
        if len(files) > 1:
            entries = [[str(file), *self._stamp(file)] for file in files]
            found = {**found, "files": hashlib.sha256(json.dumps(entries).encode()).hexdigest()}
        return found

    def check(self, remedy: str, network: bool) -> None:
        """Raise InputError if the raster has changed; see `Scene.check_unchanged`."""
        self._stamps.check(self._name, remedy)
        path, before = self._raster.path, self._remote
        if network and isinstance(path, Remote) and before is not None and has_changed(before, self._ask_server(path)):
            raise InputError(f"{self._name}: changed while it was read; {remedy}")

    def _stamp(self, path: Path) -> Stamp:
        return self._stamps.files[path] or Stamp(0, 0)

    def _ask_server(self, location: Remote) -> dict[str, Any]:
        with self._lock, self._raster.environment():
            return identity(location, self._raster.file)
