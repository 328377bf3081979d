"""What the clusters of a model look like: their mean values, share and contrast, as a training saw them.

A class is one cluster or several. From this its colour is chosen, a name is guessed, and a table of classes is made,
without the imagery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 6
"""Significant digits that are stored: sums of floats may differ in the last bits, and colours must not."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Appearance:
    """Of K clusters, or of K classes. What was never seen has a share of 0, and NaN for everything else.

    Attributes:
        shares: float64 (K,), of the area; their sum is 1, or 0 where nothing was seen.
        means: float64 (K, bands), mean value of each band, in the units of the imagery.
        contrast: float64 (K,), mean standard deviation of grey within a superpixel, where 1 is the distance from the
            dark end of the bands to the bright one. NaN where it is not known.
        confidence: float64 (K,) in [0, 1], mean over the area. NaN where it is not known.
    """

    shares: Floats
    means: Floats
    contrast: Floats
    confidence: Floats

    @classmethod
    def of_sums(cls, area: Any, values: Any, contrast: Any, confidence: Any) -> Appearance:
        """Return means from sums over pixels.

        Args:
            area: (K,), number of pixels.
            values: (K, bands), sum of the values.
            contrast: (K,), sum of the contrasts.
            confidence: (K,), sum of the confidences.
        """
        area, values = np.asarray(area, np.float64), np.asarray(values, np.float64)
        # NaN where nothing was seen; numpy has no silent division.
        divisor = np.where(area > 0, area, np.nan)
        shares = _rounded(area / max(1.0, float(area.sum())))
        return cls(
            shares, _rounded(values / divisor[:, None]), _rounded(contrast / divisor), _rounded(confidence / divisor)
        )

    def merged(self, groups: Sequence[Sequence[int]]) -> Appearance:
        """Return the appearance of classes.

        Args:
            groups: For each class, its clusters, counted from 1.
        """
        K = len(self.shares)
        member = np.zeros((len(groups), K))
        for row, clusters in zip(member, groups, strict=True):
            row[[cluster - 1 for cluster in clusters]] = 1
        return self.mixed(member)

    def mixed(self, member: Floats) -> Appearance:
        """Return the appearance of C classes that share the clusters.

        Args:
            member: float64 (C, K), how much of each cluster belongs to each class, in [0, 1].
        """
        area = member @ self.shares

        def mean(values: Floats) -> Floats:
            weights = member * np.where(np.isfinite(values), self.shares, 0)
            total = weights.sum(axis=1)
            return np.asarray(weights @ np.nan_to_num(values) / np.where(total > 0, total, np.nan))

        bands = [mean(column) for column in self.means.T]
        means = np.stack(bands, axis=1) if bands else np.zeros((len(member), 0))
        return Appearance(area, means, mean(self.contrast), mean(self.confidence))

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a card; NaN is None."""
        return {name: _plain(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Appearance:
        """Return the appearance that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: `data` is something else.
        """
        shares, contrast, confidence = (
            np.array([np.nan if value is None else float(value) for value in data[name]])
            for name in ("shares", "contrast", "confidence")
        )
        means = [[np.nan if value is None else float(value) for value in row] for row in data["means"]]
        return cls(shares, np.array(means, np.float64).reshape(len(means), -1), contrast, confidence)


def _rounded(values: Any) -> Floats:
    """The values to `_DIGITS` significant digits."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in np.ravel(values)]).reshape(np.shape(values))


def _plain(values: Floats) -> Any:
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [None if np.isnan(value) else value for value in values.tolist()]
