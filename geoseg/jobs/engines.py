"""Engines: what computes the blocks of a job instead of this process."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config import Computing
from geoseg.errors import SettingError
from geoseg.grid import Block
from geoseg.jobs.perform import perform
from geoseg.jobs.workers import gpus_for, processes_for
from geoseg.runs.clusters import address_in, connected, dashboard_of, on_this_machine, require_distributed
from geoseg.runs.dask import Blocks
from geoseg.runs.local import Receipt
from geoseg.runs.run import Run
from geoseg.runs.shards import Layout

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE_SECONDS = 120.0
"""Time after which workers on this machine that all have ended are not expected back."""


class DaskEngine:
    """A Dask cluster, for all jobs of a command. A context manager, which ends what it has started.

    Args:
        config: The settings.
        device: What networks run on.
        client: A client of the cluster, which stays open; None connects, or starts workers, when the first job begins.

    Raises:
        UnavailableError: Dask is not installed.
    """

    def __init__(self, config: Computing, device: str = "cpu", client: Client | None = None) -> None:
        require_distributed()
        self._config, self._device, self._client = config, device, client
        self._stack, self._told = ExitStack(), False

    def __enter__(self) -> DaskEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> str:
        """Connect, or start the workers, unless that is done; return a line about the cluster for the first job.

        Raises:
            InputMissingError, InputError: The scheduler file, or one of the certificates, is not what it should be.
            UnavailableError: No scheduler answers, or workers do not start.
            SettingError: There are fewer GPUs than workers.
        """
        client = self._cluster()
        if self._told:
            return ""
        self._told = True
        count, dashboard = len(client.nthreads()), dashboard_of(client)
        address = client.scheduler.address if client.scheduler is not None else ""
        words = f"Dask cluster {address}: {count or 'no'} worker{'s' * (count != 1)}{'' if count else ' yet'}"
        return f"{words}, dashboard {dashboard}" if dashboard else words

    def receipts(self, run: Run, blocks: Sequence[Block]) -> Generator[Receipt]:
        """Compute the blocks that the run lacks, and yield the receipts of all: finished blocks first.

        Args:
            run: The run.
            blocks: All of its blocks.

        Raises:
            GeosegError: See `Blocks.receipts`.
        """
        client, missing = self._cluster(), []
        order = Layout.of(blocks).order(max(1, len(client.nthreads())))
        for block, finished in run.look_at(blocks[int(index)] for index in order):
            if finished:
                yield Receipt.of_finished(block)
            else:
                missing.append(block.index)
        if not missing:
            return

        def name(index: int) -> str:
            rows, cols = blocks[index].window.rows, blocks[index].window.cols
            return f"block {index} (rows {rows.start}-{rows.stop - 1}, columns {cols.start}-{cols.stop - 1})"

        location = run.store.location
        place = location.absolute() if isinstance(location, Path) else location
        patience = None if self._config.has_scheduler else _PATIENCE_SECONDS
        for receipt in Blocks(client, perform, place, missing, name, patience).receipts():
            # What a worker finished before it was killed was not finished before this work.
            yield replace(receipt, reused=False)

    def _cluster(self) -> Client:
        if self._client is None:
            config = self._config
            if config.has_scheduler:
                address = config.scheduler or address_in(config.scheduler_file or Path())
                certificates = config.tls_ca_file, config.tls_cert, config.tls_key
                self._client = self._stack.enter_context(connected(address, certificates))
            else:
                gpus = gpus_for(self._device)
                processes, threads = processes_for(config, len(gpus)), config.threads_with(bool(gpus))
                self._client = self._stack.enter_context(on_this_machine(processes, threads or 1, gpus))
        return self._client


@contextmanager
def engine_of(config: Computing, device: str = "cpu", client: Client | None = None) -> Iterator[DaskEngine | None]:
    """Yield the engine that the settings name; None for this process.

    Args:
        config: The settings.
        device: What networks run on.
        client: A client of the user's.

    Raises:
        UnavailableError: Dask is not installed.
    """
    if config.engine == "local":
        yield None
        return
    with DaskEngine(config, device, client) as engine:
        yield engine


def engine_settings(client: Client | None, threads: int | None) -> dict[str, Any]:
    """Return the settings of the engine for a client of the user's; those of this process without one.

    Raises:
        SettingError: The client is closed, or asynchronous.
    """
    if client is None:
        return {"threads": threads}
    if client.asynchronous or client.status != "running" or client.scheduler is None:
        raise SettingError(f"client is {client!r}; give a distributed.Client that is connected, and not asynchronous")
    return {"engine": "dask", "scheduler": client.scheduler.address, "threads": threads}
