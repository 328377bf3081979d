"""A Gaussian mixture of superpixels by their colour and contrast: where training starts from, and what it leans on.

A network of random weights that maximises mutual information finds some division of the imagery, another one for every
seed. The mixture finds the one that colour and contrast suggest, in seconds; the network learns it first, and then
improves on it by what it sees around a superpixel. This is ours, not InMARS's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.recipes import Start
from geoseg.segments.regions import region_statistics

_DARK = 0.15
_FLOOR = 0.02
_REGULARISATION = 1e-2
_NARROWEST = 1e-4


def region_features(
    scaled: NDArray[np.float32], labels: NDArray[np.int32], count: int, start: Start
) -> NDArray[np.float32]:
    """Return (count, bands + 1): the mean of each superpixel 1..count in each band, and the log of its contrast.

    scaled: (bands, rows, cols) float32, 0 where a band is dark and 1 where it is bright. labels: (rows, cols) int32; 0
    belongs to none. Contrast is the standard deviation of the mean of all bands. For `start` "hue", means are of log
    brightness: light and shade multiply, and what tells water from asphalt is a ratio of bands.
    """
    clipped = np.clip(scaled, 0, 2)
    bands = np.log(clipped + np.float32(_DARK)) if start == "hue" else clipped
    statistics = region_statistics([*bands, clipped.mean(axis=0)], labels, count)
    return np.vstack([statistics.mean[:-1], np.log(statistics.std[-1] + _FLOOR)]).T.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians with full covariances in features that are shifted by `offset` (F,) and turned and scaled by `axes`
    (F, F).

    shares: (K,), their sum 1. means: (K, F). roots: (K, F, F), a Cholesky factor of each precision matrix. All float64.
    """

    offset: Tensor
    axes: Tensor
    shares: Tensor
    means: Tensor
    roots: Tensor

    def posterior(self, features: Tensor) -> Tensor:
        """Return p(k | features) (..., K), float32, of `features` (..., F)."""
        scaled = ((features.to(self.means.dtype) - self.offset) @ self.axes).unsqueeze(-2) - self.means
        distances = torch.einsum("...kf,kfg->...kg", scaled, self.roots).square().sum(-1)
        determinants = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (self.shares.log() + determinants - 0.5 * distances).softmax(-1).float()

    def to(self, device: torch.device) -> Mixture:
        """Return the mixture on `device`; in float32 where that has no float64 (Apple's)."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Mixture(**{name: value.to(device, dtype) for name, value in vars(self).items()})


def fit_mixture(features: NDArray[np.float32], classes: int, seed: int, start: Start) -> Mixture:
    """Return the mixture of `classes` Gaussians that expectation maximisation finds from k-means on `features` (n, F).

    Features are brought to a variance of 1: each of them for "brightness", in which all bands agree mostly; for "hue"
    their principal axes, so that a small difference of hue counts as much as a large one of brightness. 0.01 is added
    to all variances. n must be at least `classes`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    samples = features.astype(np.float64)
    offset = samples.mean(axis=0)
    covariance = np.cov(samples.T)
    if start == "hue":
        variances, directions = np.linalg.eigh(covariance)
    else:
        variances, directions = np.diag(covariance), np.eye(len(covariance))
    least = _NARROWEST * max(float(variances.max()), _NARROWEST)
    axes = directions / np.sqrt(np.maximum(variances, least))
    model: Any = GaussianMixture(classes, reg_covar=_REGULARISATION, random_state=seed, max_iter=100)
    with warnings.catch_warnings():
        # Imagery with fewer colours than classes, or a fit that could still be better, is no one's mistake.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((samples - offset) @ axes)
    parts = offset, axes, model.weights_, model.means_, model.precisions_cholesky_
    return Mixture(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))
