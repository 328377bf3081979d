"""How far unfinished work is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from heapq import merge
from pathlib import Path

from geoseg.errors import InputError, InputMissingError
from geoseg.files.lock import Holder
from geoseg.location import Location
from geoseg.runs.ahead import each
from geoseg.runs.manifest import nodata_of, read_manifest
from geoseg.runs.run import is_complete, record_name
from geoseg.runs.store import Store, open_store
from geoseg.runs.stretches import gaps, shown

_RECORD = re.compile(r"part-\d{6,}\.json")


@dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """What is common to unfinished work of all kinds.

    Attributes:
        path: The folder that it is kept in.
        bytes: Size of all files.
        holder: The process that the lock file names; None if there is no lock file.
    """

    path: Location
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
        finished: Number of blocks whose parts are complete, and of those known to be all nodata.
        damaged: Number of blocks whose parts do not match their checksums.
        blocks: Number of all blocks; None if the manifest does not give it.
        command: Command that continues the run; empty if unknown.
        folder: Working directory of `command`; None if unknown.
        missing: Stretches of blocks that have no complete part, as "7" and "4-7"; empty if it is not known how many
            blocks there are.
        workers: The processes that compute blocks of the run, each once.
        planned: Whether the run was planned for several processes.
    """

    finished: int
    damaged: int
    blocks: int | None
    command: str
    folder: str | None
    missing: tuple[str, ...] = ()
    workers: tuple[Holder, ...] = ()
    planned: bool = False

    @property
    def working(self) -> bool:
        """Whether a process coordinates the run, or computes a block of it."""
        return super().working or bool(self.workers)

    @property
    def state(self) -> str:
        """What the processes at work in the run do, in words."""
        if self.planned and not self.working:
            return "no process is at work" if self.missing else "all blocks are finished"
        if super().working or not self.workers:
            return super().state
        first, more = self.workers[0], len(self.workers) - 1
        others = f" and {more} other{'s' * (more > 1)}" if more else ""
        return f"at work: {first}, last heartbeat {first.silent:.0f} s ago{others}"


def status(location: Location) -> RunStatus:
    """Return how far the run at `location` is. Every part is read.

    Raises:
        InputMissingError: The path does not exist.
        InputError: It is not a run directory, or its manifest is damaged.
    """
    if isinstance(location, Path) and not location.exists():
        raise InputMissingError(f"{location}: there is neither a run nor a finished output")
    store = open_store(location)
    manifest = read_manifest(store)
    if manifest is None:
        raise InputError(
            f"{location}: is not a run directory; geoseg predict keeps one beside its output while it is at work"
        )
    looked_at = sorted(_parts(store))
    nodata = nodata_of(manifest)
    intact = [*merge((index for index, complete in looked_at if complete and index not in nodata), nodata)]
    blocks, command, folder = (manifest.get(name) for name in ("blocks", "command", "folder"))
    if not isinstance(blocks, int) or isinstance(blocks, bool):
        blocks = None
    missing = () if blocks is None else tuple(shown(gaps(intact, blocks)))
    planned = manifest.get("planned") is True
    if planned:
        verb = "work" if missing else "finalize"
        command, folder = f"geoseg {verb} {shlex.quote(str(location))}", str(Path.cwd())
    return RunStatus(
        path=location, bytes=store.size(), holder=store.holder(), finished=len(intact),
        damaged=sum(not complete for _, complete in looked_at), blocks=blocks,
        command=command if isinstance(command, str) else "",
        folder=folder if isinstance(folder, str) else None, missing=missing, workers=workers(store), planned=planned,
    )  # fmt: skip


def workers(store: Store) -> tuple[Holder, ...]:
    """Return the living processes that compute blocks of a run, each once."""
    found = (store.holder(name) for name in store.names("claim-"))
    alive = {(each.host, each.process): each for each in found if each is not None and each.alive}
    return tuple(alive[key] for key in sorted(alive))


def check_parts(store: Store) -> tuple[int, list[str]]:
    """Read all parts of a run; return the number of complete ones and the names of the damaged ones, in order."""
    complete, damaged = 0, []
    for index, intact in _parts(store):
        if intact:
            complete += 1
        else:
            damaged.append(index)
    return complete, [record_name(index).removesuffix(".json") for index in sorted(damaged)]


def _parts(store: Store) -> Iterator[tuple[int, bool]]:
    """Yield the index of each block that has a record, and whether its part is complete."""
    records = filter(_RECORD.fullmatch, store.names("part-"))
    for name, intact in each(partial(is_complete, store), records, store.width):
        yield int(name[len("part-") : -len(".json")]), intact
