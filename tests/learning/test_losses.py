"""Laws of the losses: finite where formulas are fragile, and equal to what they are meant to be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.learning.losses import (
    adversarial_noise,
    class_prior,
    conditional_entropy,
    cross_entropy,
    divergence,
    entropy,
    marginal,
    marginal_divergence,
    pool,
    pool_weights,
    shares_entropy,
)
from geoseg.model.normalisation import frozen_statistics
from geoseg.segments.regions import region_means


def mutual_information_loss(logits: Tensor, area: Tensor, mu: float) -> tuple[Tensor, Tensor]:
    """mean_s H(p_s) - mu H(p_bar), and p_bar."""
    p_bar = marginal(logits, area)
    return conditional_entropy(logits, area) - mu * shares_entropy(p_bar), p_bar


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers of a seed of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(2, 20), st.floats(-1e4, 1e4), st.integers(0, 100))
def test_entropy_is_within_its_bounds_and_ignores_a_shift(classes: int, shift: float, seed: int) -> None:
    logits = 5 * normal(7, classes, seed=seed).double()
    h = entropy(logits)
    assert ((h >= 0) & (h <= math.log(classes) + 1e-9)).all()
    assert torch.allclose(h, entropy(logits + shift), atol=1e-6)
    assert torch.allclose(h, torch.distributions.Categorical(logits=logits).entropy())


@pytest.mark.parametrize("size", [1e1, 1e2, 1e4])
@pytest.mark.parametrize("sign", [1, -1])
def test_entropy_and_its_gradient_are_finite_for_one_hot_logits(size: float, sign: int) -> None:
    logits = (sign * size * (2 * torch.eye(6) - 1)).requires_grad_()
    h = entropy(logits)
    h.sum().backward()
    assert torch.isfinite(h).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("mu", [0.5, 1.0, 4.0])
def test_mutual_information_and_its_gradient_are_finite_for_one_hot_logits(mu: float) -> None:
    logits = torch.full((1, 5, 6), -1e4)
    logits[..., 2] = 1e4
    logits.requires_grad_()
    loss, p_bar = mutual_information_loss(logits, torch.ones(1, 5), mu)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert p_bar[2] == 1


@pytest.mark.parametrize("classes", [2, 5, 27])
def test_information_of_a_perfect_uniform_clustering_is_log_k(classes: int) -> None:
    logits = (1e3 * torch.eye(classes)).repeat(3, 2, 1)
    loss, p_bar = mutual_information_loss(logits, torch.ones(3, 2 * classes), 1.0)
    assert -float(loss) == pytest.approx(math.log(classes), abs=1e-5)
    assert torch.allclose(p_bar, torch.full((classes,), 1 / classes))


def test_information_of_classes_that_do_not_depend_on_the_region_is_zero() -> None:
    loss, _ = mutual_information_loss(normal(4).expand(2, 9, 4), torch.ones(2, 9), 1.0)
    assert float(loss) == pytest.approx(0, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0, 3))
def test_information_is_weighted_by_area(seed: int, mu: float) -> None:
    area = torch.tensor([[1, 2, 0], [3, 0, 1]]).double()
    logits = normal(2, 3, 4, seed=seed).double()
    once = torch.cat([logits[b, r].repeat(int(n), 1) for b in range(2) for r, n in enumerate(area[b])])
    found, p_bar = mutual_information_loss(logits, area, mu)
    expected, p = mutual_information_loss(once[None], torch.ones(1, 7).double(), mu)
    assert float(found) == pytest.approx(float(expected), abs=1e-9)
    assert torch.allclose(p_bar, p)
    assert torch.allclose(marginal(logits, area), p)


def test_gradient_of_mutual_information_is_right() -> None:
    logits = normal(2, 5, 3).double().requires_grad_()
    area = torch.tensor([[4.0, 1.0, 2.0, 0.0, 7.0], [3.0, 3.0, 0.0, 0.0, 1.0]]).double()
    assert torch.autograd.gradcheck(lambda z: mutual_information_loss(z, area, 1.3)[0], (logits,))


def test_missing_regions_have_no_gradient() -> None:
    logits = normal(1, 4, 3).requires_grad_()
    mutual_information_loss(logits, torch.tensor([[5.0, 0.0, 2.0, 0.0]]), 1.0)[0].backward()
    assert not logits.grad[0, [1, 3]].any()
    assert logits.grad[0, [0, 2]].abs().min() > 0


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 4]), st.integers(1, 6), st.integers(1, 6), st.integers(1, 8))
def test_pooling_in_training_equals_pooling_in_prediction(
    seed: int, stride: int, rows: int, cols: int, regions: int
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, regions + 1, size=(2, rows * stride, cols * stride))
    field = random.normal(0, 5, size=(2, rows, cols, 3)).astype(np.float32)
    weights, area = pool_weights(torch.from_numpy(labels), regions, stride)
    pooled = pool(torch.from_numpy(field).permute(0, 3, 1, 2), weights)
    for b in range(2):
        means = region_means(field[b], labels[b].astype(np.int32), regions, stride, (0, 0))
        assert np.abs(pooled[b].numpy() - means[1:]).max() <= 2**-14
        assert area[b].tolist() == np.bincount(labels[b].ravel(), minlength=regions + 1)[1:].tolist()
    assert torch.allclose(weights.sum(-1), (area > 0).float())


def test_divergence_of_equals_is_zero_and_of_others_positive() -> None:
    z, area = normal(2, 6, 4), torch.ones(2, 6)
    assert float(divergence(z, z + 3, area)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(z, normal(2, 6, 4, seed=1), area)) > 0.1


def test_divergence_is_the_weighted_kullback_leibler_divergence() -> None:
    target, z = normal(2, 6, 4).double(), normal(2, 6, 4, seed=1).double()
    area = torch.arange(12).double().view(2, 6)
    kl = nn.functional.kl_div(z.log_softmax(-1), target.softmax(-1), reduction="none").sum(-1)
    assert float(divergence(target, z, area)) == pytest.approx(float((kl * area).sum() / area.sum()))


def test_divergence_has_no_gradient_into_its_target() -> None:
    target, z = normal(1, 3, 4).requires_grad_(), normal(1, 3, 4, seed=1).requires_grad_()
    divergence(target, z, torch.ones(1, 3)).backward()
    assert target.grad is None
    assert z.grad.abs().max() > 0


def test_divergence_without_any_region_is_zero() -> None:
    assert float(divergence(normal(1, 3, 4), normal(1, 3, 4, seed=1), torch.zeros(1, 3))) == 0


@given(st.integers(2, 40), st.floats(0, 3))
def test_expected_shares_fall_as_a_power_of_their_rank(classes: int, exponent: float) -> None:
    shares = class_prior(classes, exponent)
    assert (shares.shape, shares.dtype) == ((classes,), torch.float32)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
    expected = [rank**-exponent for rank in range(1, classes + 1)]
    assert shares.tolist() == pytest.approx([share / sum(expected) for share in expected], rel=1e-4)
    if exponent == 0:
        assert torch.equal(shares, torch.full((classes,), 1 / classes))


def shares(classes: int, seed: int) -> Tensor:
    """Random shares, float64."""
    return (2 * normal(classes, seed=seed)).double().softmax(0)


@given(st.integers(2, 20), st.integers(0, 100))
def test_for_equal_classes_the_marginal_divergence_is_what_mutual_information_asks_for(classes: int, seed: int) -> None:
    p_bar = shares(classes, seed)
    found = marginal_divergence(p_bar, class_prior(classes, 0.0).double())
    assert float(found) == pytest.approx(math.log(classes) - float(entropy(p_bar.log())), abs=1e-6)


@given(st.integers(2, 20), st.integers(0, 100), st.floats(0, 2))
def test_the_marginal_divergence_leaves_open_which_class_has_which_share(
    classes: int, seed: int, exponent: float
) -> None:
    p_bar, prior = shares(classes, seed), class_prior(classes, exponent).double()
    found = float(marginal_divergence(p_bar, prior))
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    assert float(marginal_divergence(p_bar[order], prior)) == pytest.approx(found, abs=1e-12)
    ranked = sorted(p_bar.tolist(), reverse=True)
    expected = sum(p * math.log(p / q) for p, q in zip(ranked, prior.tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-9)
    assert found >= -1e-9
    assert float(marginal_divergence(prior[order], prior)) == pytest.approx(0, abs=1e-9)


def test_gradient_of_the_marginal_divergence_is_right() -> None:
    prior = class_prior(6, 0.7).double()
    logits = normal(6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: marginal_divergence(z.softmax(0), prior), (logits,))


def test_the_marginal_divergence_and_its_gradient_are_finite_where_a_class_is_dead() -> None:
    p_bar = torch.tensor([0.0, 1.0, 0.0, 0.0], requires_grad=True)
    found = marginal_divergence(p_bar, class_prior(4, 0.7))
    found.backward()
    assert found.item() == pytest.approx(-math.log(class_prior(4, 0.7)[0].item()))
    assert torch.isfinite(p_bar.grad).all()


def divided(imbalance: float) -> Tensor:
    """Shares of two classes that a line through points learns: nine tenths of them lie far from the last tenth."""
    points = torch.cat([torch.linspace(-3, -1, 90), torch.linspace(2.5, 3, 10)]).double()
    slope, offset = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.0))
    prior, area = class_prior(2, imbalance).double(), torch.ones(1, 100).double()
    optimiser = torch.optim.Adam([slope, offset], lr=0.05)
    for _ in range(400):
        z = torch.stack([slope * points + offset, torch.zeros(100).double()], 1)[None]
        conditional, p_bar = mutual_information_loss(z, area, 0.0)
        loss = conditional + 8 * marginal_divergence(p_bar, prior)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.bincount(z[0].argmax(-1), minlength=2) / 100


def test_classes_of_unequal_size_stay_whole_where_unequal_ones_are_expected() -> None:
    """Nine to one is 1 / rank^3.17. Equal classes would cut the large one in two and give it the small one too."""
    assert divided(3.0).tolist() == pytest.approx([0.1, 0.9])
    equal = divided(0.0).tolist()
    assert 0.4 < equal[0] < 0.6


def test_cross_entropy_is_weighted_by_area_and_that_of_torch() -> None:
    z, area = normal(2, 6, 4).double(), torch.arange(12).double().view(2, 6)
    target = normal(2, 6, 4, seed=1).double().softmax(-1)
    each = nn.functional.cross_entropy(z.reshape(12, 4), target.reshape(12, 4), reduction="none").view(2, 6)
    found = cross_entropy(target, z, area)
    assert float(found) == pytest.approx(float((each * area).sum() / area.sum()))
    assert torch.autograd.gradcheck(lambda logits: cross_entropy(target, logits, area), (z.clone().requires_grad_(),))
    assert float(cross_entropy(target, z, torch.zeros(2, 6))) == 0
    assert float(cross_entropy(z.softmax(-1), z, area) - (entropy(z) * area).sum() / area.sum()) == pytest.approx(0)


class Small(nn.Module):
    """Logits at stride 4, smooth; with batch normalisation where asked for."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.head = nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            for i, weight in enumerate(self.parameters()):
                weight.copy_(normal(*weight.shape, seed=i))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.tanh(self.norm(self.first(image))))


def problem(network: nn.Module, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image, clean region logits, pooling weights and areas of three patches."""
    image = normal(3, 3, 16, 16, seed=seed)
    labels = torch.randint(0, 7, (3, 4, 4), generator=torch.Generator().manual_seed(seed))
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    weights, area = pool_weights(labels, 6, 4)
    with torch.no_grad(), frozen_statistics(network):
        return image, pool(network(image), weights), weights, area


@pytest.mark.parametrize("size", [0.01, 0.1, 1.0])
def test_root_mean_square_of_the_noise_is_its_size_in_each_sample(size: float) -> None:
    network = Small()
    image, z, weights, area = problem(network)
    noise = adversarial_noise(network, image, z, weights, area, normal(*image.shape, seed=5), size)
    assert not noise.requires_grad
    assert noise.flatten(1).square().mean(1).sqrt().tolist() == pytest.approx([size] * 3, rel=1e-5)


def test_a_vanishing_gradient_gives_no_noise() -> None:
    network = Small()
    image, z, weights, area = problem(network)
    area[1] = 0
    noise = adversarial_noise(network, image, z, weights, area, normal(*image.shape, seed=5), 0.1)
    assert torch.isfinite(noise).all()
    assert not noise[1].any()
    assert noise[0].any()
    nothing = adversarial_noise(network, image, z, weights, area, torch.zeros_like(image), 0.1)
    assert torch.isfinite(nothing).all()


def test_noise_leaves_network_and_gradients_as_they_were() -> None:
    network = Small(norm=True).train()
    image, z, weights, area = problem(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adversarial_noise(network, image, z, weights, area, normal(*image.shape, seed=5), 0.1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert network.norm.track_running_stats
    network(image)
    assert not torch.equal(network.norm.running_mean, before["norm.running_mean"])


@pytest.mark.parametrize("norm", [False, True])
def test_adversarial_noise_changes_classes_more_than_random_noise(norm: bool) -> None:
    network = Small(norm).train()
    for seed in range(5):
        image, z, weights, area = problem(network, seed)
        start = normal(*image.shape, seed=50 + seed)
        added = adversarial_noise(network, image, z, weights, area, start, 0.1)
        other = normal(*image.shape, seed=99 + seed)
        other *= 0.1 / other.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1)
        with torch.no_grad(), frozen_statistics(network):
            adversarial, random = (
                float(divergence(z, pool(network(image + r), weights), area)) for r in (added, other)
            )
        assert adversarial > 2 * random
