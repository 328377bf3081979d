"""Fill values that a file does not declare: one value in all bands of many pixels, where there is nothing to see.

Two signs are looked for in a sample of the scene:

- the value is far off all others, such as -9999 or 65535 among reflectances; or
- it fills regions that touch the scene's edge, and what lies beside them differs from it at once. Dark water and
  overexposed ground also reach the edge with one value, but pass over into their surroundings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.lazy import lazy

if TYPE_CHECKING:
    from scipy import ndimage
else:
    ndimage = lazy("scipy.ndimage")

_FEW = 0.001
"""Share of the pixels below which a value that is far off stands for itself, as a hot pixel does."""

_TAIL = 0.1
"""Pixels between a value that is far off and the others, as a share of those that have it, from which on it is the end
of a tail, such as saturation."""

_LARGE = 0.01
"""Share of the pixels that regions at the edge have together."""

_STEP = 0.05
"""What a pixel beside a region differs by, in ranges of the other values."""


@dataclass(frozen=True)
class Fill:
    """A value that seems to stand for nodata.

    Attributes:
        value: The value, in the shortest form that reads back as it is.
        share: Of the valid pixels.
        at_edge: Whether it lies at the scene's edge, rather than far off all other values.
    """

    value: str
    share: float
    at_edge: bool

    def message(self) -> str:
        """Return what is told of it; the subject is the scene."""
        share = f"{self.share:.0%}" if self.share >= _LARGE else f"{self.share:.1%}"
        where = "in regions at its edge" if self.at_edge else "far off all others"
        return (
            f"{share} of its pixels are {self.value} in all bands, {where}, and count as data: if they are nodata, "
            f"give --nodata {self.value}"
        )


def undeclared_fill(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Fill | None:
    """Return the value that seems to stand for nodata among valid pixels, None where there is none.

    Args:
        pixels: (bands, rows, cols), with the scene's edges as those of the array, such as from `sample`.
        valid: (rows, cols).
    """
    total = int(valid.sum())
    for value, mask in _candidates(pixels, valid):
        if mask.sum() == total:
            continue
        others = pixels[:, valid & ~mask].astype(np.float64)
        low, high = np.percentile(others, (2, 98), axis=1)
        share = float(mask.sum() / total)
        if _is_far(float(value), int(mask.sum()), others, float(low.min()), float(high.max())):
            return Fill(str(value).removesuffix(".0"), share, at_edge=False)
        edge = _at_edge(mask)
        if edge.sum() >= max(_LARGE * total, mask.sum() / 2) and _stands_out(pixels, valid, edge, value, high - low):
            return Fill(str(value).removesuffix(".0"), share, at_edge=True)
    return None


def _candidates(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Iterator[tuple[Any, NDArray[np.bool_]]]:
    """Yield the most frequent values that all bands of a pixel share, with the pixels that have them."""
    same = valid & (pixels == pixels[0]).all(axis=0)
    values, counts = np.unique(pixels[0][same], return_counts=True)
    for index in np.argsort(-counts, kind="stable")[:3]:
        if counts[index] >= max(_FEW * valid.sum(), 16):
            yield values[index], same & (pixels[0] == values[index])


def _is_far(value: float, count: int, others: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether a value is farther from all others than their range, and not merely the end of a tail of them.

    Args:
        value: The value.
        count: Number of pixels that have it.
        others: Values (bands, pixels) of the other pixels.
        low, high: Their range, from the 2nd percentile to the 98th.
    """
    reach = max(high - low, 1e-6 * max(abs(low), abs(high)))
    if low - reach <= value <= high + reach:
        return False
    tail = others < low - reach if value < low else others > high + reach
    return bool(tail.any(axis=0).sum() < _TAIL * count)


def _at_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 4-connected regions of `mask` that touch the edge of the array."""
    labels, _ = ndimage.label(mask)
    edges = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    touching: NDArray[np.bool_] = np.isin(labels, edges[edges > 0])
    return touching


def _stands_out(
    pixels: NDArray[Any], valid: NDArray[np.bool_], region: NDArray[np.bool_], value: Any, ranges: NDArray[np.float64]
) -> bool:
    """Whether at least half of the pixels beside a region differ from its value by a good part of the range."""
    beside = ndimage.binary_dilation(region) & valid & ~region
    if not beside.any():
        return False
    difference = np.abs(pixels[:, beside].astype(np.float64) - float(value)) / np.maximum(ranges, 1e-30)[:, None]
    return bool((difference.max(axis=0) > _STEP).mean() >= 0.5)
