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
        mean, variance, unbiased, count = _moments(x, world)
        if running is not None:
            for value, new in zip(running, (mean, unbiased), strict=True):
                value.lerp_(new.to(value.dtype), momentum)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.world, ctx.biased, ctx.eps = world, bias is not None, eps
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        # As of evaluation, whose gradient for the weight is sum_i g_i (x_i - mean) / sqrt(variance + eps).
        of_weight, of_bias = torch.zeros_like(mean), torch.zeros_like(mean)
        if x.numel():
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                gradients[0], x, torch.ones_like(mean), mean, variance, None, None, False, ctx.eps, [False, True, True]
            )

        def slopes(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Return a, b and c of the gradient a + b x + c g: factor (g - shift - slope scale (x - mean))."""
            shift, slope = sums.view(-1, 2, len(mean)).sum(0) / count
            scale = (variance + ctx.eps).rsqrt()
            factor = scale if weight is None else scale * weight.to(mean.dtype)
            of_x = -factor * slope * scale
            shape = [1, -1, *[1] * (x.ndim - 2)]
            return (-factor * shift - of_x * mean).view(shape), of_x.view(shape), factor.view(shape)

        a, b, c = ctx.world.meet(torch.cat([of_bias, of_weight]), slopes)
        of_x = torch.addcmul(a, x.to(mean.dtype), b).addcmul_(gradients[0].to(mean.dtype), c)
        return (
            of_x.to(x.dtype), None if weight is None else of_weight.to(weight.dtype),
            of_bias.to(weight.dtype if weight is not None else x.dtype) if ctx.biased else None, None, None, None, None,
        )  # fmt: skip


def _moments(x: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean, biased and unbiased variance (C,), and number of values (1,) of x (B, C, ...) in all processes.

    The moments of each process are combined as by Chan et al. 1979: differences of sums of squares would cancel.
    """
    dtype, channels = torch.promote_types(x.dtype, torch.float32), x.shape[1]
    count = x.numel() // channels
    mean, variance = x.new_zeros(2, channels, dtype=dtype)
    if count:
        # torch's own moments, in one pass; without running statistics, it would round them to the type of x.
        mean, variance = torch.batch_norm_update_stats(x.detach(), mean, variance, 0.0)

    def combine(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        counts, means, variances = rows[:, :1], rows[:, 1 : channels + 1], rows[:, channels + 1 :]
        total = counts.sum(0)
        shares = counts / total
        mean = (shares * means).sum(0)
        variance = (shares * (variances + (means - mean).square())).sum(0)
        return mean, variance, variance * (total / (total - 1).clamp_min(1)), total

    return world.meet(torch.cat([mean.new_tensor([count]), mean, variance]), combine)
