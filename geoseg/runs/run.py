"""A run: a manifest that says what is computed, and the finished blocks as parts.

The record of a part is written last and names the SHA-256 of its files. A killed process therefore leaves a complete
part or none, and the next process computes what is missing. One process at a time coordinates a run: it holds the lock
until the outputs are published. Any number of others may join it. Each block is claimed by the process that computes
it; the claim of a process that has ended, or whose heartbeat has stopped, is taken over.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geoseg.errors import GeosegError, InputMissingError, LockedError, RunError
from geoseg.files.atomic import publish_bytes
from geoseg.files.lock import OutputLocks
from geoseg.grid import Block
from geoseg.location import Location
from geoseg.runs.ahead import each
from geoseg.runs.folder import MANIFEST
from geoseg.runs.manifest import differences, json_object, nodata_of, read_manifest
from geoseg.runs.parts import RASTER_PART, VECTOR_PART, Parts, part_name
from geoseg.runs.store import Claim, Store, open_store
from geoseg.runs.stretches import Stretches


class Run:
    """An open run, locked for this process until it is closed. A context manager.

    Args:
        place: The run directory, or another place that `open_store` knows. A directory is created if it is missing,
            and may be a link to a folder on another disk.
        fingerprint: Everything that decides the pixels: scene, model, settings, versions. JSON values.
        blocks: Number of blocks, for `status` and for shards.
        layout: How they lie, for shards (`geoseg.runs.shards.Layout`). JSON values.
        command: Command that continues the run, for `status`; the working directory is stored with it. None keeps that
            of an existing run.
        planned: Whether other processes are to compute the run, for `status`; so it stays.
        job: Settings from which another process can do the same work (`geoseg.config.codec`); None if none can.
        nodata: Blocks that are known to be all nodata: they count as finished, and have neither claims nor records.
        restart: Discard an existing run, whatever its fingerprint.

    Attributes:
        store: Where it is kept.
        path: The directory, with a link resolved.
        place: It as it was given.
        new: Whether no run existed, or it was discarded.
        coordinates: Whether this process holds the lock.

    Raises:
        RunError: The directory holds a run with another fingerprint.
        LockedError: Another process coordinates it or, with `restart`, computes a block.
        OutputError: The path exists but is not a run directory, belongs to another user, or cannot be created.
    """

    place: Location
    _lock: Claim | None
    _output_locks: OutputLocks | None

    def __init__(
        self,
        place: Location,
        fingerprint: Mapping[str, Any],
        *,
        blocks: int | None = None,
        layout: Mapping[str, Any] | None = None,
        command: str | None = "",
        planned: bool = False,
        job: Mapping[str, Any] | None = None,
        nodata: Stretches | None = None,
        restart: bool = False,
    ) -> None:
        self._open(open_store(place))
        self.place, store = place, self.store
        store.prepare()
        self.new = restart or not store.exists()
        self._lock = lock = store.lock()
        try:
            if self.new:
                self._refuse_claims()
                store.empty()
            details = {
                "blocks": blocks, "layout": layout, "command": command, "folder": str(Path.cwd()), "planned": planned,
                "job": job,
            }  # fmt: skip
            if nodata:
                details["nodata"], self._nodata = str(nodata), nodata
            self._write_manifest(json.loads(json.dumps(fingerprint)), json.loads(json.dumps(details)))
            store.tidy()
        except BaseException:
            lock.release()
            raise

    def _open(self, store: Store) -> None:
        self.store, self.path, self.new = store, store.path, False
        self._lock = None
        self._output_locks = None
        self._claims: dict[int, Claim] = {}
        self._nodata = Stretches()

    @classmethod
    def join(cls, place: Location) -> Run:
        """Return the run at `place`, to compute blocks of it beside other processes.

        Raises:
            InputMissingError: There is no run.
            OutputError: It belongs to another user.
        """
        run = cls.__new__(cls)
        run._open(open_store(place))
        run.place = place
        if not run.store.exists():
            raise InputMissingError(f"{place}: there is no run; it may be finished, or was never planned")
        run.store.check_owner()
        run.store.tidy()
        run._nodata = nodata_of(read_manifest(run.store))
        return run

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def coordinates(self) -> bool:
        """Whether this process holds the lock of the run."""
        return self._lock is not None

    def close(self) -> None:
        """Give up the claims, and unlock the run and the outputs."""
        self.release_all()
        if self._output_locks is not None:
            self._output_locks.release()
        if self._lock is not None:
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

    def _refuse_claims(self) -> None:
        for name in self.store.names("claim-"):
            found = self.store.holder(name)
            if found is not None and found.alive:
                raise LockedError(
                    f"{self.store.location}: {found} computes a block there; stop it, or wait until it is done"
                )

    def _write_manifest(self, fingerprint: dict[str, Any], details: dict[str, Any]) -> None:
        """Write the manifest, unless the same one exists; refuse to continue a run with another fingerprint."""
        content = {**details, "fingerprint": fingerprint}
        if self.store.exists():
            self.check(fingerprint)
            found = self.manifest()
            content["planned"] = content["planned"] or found.get("planned") is True
            if content["command"] is None:
                content |= {"command": found.get("command"), "folder": found.get("folder")}
            if found == content:
                return
        self.store.write(MANIFEST, json.dumps(content, indent=1, sort_keys=True).encode(), replace=True)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            InputMissingError: The run is gone.
            RunError: Its manifest is damaged.
        """
        found = read_manifest(self.store)
        if found is None:
            if not self.store.exists():
                raise InputMissingError(f"{self.place}: is gone; another process has finished or removed it")
            raise self.damaged()
        return found

    def damaged(self) -> RunError:
        """Return the error of a run whose manifest is none."""
        way_out = "--restart starts over" if self.coordinates else "plan it again with --restart"
        return RunError(f"{self.store.location}: its manifest is damaged or not geoseg's; {way_out}")

    def check(self, fingerprint: Mapping[str, Any]) -> None:
        """Refuse a run with another fingerprint.

        Raises:
            InputMissingError: The run is gone.
            RunError: It has another fingerprint, or its manifest is damaged.
        """
        found = self.manifest()
        changed = differences(found["fingerprint"], json.loads(json.dumps(fingerprint)))
        if not changed:
            return
        begun, way_out = "planned", "work on it with the same, or plan it again with --restart"
        if self.coordinates:
            begun, way_out = "started", "finish it that way, or start over with --restart"
        command = f" ({found['command']})" if found.get("command") else ""
        raise RunError(f"{self.store.location}: was {begun}{command} with {'; '.join(changed)}; {way_out}")

    def has(self, block: Block) -> bool:
        """Return whether the part of `block` is finished and its files match their checksums."""
        return self.is_nodata(block) or is_complete(self.store, record_name(block.index))

    def is_nodata(self, block: Block) -> bool:
        """Return whether `block` was known to be all nodata when the run was begun."""
        return block.index in self._nodata

    def look_at(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, bool]]:
        """Yield the blocks, in order, each with what `has` says of it: faster than to ask for one after the other."""
        if self.store.width <= 1:
            yield from ((block, self.has(block)) for block in blocks)
            return
        for start, some in groupby(blocks, key=lambda block: f"part-{block.index:06d}"[:-3]):
            # One look at the names of a thousand blocks tells which are missing.
            names = set(self.store.names(start))
            yield from each(partial(self._is_in, names), some, self.store.width)

    def _is_in(self, names: Container[str], block: Block) -> bool:
        return (self.is_nodata(block) or record_name(block.index) in names) and self.has(block)

    def claim(self, block: Block) -> bool:
        """Claim a block for this process; return whether that could be done, as no living process has it."""
        if block.index not in self._claims:
            claim = self.store.claim(claim_name(block.index))
            if claim is None:
                return False
            self._claims[block.index] = claim
        return True

    def release(self, block: Block) -> None:
        """Give up the claim to a block; doing so again has no effect."""
        claim = self._claims.pop(block.index, None)
        if claim is not None:
            claim.release()

    def release_all(self) -> None:
        """Give up all claims of this process."""
        while self._claims:
            self._claims.popitem()[1].release()

    def keep(self, block: Block, layers: Mapping[str, NDArray[Any] | bytes]) -> None:
        """Write the part of `block`: its layers, then its record.

        Args:
            block: The finished block.
            layers: Name -> raster (rows, cols), or content of a file. A block that is all nodata has none.

        Raises:
            LockedError: Another process has taken over.
            WriteError: The file system failed.
        """
        if self._lock is not None:
            self._lock.check()
        files = {}
        for layer, values in layers.items():
            suffix = VECTOR_PART if isinstance(values, bytes) else RASTER_PART
            name = part_name(block.index, layer, suffix)
            files[name] = self.store.keep(name, partial(_write, values=values))
        if (claim := self._claims.get(block.index)) is not None:
            claim.check()
        self.store.write(record_name(block.index), json.dumps(files, sort_keys=True).encode())

    def part(self, block: Block, layer: str, suffix: str = RASTER_PART) -> Path:
        """Return the path of one layer of a part. The file does not exist if the block is all nodata."""
        return self.store.local(part_name(block.index, layer, suffix))

    def parts(self, layer: str, blocks: Sequence[Block], suffix: str = RASTER_PART) -> Parts:
        """Return those of `blocks` that have a part with that layer, and its path, one after the other."""
        return Parts(self.store, layer, blocks, suffix)

    def discard(self) -> None:
        """Delete the run, and unlock the outputs, which the last mark of this run outlives.

        A link and the folder that it leads to stay, empty.
        """
        if self._output_locks is not None:
            self._output_locks.release()
        self.store.discard()


def claim_name(index: int) -> str:
    """Return the name of the claim to a block."""
    return f"claim-{index:06d}"


def is_complete(store: Store, record: str) -> bool:
    """Return whether the record of that name exists, and its files match their checksums."""
    files = json_object(store, record)
    return files is not None and all(store.holds(name, digest) for name, digest in files.items())


def _write(path: Path, values: NDArray[Any] | bytes) -> None:
    if isinstance(values, bytes):
        publish_bytes(path, values, own=True)
    else:
        from geoseg.raster.cog import write_part

        write_part(path, values)


def record_name(index: int) -> str:
    """Return the name of the record of a part."""
    return f"part-{index:06d}.json"
