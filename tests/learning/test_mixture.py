"""The mixture that training starts from: its posteriors are those of scikit-learn."""

from __future__ import annotations

import io
import warnings
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geoseg.learning.mixture import colourfulness, fit_mixture
from geoseg.model.mixture import Mixture
from geoseg.recipes import Start
from geoseg.segments.views import views_of

STARTS = get_args(Start)


def groups(
    means: list[list[float]], counts: list[int], spread: float = 0.05, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points of Gaussians around `means`, and which each is of."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(means)), counts)
    return (np.array(means)[truth] + random.normal(0, spread, (len(truth), len(means[0])))).astype(np.float32), truth


def viewed(descriptors: NDArray[np.float32], start: Start) -> NDArray[np.float32]:
    """All views of superpixels whose neighbours are as they are."""
    return np.hstack([descriptors] * len(views_of(start)))


@pytest.mark.parametrize("start", STARTS)
def test_posterior_is_that_of_scikit_learn(start: Start) -> None:
    from sklearn.mixture import GaussianMixture

    random = np.random.default_rng(1)
    descriptors = (random.normal(size=(400, 4)) @ random.normal(size=(4, 4)) + 3).astype(np.float32)
    mixture = fit_mixture(descriptors, 5, 3, start)
    model = GaussianMixture(5)
    model.weights_, model.means_ = mixture.shares.numpy(), mixture.means.numpy()
    model.precisions_cholesky_ = mixture.roots.numpy()
    expected = model.predict_proba((descriptors.astype(float) - mixture.offset.numpy()) @ mixture.axes.numpy())
    found = mixture.posterior(torch.from_numpy(descriptors))
    assert (found.shape, found.dtype) == ((400, 5), torch.float32)
    assert np.abs(found.numpy() - expected).max() < 1e-5
    assert float((expected.max(axis=1) < 0.9).mean()) > 0.05
    patches = torch.from_numpy(descriptors).view(4, 100, 4)
    assert torch.equal(mixture.posterior(patches), found.view(4, 100, 5))


@pytest.mark.parametrize("start", STARTS)
def test_known_gaussians_are_found(start: Start) -> None:
    means = [[0.2, 0.3, -2.0], [0.8, 0.3, -2.0], [0.3, 0.9, -1.0]]
    descriptors, truth = groups(means, [600, 300, 100])
    descriptors, expected = viewed(descriptors, start), viewed(np.array(means, np.float32), start)
    mixture = fit_mixture(descriptors, 3, 0, start)
    found = mixture.posterior(torch.from_numpy(descriptors)).argmax(-1).numpy()
    of_truth = [int(np.bincount(found[truth == k]).argmax()) for k in range(3)]
    assert sorted(of_truth) == [0, 1, 2]
    assert (np.array(of_truth)[truth] == found).mean() > 0.99
    assert mixture.shares.numpy()[of_truth] == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
    back = mixture.means.numpy() @ np.linalg.inv(mixture.axes.numpy()) + mixture.offset.numpy()
    assert np.abs(back[of_truth] - expected).max() < 0.02


@pytest.mark.parametrize("start", STARTS)
def test_views_are_brought_to_a_variance_of_one_and_weighted(start: Start) -> None:
    random = np.random.default_rng(2)
    descriptors = (random.normal(size=(500, 3)) * [0.5, 1, 30] + [5, 0, -9]).astype(np.float32)
    descriptors[:, 0] += descriptors[:, 2] / 10
    descriptors = viewed(descriptors, start)
    mixture = fit_mixture(descriptors, 2, 0, start)
    axes = mixture.axes.numpy()
    scaled = (descriptors.astype(float) - mixture.offset.numpy()) @ axes
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5)
    covariance = np.cov(scaled.T)
    weights = {"brightness": [1], "hue": [1], "surroundings": [1, 0.5]}[start]
    for index, weight in enumerate(weights):
        columns = slice(3 * index, 3 * index + 3)
        assert np.allclose(np.diag(covariance)[columns], weight**2)
        assert np.allclose(covariance[columns, columns], weight**2 * np.eye(3), atol=1e-6) == (start != "brightness")
        assert not np.delete(axes[columns], np.arange(3 * index, 3 * index + 3), axis=1).any()
    if start == "brightness":
        assert np.array_equal(axes, np.diag(np.diag(axes)))


@pytest.mark.parametrize("start", STARTS)
def test_what_hardly_varies_is_not_blown_up(start: Start) -> None:
    """Below a hundredth of the largest deviation a descriptor is noise, of rounding mostly."""
    descriptors = (np.random.default_rng(2).normal(size=(500, 2)) * [0.002, 1]).astype(np.float32)
    descriptors = viewed(descriptors, start)
    least = 0.2 * min(weight for _, weight in views_of(start))
    axes = fit_mixture(descriptors, 2, 0, start).axes.numpy()
    assert np.abs((descriptors.astype(float) @ axes).std(axis=0, ddof=1)).min() == pytest.approx(least, rel=0.1)


def test_hue_counts_as_much_as_brightness_where_it_is_asked_for() -> None:
    """Two hues under a light that differs thirty times as much; contrast says nothing."""
    random = np.random.default_rng(4)
    hue, light = random.integers(0, 2, 800), random.normal(0, 1, 800)
    descriptors = np.stack([light + 0.03 * hue, light - 0.03 * hue, random.normal(0, 0.1, 800)], 1).astype(np.float32)
    right = {}
    for start in STARTS:
        views = viewed(descriptors, start)
        found = fit_mixture(views, 2, 0, start).posterior(torch.from_numpy(views)).argmax(-1).numpy()
        right[start] = max((found == hue).mean(), (found != hue).mean())
    assert min(right["hue"], right["surroundings"]) > 0.99
    assert right["brightness"] < 0.7


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", ["constant band", "grey", "one band", "almost constant"])
def test_degenerate_imagery_is_divided_all_the_same(start: Start, kind: str) -> None:
    plain, truth = groups([[0.2, -3.0], [0.8, -3.0]], [300, 300], spread=0.02)
    grey, contrast = plain[:, :1], plain[:, 1:]
    descriptors = {
        "constant band": np.hstack([grey, np.full_like(grey, 0.5), contrast]),
        "grey": np.hstack([grey, grey, grey, contrast]),
        "one band": plain,
        "almost constant": np.hstack([grey, 0.5 + 1e-6 * contrast, contrast]),
    }[kind]
    descriptors = viewed(descriptors, start)
    mixture = fit_mixture(descriptors, 2, 0, start)
    posterior = mixture.posterior(torch.from_numpy(descriptors))
    found = posterior.argmax(-1).numpy()
    assert max((found == truth).mean(), (found != truth).mean()) > 0.99
    assert torch.allclose(posterior.sum(-1), torch.ones(600))
    beside = torch.from_numpy(descriptors + np.float32(0.01))
    assert torch.isfinite(mixture.posterior(beside)).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("distinct", [1, 5])
def test_fewer_colours_than_classes_are_no_error_and_no_warning(start: Start, distinct: int) -> None:
    descriptors = np.random.default_rng(0).normal(size=(distinct, 4)).astype(np.float32).repeat(20, axis=0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        mixture = fit_mixture(descriptors, 8, 0, start)
    assert said == []
    assert (mixture.shares > 0).all()
    for sample in (descriptors, descriptors + 1, 1e4 * descriptors):
        posterior = mixture.posterior(torch.from_numpy(sample))
        assert torch.isfinite(posterior).all()
        assert torch.allclose(posterior.sum(-1), torch.ones(len(descriptors)))


@pytest.mark.parametrize("start", STARTS)
def test_equal_superpixels_are_of_a_width_that_is_added(start: Start) -> None:
    """0.01 to all variances: points that are one keep some doubt around them."""
    descriptors = np.array([[0.0, 0.0]] * 50 + [[1.0, 1.0]] * 50, np.float32)
    descriptors[:, 1] = np.random.default_rng(0).normal(size=100)
    mixture = fit_mixture(viewed(descriptors, start), 2, 0, start)
    precisions = mixture.roots @ mixture.roots.transpose(1, 2)
    narrowest = 1 / torch.linalg.eigvalsh(precisions).max()
    assert float(narrowest) == pytest.approx(1e-2, rel=0.1)


@pytest.mark.parametrize("start", STARTS)
def test_the_fit_goes_on_from_k_means(start: Start) -> None:
    """Two Gaussians around one point, one of them ten times as wide: k-means would cut both in two."""
    narrow, wide = (np.random.default_rng(1).normal(0, spread, (400, 2)) for spread in (0.1, 1.0))
    mixture = fit_mixture(viewed(np.vstack([narrow, wide]).astype(np.float32), start), 2, 0, start)
    places = np.array([[0, 0], [1, 1], [-1, 1], [-1, -1]], np.float32)
    posterior = mixture.posterior(torch.from_numpy(viewed(places, start))).argmax(-1)
    assert posterior[1:].tolist() == [1 - int(posterior[0])] * 3
    assert mixture.shares.tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_the_mixture_is_that_of_the_seed() -> None:
    descriptors = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    one, again, other = (fit_mixture(descriptors, 6, seed, "hue") for seed in (1, 1, 2))
    assert all(torch.equal(value, again.tensors()[name]) for name, value in one.tensors().items())
    assert not torch.equal(one.means, other.means)


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fit_mixture(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32), 4, 0, "hue")
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_mixture_survives_a_file() -> None:
    descriptors = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    mixture = fit_mixture(descriptors, 4, 0, "brightness")
    assert {value.dtype for value in mixture.tensors().values()} == {torch.float64}
    buffer = io.BytesIO()
    torch.save(dict(vars(mixture)), buffer)
    buffer.seek(0)
    loaded = Mixture(**torch.load(buffer, weights_only=True)).to(torch.device("cpu"))
    assert torch.equal(
        loaded.posterior(torch.from_numpy(descriptors)), mixture.posterior(torch.from_numpy(descriptors))
    )


def test_a_device_without_float64_gets_float32() -> None:
    """The posteriors in float32 are nearly those in float64; seen here without such a device."""
    descriptors = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    mixture = fit_mixture(descriptors, 4, 0, "hue")
    rough = Mixture("hue", **{name: value.float() for name, value in mixture.tensors().items()})
    sample = torch.from_numpy(descriptors)
    assert torch.allclose(rough.posterior(sample), mixture.posterior(sample), atol=1e-4)


@pytest.mark.parametrize("start", STARTS)
def test_the_deviation_of_the_descriptors_is_kept(start: Start) -> None:
    random = np.random.default_rng(5)
    descriptors = (random.normal(size=(300, 3)) * [0.5, 3, 0] + [5, 0, -9]).astype(np.float32)
    expected = [*descriptors[:, :2].astype(float).std(axis=0), 1] * len(views_of(start))
    assert fit_mixture(viewed(descriptors, start), 2, 0, start).deviation.numpy() == pytest.approx(expected)


def test_colourfulness_is_the_share_of_variance_that_bands_do_not_share() -> None:
    random = np.random.default_rng(0)
    light, contrast, noise = (random.normal(size=(2000, 1)).astype(np.float32) for _ in range(3))
    # Of two bands, sum and difference are the principal axes: the variance of noise against that of light.
    two = np.hstack([light + 0.2 * noise, light - 0.2 * noise, 9 * contrast])
    assert colourfulness(two) == pytest.approx(0.04 / 1.04, rel=0.1)
    for grey in (np.hstack([light] * 3 + [contrast]), np.hstack([light, contrast]), 0 * two):
        assert 0 <= colourfulness(grey) < 1e-6
