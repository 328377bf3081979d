"""How many processes compute blocks on this machine, and with which GPUs."""

from __future__ import annotations

import os

from geoseg.config import Computing


def gpus_for(device: str) -> tuple[str, ...]:
    """Return the GPUs that a network with this setting of the device uses, as CUDA_VISIBLE_DEVICES names them.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
    """
    if device not in ("auto", "cuda"):
        return ()
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return tuple(name.strip() for name in names[: torch.cuda.device_count()])


def processes_for(config: Computing, gpus: int) -> int:
    """Return how many processes of this machine compute blocks: 1 is this one, 0 are all on other machines.

    Args:
        config: The settings.
        gpus: Number of GPUs, each of which has a process of its own.
    """
    if config.engine == "local":
        return 1
    if config.has_scheduler:
        return 0
    return config.workers or gpus or max(1, (os.cpu_count() or 1) // (config.threads or 1))
