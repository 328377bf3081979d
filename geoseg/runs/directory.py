"""The run directory: the work on one output. Its manifest says what is computed, its parts are finished blocks.

A part counts once its record, written last, names the SHA-256 of its files; so a killed process leaves either
a whole part or none, and the next one computes what is missing. One process at a time holds the directory's lock.
"""

from __future__ import annotations

import json
import os
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
from geoseg.files.lock import Holder, Lock, holder
from geoseg.grid import Block
from geoseg.raster.cog import write_part

RASTER_PART, VECTOR_PART = ".tif", ".arrow"
"""Suffixes of parts: a raster, and the features of a block in Arrow's format for streams."""

LOCK = "lock"
_MANIFEST = "manifest.json"
_CLOCK = ".clock."


def work_facts(command: str, blocks: int) -> dict[str, Any]:
    """Return what the manifest of a run tells besides its fingerprint: blocks, and how to go on, and from where."""
    return {"blocks": blocks, "command": command, "folder": str(Path.cwd())}


class Run:
    """An open run directory, locked for this process until it is closed. A context manager.

    path: created where it is missing. fingerprint: all that decides the pixels: scene, model, settings, versions.
    facts: what else the manifest tells, such as the number of blocks; whoever goes on may tell other ones.
    restart: forget what is there, whatever its fingerprint. new: nothing was there.

    Raises:
        RunError: the directory holds a run of another fingerprint.
        LockedError: another process is at work there.
        OutputError: the path is something else than a run directory, or cannot be created.
    """

    def __init__(
        self, path: Path, fingerprint: Mapping[str, Any], facts: Mapping[str, Any] | None = None, restart: bool = False
    ) -> None:
        self.path = path
        self._check_kind()
        self.new = restart or not (path / _MANIFEST).exists()
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: the run directory cannot be created ({error.strerror})") from error
        try:
            self._lock = Lock(path / LOCK)
        except OSError as error:
            raise WriteError(f"{path}: cannot be locked ({error.strerror})") from error
        try:
            if restart:
                self._empty()
            self._open(json.loads(json.dumps(fingerprint)), dict(facts or {}))
            remove_leftovers(path)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the directory to whoever comes next."""
        self._lock.release()

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Within this context what is refused leaves no directory behind that was not there."""
        try:
            yield
        except GeosegError:
            if self.new:
                self.discard()
            raise

    def _check_kind(self) -> None:
        # A process killed before its manifest took its place leaves no more than its lock and temporaries.
        if self.path.exists() and not (self.path / _MANIFEST).is_file():
            begun = (f".{Path(_MANIFEST).stem}.", _CLOCK)
            if not self.path.is_dir() or any(
                entry.name != LOCK and not entry.name.startswith(begun) for entry in self.path.iterdir()
            ):
                raise OutputError(f"{self.path}: is in the way of the run directory; move it elsewhere")

    def _open(self, wanted: dict[str, Any], facts: dict[str, Any]) -> None:
        manifest = self.path / _MANIFEST
        known: dict[str, Any] = {}
        if manifest.exists():
            found = manifest_of(self.path)
            if found is None:
                raise RunError(f"{self.path}: its manifest is damaged or not geoseg's; --restart begins anew")
            known = found["fingerprint"]
            differing = _differing(known, wanted)
            if differing:
                begun = f" ({found['command']})" if found.get("command") else ""
                raise RunError(
                    f"{self.path}: was begun{begun} with another {'; another '.join(differing)}; "
                    "finish it so, or begin anew with --restart"
                )
            if found == {**facts, "fingerprint": wanted}:
                return
        content = json.dumps({**facts, "fingerprint": wanted}, indent=1, sort_keys=True)
        publish_bytes(manifest, content.encode())

    def _empty(self) -> None:
        # The manifest goes first: without it nothing else counts.
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name != _MANIFEST):
            if entry.name != LOCK:
                entry.unlink()

    def has(self, block: Block) -> bool:
        """Return whether the part of `block` is finished and its files are what was recorded."""
        return _whole(self.path, self._record(block))

    def keep(self, block: Block, layers: Mapping[str, NDArray[Any] | bytes]) -> None:
        """Write the layers of `block`, (rows, cols) or a file's content each, and then the record that makes them
        count.

        A block without any layer (all nodata) gets a record alone.

        Raises:
            LockedError: another process has taken over. WriteError: the file system failed.
        """
        self._lock.check()
        files = {}
        for layer, values in layers.items():
            if isinstance(values, bytes):
                path = self.part(block, layer, VECTOR_PART)
                publish_bytes(path, values)
            else:
                path = self.part(block, layer)
                write_part(path, values)
            files[path.name] = sha256(path)
        publish_bytes(self._record(block), json.dumps(files, sort_keys=True).encode())

    def part(self, block: Block, layer: str, suffix: str = RASTER_PART) -> Path:
        """Return the path of one layer of a part; there is no file where the block is all nodata."""
        return self.path / f"part-{block.index:06d}-{layer}{suffix}"

    def discard(self) -> None:
        """Delete the directory and what is in it."""
        # Under another name first: whoever comes meanwhile finds no directory, not half of one.
        aside = self.path.with_name(f".{self.path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
        self.path.rename(aside)
        shutil.rmtree(aside)

    def _record(self, block: Block) -> Path:
        return self.path / f"part-{block.index:06d}.json"


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    finished: blocks whose parts are whole; damaged: those whose files are not what was recorded; blocks: how many it
    has, None where its manifest does not say. bytes: of all files. facts: see `Run`. holder: whose lock is there.
    """

    path: Path
    finished: int
    damaged: int
    blocks: int | None
    bytes: int
    facts: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    holder: Holder | None

    @property
    def working(self) -> bool:
        """Whether a process is at work there, as far as that can be known."""
        return self.holder is not None and self.holder.alive

    @property
    def state(self) -> str:
        """The same in words."""
        if self.holder is None:
            return "stopped"
        if self.holder.alive:
            return f"at work: {self.holder}, last heard of {self.holder.silent:.0f} s ago"
        return f"stopped: {self.holder} has ended without finishing"


def status(path: Path) -> RunStatus:
    """Return how far the run in the directory `path` is; every part is read.

    Raises:
        InputMissingError: nothing is there. InputError: it is no run directory, or its manifest is damaged.
    """
    if not path.exists():
        raise InputMissingError(f"{path}: there is neither a run nor a finished output")
    found = manifest_of(path)
    if found is None:
        raise InputError(f"{path}: is no run directory; geoseg predict keeps one beside its output while it is at work")
    whole, damaged = parts(path)
    size = sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
    facts = {key: value for key, value in found.items() if key != "fingerprint"}
    return RunStatus(
        path, len(whole), len(damaged), facts.get("blocks"), size, facts, found["fingerprint"],
        holder(path / LOCK),
    )  # fmt: skip


def parts(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of the parts in the run directory `path` that are what was recorded, and of those that are
    not; every part is read."""
    whole: list[str] = []
    damaged: list[str] = []
    for record in sorted(path.glob("part-[0-9]*.json")):
        (whole if _whole(path, record) else damaged).append(record.stem)
    return whole, damaged


def manifest_of(path: Path) -> dict[str, Any] | None:
    """Return the manifest of the run directory `path`; None where there is none, or another thing."""
    manifest = path / _MANIFEST
    found = _json_object(manifest) if manifest.is_file() else None
    return found if found is not None and isinstance(found.get("fingerprint"), dict) else None


def _differing(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The entries that differ, each with those within it that do."""
    found = []
    for key in sorted({*known, *wanted}):
        old, new = known.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            found += [f"{key}: {', '.join(inner)}"] if inner else []
        elif old != new:
            found.append(key)
    return found


def _whole(folder: Path, record: Path) -> bool:
    files = _json_object(record) if record.is_file() else None
    return files is not None and all(
        (folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items()
    )


def _json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in the file; None where it holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
