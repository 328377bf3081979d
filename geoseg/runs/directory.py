"""The run directory of an unfinished output: a manifest that says what is computed, and the finished blocks as parts.

The record of a part is written last and names the SHA-256 of its files. A killed process therefore leaves a complete
part or none, and the next process computes what is missing. One process at a time holds the lock of the directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geoseg.errors import GeosegError, InputError, InputMissingError, OutputError, RunError, WriteError
from geoseg.files.atomic import publish_bytes, remove_leftovers, sha256
from geoseg.files.lock import Holder, Lock, OutputLocks, holder
from geoseg.files.own import PROBE, check_owner, is_plain, read_plain
from geoseg.grid import Block
from geoseg.raster.cog import write_part

RASTER_PART, VECTOR_PART = ".tif", ".arrow"
"""Suffixes of parts: a raster, and polygons as an Arrow IPC stream."""

_LOCK = "lock"
_MANIFEST = "manifest.json"
_BEGUN = rf"\.{Path(_MANIFEST).stem}\..*|{re.escape(PROBE)}.*"
_KEPT = re.compile(rf"{re.escape(_MANIFEST)}|\.?part-(sieved-)?\d{{6}}.*|{_BEGUN}")
"""Names of the files in a run directory, except the lock."""
_MAX_BYTES = 64 << 20


class Run:
    """An open run directory, locked for this process until it is closed. A context manager.

    Args:
        path: The directory; it is created if it is missing. It may be a link to a folder on another disk.
        fingerprint: Everything that decides the pixels: scene, model, settings, versions. JSON values.
        blocks: Number of blocks, for `status`.
        command: Command that continues the run, for `status`; the working directory is stored with it.
        restart: Discard an existing run, whatever its fingerprint.

    Attributes:
        path: The directory, with a link resolved.
        new: Whether no run existed, or it was discarded.

    Raises:
        RunError: The directory holds a run with another fingerprint.
        LockedError: Another process is at work there.
        OutputError: The path exists but is not a run directory, belongs to another user, or cannot be created.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: Mapping[str, Any],
        *,
        blocks: int | None = None,
        command: str = "",
        restart: bool = False,
    ) -> None:
        self._is_link = path.is_symlink()
        if self._is_link:
            check_owner(path)
        self.path = path = path.resolve() if self._is_link else path
        self._check_kind()
        self.new = restart or not is_run(path)
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: the run directory cannot be created ({error.strerror})") from error
        try:
            self._lock, self._output_locks = Lock(path / _LOCK), OutputLocks()
        except OutputError:
            raise
        except OSError as error:
            raise WriteError(f"{path}: cannot be locked ({error.strerror})") from error
        try:
            if self.new:
                self._empty()
            details = {"blocks": blocks, "command": command, "folder": str(Path.cwd())}
            self._write_manifest(json.loads(json.dumps(fingerprint)), details)
            remove_leftovers(path)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the directory and the outputs."""
        self._output_locks.release()
        self._lock.release()

    def lock_outputs(self, *outputs: Path) -> None:
        """Lock outputs until the run is discarded or closed.

        Raises:
            LockedError: Another process works on one of them, in whatever run.
            WriteError: A lock file cannot be created.
        """
        self._output_locks = OutputLocks(*outputs)

    @contextmanager
    def discarded_if_refused(self) -> Iterator[None]:
        """Discard the run if it is new and this context ends with an error of geoseg's."""
        try:
            yield
        except GeosegError:
            if self.new:
                self.discard()
            raise

    def _check_kind(self) -> None:
        # A process killed before it wrote the manifest leaves only its lock and temporary files.
        if not self.path.exists() or is_run(self.path):
            return
        if not self.path.is_dir() or any(
            entry.name != _LOCK and not re.fullmatch(_BEGUN, entry.name) for entry in self.path.iterdir()
        ):
            raise OutputError(f"{self.path}: is in the way of the run directory; move it elsewhere")

    def _write_manifest(self, fingerprint: dict[str, Any], details: dict[str, Any]) -> None:
        """Write the manifest, unless the same one exists; refuse to continue a run with another fingerprint."""
        manifest = self.path / _MANIFEST
        content = {**details, "fingerprint": fingerprint}
        if is_plain(manifest):
            found = read_manifest(self.path)
            if found is None:
                raise RunError(f"{self.path}: its manifest is damaged or not geoseg's; --restart starts over")
            differences = _differences(found["fingerprint"], fingerprint)
            if differences:
                command = f" ({found['command']})" if found.get("command") else ""
                raise RunError(
                    f"{self.path}: was started{command} with {'; '.join(differences)}; "
                    "finish it that way, or start over with --restart"
                )
            if found == content:
                return
        publish_bytes(manifest, json.dumps(content, indent=1, sort_keys=True).encode(), own=True)

    def _empty(self) -> None:
        # The manifest goes last: until then this is a run with fewer parts, which is of use or can be emptied again.
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == _MANIFEST):
            if _KEPT.fullmatch(entry.name):
                entry.unlink()

    def has(self, block: Block) -> bool:
        """Return whether the part of `block` is finished and its files match their checksums."""
        return _is_complete(self.path, self._record(block))

    def keep(self, block: Block, layers: Mapping[str, NDArray[Any] | bytes]) -> None:
        """Write the part of `block`: its layers, then its record.

        Args:
            block: The finished block.
            layers: Name -> raster (rows, cols), or content of a file. A block that is all nodata has none.

        Raises:
            LockedError: Another process has taken over.
            WriteError: The file system failed.
        """
        self._lock.check()
        files = {}
        for layer, values in layers.items():
            if isinstance(values, bytes):
                path = self.part(block, layer, VECTOR_PART)
                publish_bytes(path, values, own=True)
            else:
                path = self.part(block, layer)
                write_part(path, values)
            files[path.name] = sha256(path)
        publish_bytes(self._record(block), json.dumps(files, sort_keys=True).encode(), own=True)

    def part(self, block: Block, layer: str, suffix: str = RASTER_PART) -> Path:
        """Return the path of one layer of a part. The file does not exist if the block is all nodata."""
        return self.path / f"part-{block.index:06d}-{layer}{suffix}"

    def discard(self) -> None:
        """Delete the directory with its content, and unlock the outputs, which the last mark of this run outlives.

        A link and the folder that it leads to stay, empty.
        """
        self._output_locks.release()
        if self._is_link:
            self._empty()
            return
        # Renamed first, so that another process finds no directory rather than half of one.
        renamed = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
        if renamed.is_symlink():
            renamed.unlink()
        self.path.rename(renamed)
        shutil.rmtree(renamed)

    def _record(self, block: Block) -> Path:
        return self.path / f"part-{block.index:06d}.json"


@dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """What is common to unfinished work of all kinds.

    Attributes:
        path: The folder that it is kept in.
        bytes: Size of all files.
        holder: The process that the lock file names; None if there is no lock file.
    """

    path: Path
    bytes: int
    holder: Holder | None

    @property
    def working(self) -> bool:
        """Whether a process is at work there, as far as that can be known."""
        return self.holder is not None and self.holder.alive

    @property
    def state(self) -> str:
        """What the process that holds the folder does, in words."""
        if self.holder is None:
            return "stopped"
        if self.holder.alive:
            return f"at work: {self.holder}, last heartbeat {self.holder.silent:.0f} s ago"
        return f"stopped: {self.holder} has ended without finishing"


@dataclass(frozen=True, kw_only=True)
class RunStatus(WorkStatus):
    """How far a run is.

    Attributes:
        finished: Number of blocks whose parts are complete.
        damaged: Number of blocks whose parts do not match their checksums.
        blocks: Number of all blocks; None if the manifest does not give it.
        command: Command that continues the run; empty if unknown.
        folder: Working directory of `command`; None if unknown.
    """

    finished: int
    damaged: int
    blocks: int | None
    command: str
    folder: str | None


def status(path: Path) -> RunStatus:
    """Return how far the run in the directory `path` is. Every part is read.

    Raises:
        InputMissingError: The path does not exist.
        InputError: It is not a run directory, or its manifest is damaged.
    """
    if not path.exists():
        raise InputMissingError(f"{path}: there is neither a run nor a finished output")
    manifest = read_manifest(path)
    if manifest is None:
        raise InputError(
            f"{path}: is not a run directory; geoseg predict keeps one beside its output while it is at work"
        )
    complete, damaged = check_parts(path)
    size = sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
    return RunStatus(
        path=path, bytes=size, holder=holder(path / _LOCK), finished=len(complete), damaged=len(damaged),
        blocks=manifest.get("blocks"), command=manifest.get("command") or "", folder=manifest.get("folder"),
    )  # fmt: skip


def check_parts(path: Path) -> tuple[list[str], list[str]]:
    """Read all parts in the run directory `path`; return the names of the complete and of the damaged ones."""
    complete: list[str] = []
    damaged: list[str] = []
    for record in sorted(path.glob("part-[0-9]*.json")):
        (complete if _is_complete(path, record) else damaged).append(record.stem)
    return complete, damaged


def is_run(path: Path) -> bool:
    """Return whether the directory `path` has a manifest, damaged or not."""
    return is_plain(path / _MANIFEST)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of the run directory `path`; None if it is missing or malformed."""
    found = _json_object(path / _MANIFEST)
    return found if found is not None and isinstance(found.get("fingerprint"), dict) else None


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, as "a different scene" or "different settings: blend, overlap"."""
    differences = []
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            differences += [f"{key}: {', '.join(inner)}"] if inner else []
        elif old != new:
            differences.append(key)
    return [
        f"different {text}" if text.partition(":")[0].endswith("s") else f"a different {text}" for text in differences
    ]


def _is_complete(folder: Path, record: Path) -> bool:
    files = _json_object(record)
    return files is not None and all(
        Path(name).name == name and is_plain(folder / name) and sha256(folder / name) == digest
        for name, digest in files.items()
    )


def _json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in the file; None if there is no file, or it holds something else."""
    try:
        content = json.loads(read_plain(path, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
