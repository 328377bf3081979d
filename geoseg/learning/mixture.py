"""A Gaussian mixture of superpixel colour and contrast: training starts from it and stays anchored to it.

A network with random weights that maximises mutual information finds some partition of the imagery, a different one
for every seed. The mixture finds the partition that colour and contrast suggest, within seconds. The network first
learns the mixture, then improves on it with the context of each superpixel. This is an addition of ours to InMARS.
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

_BRIGHTNESS_OFFSET = 0.15
_CONTRAST_OFFSET = 0.02
"""Both keep the logarithm of something dark or even from following noise."""

_REGULARISATION = 1e-2
_MIN_RELATIVE_VARIANCE = 1e-4


def region_descriptors(
    scaled: NDArray[np.float32], labels: NDArray[np.int32], count: int, start: Start
) -> NDArray[np.float32]:
    """Return the descriptors of superpixels: mean of each band, and log contrast.

    Contrast is the standard deviation of the mean of all bands. With `start` "hue", the means are those of log
    brightness: light and shade act as a factor, so ratios of bands separate water from asphalt.

    Args:
        scaled: (bands, rows, cols) float32, 0 at a band's dark end and 1 at its bright end.
        labels: (rows, cols) int32, superpixels 1..count; 0 belongs to none.
        count: Number of superpixels.
        start: Kind of descriptors.

    Returns:
        (count, bands + 1) float32.
    """
    clipped = np.clip(scaled, 0, 2)
    bands = np.log(clipped + np.float32(_BRIGHTNESS_OFFSET)) if start == "hue" else clipped
    statistics = region_statistics([*bands, clipped.mean(axis=0)], labels, count)
    contrast = np.log(statistics.std[-1] + _CONTRAST_OFFSET)
    return np.vstack([statistics.mean[:-1], contrast]).T.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians with full covariances, over D linearly transformed descriptors. All tensors are float64.

    Attributes:
        offset: (D,), subtracted from the descriptors.
        axes: (D, D), by which they are then multiplied.
        shares: (K,), weights of the components; their sum is 1.
        means: (K, D).
        roots: (K, D, D), a Cholesky factor of each precision matrix.
    """

    offset: Tensor
    axes: Tensor
    shares: Tensor
    means: Tensor
    roots: Tensor

    def posterior(self, descriptors: Tensor) -> Tensor:
        """Return p(k | descriptors), float32 (..., K), of `descriptors` (..., D)."""
        scaled = ((descriptors.to(self.means.dtype) - self.offset) @ self.axes).unsqueeze(-2) - self.means
        distances = torch.einsum("...kf,kfg->...kg", scaled, self.roots).square().sum(-1)
        determinants = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (self.shares.log() + determinants - 0.5 * distances).softmax(-1).float()

    def to(self, device: torch.device) -> Mixture:
        """Return the mixture on `device`, in float32 on MPS, which has no float64."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Mixture(**{name: value.to(device, dtype) for name, value in vars(self).items()})


def fit_mixture(descriptors: NDArray[np.float32], classes: int, seed: int, start: Start) -> Mixture:
    """Fit a mixture by expectation maximisation, initialised by k-means.

    For "brightness", whose bands mostly agree, each descriptor is scaled to unit variance. For "hue", the principal
    axes are, so that a small difference in hue counts as much as a large one in brightness. 0.01 is added to all
    variances of the components.

    Args:
        descriptors: (n, D) float32, with n at least `classes`.
        classes: Number of Gaussians K.
        seed: Seed of the fit.
        start: Kind of descriptors.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    samples = descriptors.astype(np.float64)
    offset = samples.mean(axis=0)
    covariance = np.cov(samples.T)
    if start == "hue":
        variances, directions = np.linalg.eigh(covariance)
    else:
        variances, directions = np.diag(covariance), np.eye(len(covariance))
    min_variance = _MIN_RELATIVE_VARIANCE * max(float(variances.max()), _MIN_RELATIVE_VARIANCE)
    axes = directions / np.sqrt(np.maximum(variances, min_variance))
    model: Any = GaussianMixture(classes, reg_covar=_REGULARISATION, random_state=seed, max_iter=100)
    with warnings.catch_warnings():
        # Fewer distinct colours than classes, or a fit that has not fully converged, is nothing a user has to act on.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((samples - offset) @ axes)
    parts = offset, axes, model.weights_, model.means_, model.precisions_cholesky_
    return Mixture(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))
