"""Running statistics of batch normalisation: freezing, copying and re-estimating them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Make forward passes differ by their input alone within this context (Miyato et al. 2018).

    Batch normalisation normalises by the batch but does not update its running statistics, and dropout of any kind is
    off.
    """
    kind = nn.modules.batchnorm._BatchNorm
    layers = [m for m in network.modules() if isinstance(m, kind)]
    tracked = [layer.track_running_stats for layer in layers]
    # All other modules, not just those of a dropout class: some encoders drop whole branches with a function.
    others = [m for m in network.modules() if m.training and not isinstance(m, kind)]
    for layer in layers:
        layer.track_running_stats = False
    for module in others:
        module.training = False
    try:
        yield
    finally:
        for layer, state in zip(layers, tracked, strict=True):
            layer.track_running_stats = state
        for module in others:
            module.training = True


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the running statistics of batch normalisation, as a partial state dict."""
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value.clone() for name, value in network.named_buffers() if name.rsplit(".", 1)[-1] in names}


@torch.no_grad()
def settle_statistics(network: nn.Module, images: Iterable[Tensor], precision: torch.dtype) -> None:
    """Replace the running statistics by averages over `images`, and put the network in evaluation mode.

    The running statistics lag behind the weights, the more so the shorter the training, and prediction relies on them
    ("PreciseBN": Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm").

    Args:
        network: The network with its final weights.
        images: Batches (B, bands, H, W), normalised.
        precision: float32, or the type that autocast computes in.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    # Nothing else as in training: dropout draws numbers, which no seed decides here, and prediction has none.
    network.eval()
    for layer in layers:
        layer.train()
    for image in images:
        with torch.autocast(image.device.type, precision, enabled=precision != torch.float32):
            network(image.contiguous(memory_format=torch.channels_last))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()
