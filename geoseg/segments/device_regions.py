"""Means over regions on a torch device: those of `geoseg.segments.regions.region_means`, equal in every bit."""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg.segments.regions import FRACTION, LIMIT


def region_means(field: Tensor, labels: Tensor, count: int, stride: int, offset: tuple[int, int]) -> Tensor:
    """Return the mean of a field over the pixels of each region: float32 (count + 1, K); row 0 and empty regions are 0.

    Sums are integers, so the order in which a device adds them makes no difference. As most cells lie in one region,
    each region of a cell is added once, with the number of its pixels there.

    Args:
        field: float32 (h, w, K).
        labels: int32 (rows, cols) in [0, count], on the same device.
        count, stride, offset: As for `geoseg.segments.regions.region_means`.
    """
    channels, width = field.shape[2], field.shape[1]
    fixed = torch.round(field.clamp(-LIMIT, LIMIT) * FRACTION).view(-1, channels)
    rows, cols = (
        torch.arange(length, device=labels.device).add_(start).div_(stride, rounding_mode="floor")
        for length, start in zip(labels.shape, offset, strict=True)
    )
    cells = rows[:, None] * width + cols
    pairs, pixels = torch.unique(labels.long() * len(fixed) + cells, return_counts=True)
    regions = pairs.div(len(fixed), rounding_mode="floor")
    # Below 2^53, sums of whole numbers are exact in float64, and devices add these faster than int64.
    sums = torch.zeros(count + 1, channels, dtype=torch.float64, device=field.device)
    sums.index_add_(0, regions, fixed[pairs - regions * len(fixed)].double() * pixels[:, None])
    sizes = torch.zeros(count + 1, dtype=torch.float64, device=field.device).index_add_(0, regions, pixels.double())
    means = (sums / (sizes.clamp(min=1) * FRACTION)[:, None]).float()
    means[0] = 0
    return means
