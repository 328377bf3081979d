"""How the processes of a training meet, and what of their machine each of them gets."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from geoseg.errors import SettingError, UnavailableError
from geoseg.launch import Launch
from geoseg.learning.distributed import World

_TIMEOUT = timedelta(minutes=30)
"""Time that processes wait for one another within a step. What the first one does alone has no limit."""

_MEETING_TIMEOUT = timedelta(minutes=10)
_POLL_SECONDS = 0.05


def device_name(name: str, launch: Launch) -> str:
    """Return the device of this process: with several processes on a machine, each gets the GPU of its local rank.

    Nothing may use a GPU before.

    Raises:
        SettingError: The name is that of one GPU, or of a device that trains in one process only.
        UnavailableError: There are fewer GPUs than processes.
    """
    if launch.size == 1:
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if name != "cuda":
        raise SettingError(f"device {name} is for a training in one process, and here are {launch.size}; --device cuda")
    count = torch.cuda.device_count()
    if launch.local_rank >= count:
        raise UnavailableError(
            f"each process needs a GPU of its own, and here are {launch.local_size} processes and {count} GPUs; "
            f"--nproc-per-node={count}, or --device cpu"
        )
    torch.cuda.set_device(launch.local_rank)
    return f"cuda:{launch.local_rank}"


def join(launch: Launch, device: torch.device) -> World:
    """Meet the other processes of a launch, and divide the cores of this machine among them.

    Raises:
        UnavailableError: They do not come, or this torch cannot talk to them.
    """
    if launch.size == 1:
        return World(launch, device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=_MEETING_TIMEOUT)))
        store = dist.PrefixStore(_common_name(store, rank, size), store)  # type: ignore[attr-defined]
        own = dist.PrefixStore("group", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UnavailableError(
            f"the {launch.size} processes of this training do not find one another ({reason}); check MASTER_ADDR and "
            "MASTER_PORT, or torchrun's --rdzv-endpoint"
        ) from error
    if device.type == "cpu":
        # torchrun sets OMP_NUM_THREADS to 1, which leaves most cores of a large machine idle.
        torch.set_num_threads(max(1, _cores() // launch.local_size))
    return World(launch, device, store)


def _common_name(store: Any, rank: int, size: int) -> str:
    """Return a name that all processes agree on, and that no earlier ones have used.

    torchrun keeps one store for all restarts, with the addresses and the last words of the dead in it. So the first
    process calls by a new name, and the others answer until it has noted the answer of this very process.

    Raises:
        RuntimeError: Not all processes have come in time.
    """
    mine, call = uuid.uuid4().hex, "geoseg-call"
    if rank == 0:
        answers = [f"{mine}-{other}" for other in range(1, size)]
        store.set(call, mine)
        store.wait(answers, _MEETING_TIMEOUT)
        store.set(f"{mine}-noted", b" ".join(map(store.get, answers)))
        return mine
    until = time.monotonic() + _MEETING_TIMEOUT.total_seconds()
    while time.monotonic() < until:
        name = store.get(call).decode()
        store.set(f"{name}-{rank}", mine)
        if store.check([f"{name}-noted"]) and mine in store.get(f"{name}-noted").decode().split():
            return str(name)
        time.sleep(_POLL_SECONDS)
    raise RuntimeError("process 0 did not answer")


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
