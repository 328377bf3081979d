"""Clusters to compute on: one that runs already, or worker processes on this machine.

The port of a scheduler executes the code that it is sent. A cluster on this machine therefore listens on 127.0.0.1
only, and speaks TLS with certificates of its own, because other users of the machine reach that address too.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import InputError, InputMissingError, SettingError, UnavailableError, first_line
from geoseg.runs.tasks import quieten

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

Certificates = tuple[Path | None, Path | None, Path | None]
"""Files of an authority, of a certificate and of its key."""

CONNECT_SECONDS = 10.0
"""Time that a scheduler has to answer."""

ALLOWED_FAILURES = 3
"""Of a cluster on this machine: a task that was on more workers than this when they were killed is given up."""

_HERE = "127.0.0.1"
START_SECONDS = 120.0
"""Time that workers on this machine have to start."""

_CLOSE_SECONDS = 1.0
_KILL_SECONDS = 0.2
"""Time that a worker has to end by itself; what it is computing is lost anyway."""

_SETTINGS = {
    "scheduler.allowed-failures": ALLOWED_FAILURES,
    # A worker that is being replaced, for another time, when this is over would not be replaced any more.
    "deploy.lost-worker-timeout": "365 days",
    # Looks after event loops and threads many times a second: of no use here, and 8 % of a core for two workers.
    "admin.tick.interval": "1s",
    "worker.profile.enabled": False,
    "worker.memory.monitor-interval": "5s",
    # Dask would set the pools of libraries in this process too, and have workers return every bit of memory to the
    # system at once, which costs a block a quarter more CPU time.
    "nanny.pre-spawn-environ": {},
}
"""Dask's settings for a cluster on this machine, below "distributed"."""

_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that set the number of threads in the pools of libraries."""


def require_distributed() -> None:
    """Refuse to go on without Dask.

    Raises:
        UnavailableError: It is not installed.
    """
    if find_spec("distributed") is None:
        raise UnavailableError("Dask is not installed; pip install 'distributed>=2024.12' cryptography")


@contextmanager
def connected(address: str, certificates: Certificates = (None, None, None)) -> Iterator[Client]:
    """Yield a client of the scheduler at an address, and disconnect in the end.

    Args:
        address: As `dask scheduler` prints it: tcp://host:port or tls://host:port.
        certificates: In PEM; None leaves each to Dask's configuration.

    Raises:
        InputMissingError: One of the files is missing.
        UnavailableError: No scheduler answers there.
    """
    from distributed import Client
    from distributed.security import Security

    _hush()
    for path in filter(None, certificates):
        if not path.is_file():
            raise InputMissingError(f"{path}: there is no such file")
    names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    given = {name: str(path) for name, path in zip(names, certificates, strict=True) if path is not None}
    try:
        client = Client(
            address, timeout=CONNECT_SECONDS, security=Security(**given), set_as_default=False, name="geoseg"
        )
    except Exception as error:
        raise UnavailableError(
            f"{address}: no Dask scheduler answers there ({first_line(error)}); check the address, and for tls:// the "
            "certificates, or start one with: dask scheduler"
        ) from error
    try:
        yield client
    finally:
        _close(client)


def address_in(path: Path) -> str:
    """Return the address in a scheduler file, as `dask scheduler --scheduler-file` writes it.

    Raises:
        InputMissingError: There is none.
        InputError: It is something else.
    """
    try:
        content = json.loads(path.read_text())
        return str(content["address"])
    except FileNotFoundError:
        raise InputMissingError(
            f"{path}: there is no such file; a scheduler writes it with: dask scheduler --scheduler-file {path}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not the file of a Dask scheduler ({first_line(error)})") from error


@contextmanager
def on_this_machine(workers: int, threads: int = 1, gpus: Sequence[str] = ()) -> Iterator[Client]:
    """Start worker processes on this machine and yield a client; end them in the end, whatever they are doing.

    Args:
        workers: Number of processes. One that is killed is replaced.
        threads: Number of threads that libraries use in each.
        gpus: GPUs, as CUDA_VISIBLE_DEVICES names them: each process sees one, from before it loads torch. Without
            any, all processes see what this one sees.

    Raises:
        SettingError: There are more processes than GPUs.
        UnavailableError: The processes cannot be started.
    """
    if gpus and workers > len(gpus):
        raise SettingError(f"{workers} workers need a GPU each, and there are {len(gpus)}; give --workers {len(gpus)}")
    import dask
    from distributed import Client

    _hush()
    with dask.config.set({f"distributed.{name}": value for name, value in _SETTINGS.items()}):
        cluster, client = _cluster(threads, gpus), None
        try:
            cluster.sync(_shield)
            cluster.scale(workers)
            client = Client(cluster, set_as_default=False)
            client.register_plugin(_silence())
            try:
                client.wait_for_workers(workers, timeout=START_SECONDS)
            except TimeoutError as error:
                raise UnavailableError(
                    f"{workers} Dask workers did not start within {START_SECONDS:.0f} s; give fewer --workers"
                ) from error
            yield client
        finally:
            with suppress(Exception):
                cluster.sync(_end, cluster)
            if client is not None:
                _close(client)
            with suppress(Exception):
                cluster.close(timeout=_CLOSE_SECONDS)


def dashboard_of(client: Client) -> str:
    """Return the address of a cluster's dashboard; empty if it has none."""
    if client.cluster is not None and find_spec("bokeh") is None:
        return ""
    return str(client.dashboard_link or "")


def _cluster(threads: int, gpus: Sequence[str]) -> LocalCluster:
    """A cluster without workers; those that it gets have one task at a time and a GPU of their own."""
    from distributed import LocalCluster
    from distributed.security import Security

    class Machine(LocalCluster):
        def new_worker_spec(self) -> dict[Any, Any]:
            specs: Any = super()
            ((name, spec),) = specs.new_worker_spec().items()
            pinned = {"CUDA_VISIBLE_DEVICES": gpus[int(name)]} if gpus else {}
            environment = dict.fromkeys(_POOLS, str(threads)) | pinned
            return {name: {**spec, "options": {**spec["options"], "env": environment}}}

    kind: Any = Machine
    cluster: LocalCluster = kind(
        n_workers=0, threads_per_worker=1, host=_HERE, security=Security.temporary(), memory_limit=0,
        dashboard_address=f"{_HERE}:0", silence_logs=logging.CRITICAL,
    )  # fmt: skip
    return cluster


def _hush() -> None:
    """Leave it to geoseg to say what happens to a cluster, unless everything is to be logged."""
    if logging.getLogger("geoseg").getEffectiveLevel() > logging.DEBUG:
        for name in ("distributed", "distributed.client", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


async def _shield() -> None:
    """Keep Ctrl-C, which a terminal sends to all processes of a command, from the workers that this thread starts.

    They inherit the mask of signals. This process ends them, once it has said what is kept.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Started later, it would take SIGINT off the mask.
        multiprocessing.resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


async def _end(cluster: LocalCluster) -> None:
    """End the workers of a cluster, and start no others for them."""
    import asyncio

    await asyncio.gather(*(nanny.close(timeout=_KILL_SECONDS) for nanny in cluster.workers.values()))


def _silence() -> Any:
    from distributed import WorkerPlugin

    class Silence(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            quieten()

    return Silence()


def _close(client: Client) -> None:
    """Close a client, also of a scheduler that is gone."""
    with suppress(Exception):
        client.close(timeout=_CLOSE_SECONDS)
