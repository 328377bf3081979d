"""A Gaussian mixture of superpixel colour and contrast: training starts from it and stays anchored to it.

A network with random weights that maximises mutual information finds some partition of the imagery, a different one
for every seed. The mixture finds the partition that colour and contrast suggest, within seconds. The network first
learns the mixture, then improves on it with the context of each superpixel. This is an addition of ours to InMARS.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.model.mixture import Mixture
from geoseg.recipes import Start
from geoseg.segments.views import View, views_of

_REGULARISATION = 1e-2
_MIN_RELATIVE_VARIANCE = 1e-4
_MIN_DEVIATION = 1e-6
_NO_VARIANCE = 1e-12
_NO_SHARE = 1e-12
"""Share of a component to which k-means gave no superpixel, where colours are fewer than classes. Its logarithm is
finite, and it wins nothing."""

LITTLE_COLOUR = 0.015
"""Colourfulness below which few classes start from brightness. Farmland, forest and suburbs from the air have 0.02 to
0.09, desert 0.007, and a dusty town seen from space 0.011."""

_INITIALISATIONS = 10
"""Runs of k-means. With one, the classes depend on the seed twice as much."""


def colourfulness(descriptors: NDArray[np.float32]) -> float:
    """Return the share of the variance of log brightness that is not common to all bands, in [0, 1).

    It is what the principal axes but the first of the covariance of the bands add up to. Where it is low, the bands
    differ by little more than noise, and a start from hue would part the noise.

    Args:
        descriptors: (n, bands + 1) float32, the view "hue" of superpixels.
    """
    bands = descriptors[:, :-1].astype(np.float64)
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(bands.T)))
    total = max(float(variances.sum()), _NO_VARIANCE)
    return max(float(variances[:-1].sum()), 0.0) / total


def fit_mixture(descriptors: NDArray[np.float32], classes: int, seed: int, start: Start) -> Mixture:
    """Fit a mixture by expectation maximisation, initialised by the best of ten runs of k-means.

    Each view is scaled by itself, then weighted (`geoseg.segments.views`). In the view "brightness", whose bands mostly
    agree, each descriptor is scaled to unit variance. In the others, the principal axes are, so that a small difference
    in hue counts as much as a large one in brightness. 0.01 is added to all variances of the components.

    Args:
        descriptors: (n, D) float32, with n at least `classes`.
        classes: Number of Gaussians K.
        seed: Seed of the fit.
        start: Kind of descriptors.
    """
    import threadpoolctl
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    samples = descriptors.astype(np.float64)
    offset = samples.mean(axis=0)
    axes = np.zeros((len(offset), len(offset)))
    views = views_of(start)
    for (view, weight), columns in zip(views, np.split(np.arange(len(offset)), len(views)), strict=True):
        axes[np.ix_(columns, columns)] = weight * _axes(np.cov(samples[:, columns].T), view)
    scaled = (samples - offset) @ axes
    # Threads of scikit-learn add up in an order of their own, and spin where they find no free core: on a busy machine
    # they take six times as long as one.
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        # Fewer distinct colours than classes, or a fit that has not fully converged, is nothing a user has to act on.
        warnings.simplefilter("ignore", ConvergenceWarning)
        members = KMeans(classes, n_init=_INITIALISATIONS, random_state=seed).fit_predict(scaled)
        start_of = _moments(scaled, members, classes)
        model: Any = GaussianMixture(classes, reg_covar=_REGULARISATION, random_state=seed, max_iter=100, **start_of)
        model.fit(scaled)
    deviation = samples.std(axis=0)
    deviation[deviation < _MIN_DEVIATION] = 1
    parts = offset, axes, model.weights_, model.means_, model.precisions_cholesky_, deviation
    return Mixture(start, *(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


def _moments(scaled: NDArray[np.float64], parts: NDArray[np.int32], classes: int) -> dict[str, NDArray[np.float64]]:
    """Return weights, means and precisions of the parts 0..classes - 1 of samples, as a mixture starts from them.

    An empty part has the variances of all samples.
    """
    counts = np.bincount(parts, minlength=classes)
    shares = np.maximum(counts / len(parts), _NO_SHARE)
    means, precisions = np.zeros((classes, scaled.shape[1])), np.tile(np.eye(scaled.shape[1]), (classes, 1, 1))
    for k in np.flatnonzero(counts):
        members = scaled[parts == k]
        means[k] = members.mean(axis=0)
        precisions[k] = np.linalg.inv(np.cov(members.T, bias=True) + _REGULARISATION * np.eye(scaled.shape[1]))
    return {"weights_init": shares / shares.sum(), "means_init": means, "precisions_init": precisions}


def _axes(covariance: NDArray[np.float64], view: View) -> NDArray[np.float64]:
    """Return the axes (D, D) that scale the descriptors of a view, by their covariance (D, D)."""
    if view == "brightness":
        variances, directions = np.diag(covariance), np.eye(len(covariance))
    else:
        variances, directions = np.linalg.eigh(covariance)
    min_variance = _MIN_RELATIVE_VARIANCE * max(float(variances.max()), _MIN_RELATIVE_VARIANCE)
    return np.asarray(directions / np.sqrt(np.maximum(variances, min_variance)))
