"""Batch normalisation over the patches of all processes of a training.

torch's own needs GPUs (`torch.nn.SyncBatchNorm`); this one computes the same on any device. It takes the place of
`torch.nn.functional.batch_norm` within a context instead of replacing layers: encoders bring layers of their own, which
all end there, and a network that one process uses by itself, to draw a picture, is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from geoseg.learning.distributed import World


@contextmanager
def common_statistics(world: World) -> Iterator[None]:
    """Normalise by the batches of all processes within this context, in training mode; alone, nothing changes.

    All processes have to make the same forward passes. Their gradients are those of the sum of their losses.
    """
    if not world.collective:
        yield
        return
    with _CommonStatistics(world):
        yield


class _CommonStatistics(TorchFunctionMode):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """With the signature of `torch.nn.functional.batch_norm`."""
        if not training:
            return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        running = None if running_mean is None or running_var is None else (running_mean, running_var)
        found = _BatchNorm.apply(input, weight, bias, running, momentum, eps, self._world)
        return cast(Tensor, found)


class _BatchNorm(torch.autograd.Function):
    """Ioffe and Szegedy 2015, "Batch normalization", algorithm 1, with the gradient of section 3."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, running: tuple[Tensor, Tensor] | None,
        momentum: float, eps: float, world: World,
    ) -> Tensor:  # fmt: skip
        mean, variance, count = _moments(x, world)
        if running is not None:
            unbiased = variance * (count / (count - 1).clamp_min(1))
            for value, new in zip(running, (mean, unbiased), strict=True):
                value.lerp_(new.to(value.dtype), momentum)
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.world, ctx.biased = world, bias is not None
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        axes, shape = _axes(x)
        gradient = gradients[0].to(mean.dtype)
        centred = x.to(mean.dtype) - mean.view(shape)
        sums = torch.stack([gradient.sum(axes), (gradient * centred).sum(axes) * scale])
        of_bias, of_weight = sums.unbind()
        shift, slope = ctx.world.add_up(sums.clone()) / count
        factor = scale if weight is None else scale * weight.to(mean.dtype)
        of_x = factor.view(shape) * (gradient - shift.view(shape) - centred * (slope * scale).view(shape))
        return (
            of_x.to(x.dtype), None if weight is None else of_weight.to(weight.dtype),
            of_bias.to(weight.dtype if weight is not None else x.dtype) if ctx.biased else None, None, None, None, None,
        )  # fmt: skip


def _moments(x: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), biased variance (C,) and number of values (1,) of x (B, C, ...) in all processes.

    The moments of each process are combined as by Chan et al. 1979: differences of sums of squares would cancel.
    """
    axes, shape = _axes(x)
    channels = x.shape[1]
    own = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    count = own.numel() // channels
    mean = own.mean(axes) if count else own.new_zeros(channels)
    squares = (own - mean.view(shape)).square().sum(axes)
    # A row for each process: a sum with zeros is exact.
    rows = own.new_zeros(world.size, 2 * channels + 1)
    rows[world.rank] = torch.cat([own.new_full((1,), count), mean, squares])
    counts, means, squared = torch.split(world.add_up(rows), [1, channels, channels], dim=1)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    return mean, (squared + counts * (means - mean).square()).sum(0) / total, total


def _axes(x: Tensor) -> tuple[list[int], list[int]]:
    """Return the axes that (B, C, ...) is averaged over, and the shape that (C,) is broadcast with."""
    return [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
