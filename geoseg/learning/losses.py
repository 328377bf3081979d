"""The losses of InMARS as pure functions of tensors, in float32.

InMARS clusters superpixels by maximising mutual information, and asks for invariance to adversarial pixel noise and to
spatial perturbations. Its hyper-parameters are not public, so the forms below are our reconstruction.

Shapes: B patches, R regions (padded), K classes. Label 0 (no superpixel) is not among the R regions. `area` (B, R)
holds pixels; it is 0 where a patch has fewer than R regions, and such entries do not contribute. `total` is the area
that a mean is over: where several processes share the patches of a step, the area of all of them, so that what the
processes compute adds up to the mean over all patches. Without it, it is the sum of `area`.

Entropies come from log-softmax: p log p computed from an exactly one-hot p has a gradient of NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geoseg.model.normalisation import frozen_statistics


def pool_weights(labels: Tensor, regions: int, stride: int) -> tuple[Tensor, Tensor]:
    """Return the weights with which `pool` takes exact region means, as prediction does.

    Args:
        labels: (B, H, W) int64 in [0, regions]; 0 belongs to no region. H and W are multiples of `stride`.
        regions: Number of regions R.
        stride: Pixels per cell of the logits, along each axis.

    Returns:
        weights: (B, R, cells) float32, the share of each cell in a region; rows sum to 1, or 0 for an absent region.
        area: (B, R) float32, pixels of each region.
    """
    B, H, W = labels.shape
    cells = (H // stride) * (W // stride)
    rows = torch.arange(H, device=labels.device) // stride * (W // stride)
    cell = rows[:, None] + torch.arange(W, device=labels.device) // stride
    patch = torch.arange(B, device=labels.device)[:, None, None] * ((regions + 1) * cells)
    counts = torch.zeros(B * (regions + 1) * cells, device=labels.device)
    # Integers below 2^24 add up exactly in float32, so the order of additions does not matter.
    counts.scatter_add_(0, (patch + labels * cells + cell).flatten(), torch.ones(B * H * W, device=labels.device))
    counts = counts.view(B, regions + 1, cells)[:, 1:]
    area = counts.sum(-1)
    return counts / area.clamp_min(1).unsqueeze(-1), area


def pool(logits: Tensor, weights: Tensor) -> Tensor:
    """Return the region means (B, R, K) of logits (B, K, h, w), with `weights` (B, R, h * w) of `pool_weights`."""
    return torch.bmm(weights, logits.float().flatten(2).transpose(1, 2))


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy, in nats, of softmax(logits) over the last axis of logits (..., K)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def shares_entropy(shares: Tensor) -> Tensor:
    """Return the entropy, in nats, of class shares (K,) that sum to 1."""
    # The clamp keeps the log of an underflowed class finite.
    return -(shares * shares.clamp_min(1e-30).log()).sum()


def conditional_entropy(logits: Tensor, area: Tensor, total: Tensor | None = None) -> Tensor:
    """Return mean_s H(p_s) in nats, weighted by area (B, R), of region logits (B, R, K).

    With `marginal`, one of the two terms of the mutual information of region and class, H(p_bar) - mean_s H(p_s)
    (Krause et al. 2010, RIM; Hu et al. 2017, IMSAT).
    """
    return (entropy(logits) * _normalised(area, total)).sum()


def marginal(logits: Tensor, area: Tensor, total: Tensor | None = None) -> Tensor:
    """Return p_bar (K,), the mean of the class probabilities of region logits (B, R, K), weighted by area (B, R)."""
    return torch.einsum("brk,br->k", logits.softmax(-1), _normalised(area, total))


def class_prior(classes: int, exponent: float) -> Tensor:
    """Return the expected class shares (K,) in descending order: 1 / rank^exponent, normalised.

    An exponent of 0 is uniform, 1 is Zipf's law (Zipf 1949). Land cover is closer to the latter.
    """
    shares = torch.arange(1, classes + 1, dtype=torch.float32) ** -exponent
    return shares / shares.sum()


def marginal_divergence(p_bar: Tensor, prior: Tensor) -> Tensor:
    """Return KL(sorted p_bar || prior) in nats, which leaves open which class has which share.

    For a uniform prior it equals log K - H(p_bar), the marginal term of mutual information.

    Args:
        p_bar: (K,), class shares in any order.
        prior: (K,), expected shares in descending order (`class_prior`).
    """
    # The derivative of p log p is finite for p > 0; the clamp keeps the log of an underflowed class finite.
    ranked = p_bar.sort(descending=True).values
    return (ranked * (ranked.clamp_min(1e-30).log() - prior.log())).sum()


def cross_entropy(target: Tensor, logits: Tensor, area: Tensor, total: Tensor | None = None) -> Tensor:
    """Return -mean_s sum_k target log softmax(logits) in nats, weighted by area.

    Args:
        target: (B, R, K) probabilities.
        logits: (B, R, K).
        area: (B, R).
        total: Area that the mean is over.
    """
    per_region = -(target * logits.log_softmax(-1)).sum(-1)
    return (per_region * area).sum() / _positive(area, total)


def divergence(target: Tensor, logits: Tensor, area: Tensor, total: Tensor | None = None) -> Tensor:
    """Return mean_s KL(softmax(target_s) || softmax(logits_s)) in nats, weighted by area.

    Args:
        target: (B, R, K) logits; no gradient flows into them.
        logits: (B, R, K).
        area: (B, R), 0 where a region is missing from either.
        total: Area that the mean is over.
    """
    log_t = target.detach().log_softmax(-1)
    kl = (log_t.exp() * (log_t - logits.log_softmax(-1))).sum(-1)
    return (kl * area).sum() / _positive(area, total)


def adversarial_noise(
    network: torch.nn.Module,
    image: Tensor,
    target: Tensor,
    weights: Tensor,
    area: Tensor,
    noise: Tensor,
    size: float,
    total: Tensor | None = None,
    probe: float = 0.01,
) -> Tensor:
    """Return the pixel noise that changes the classes of the regions most.

    One power iteration, as in virtual adversarial training (Miyato et al. 2018, algorithm 1), with sizes per value
    instead of per image. A sample whose gradient vanishes gets no noise, because normalising it would give NaN.

    Args:
        network: Maps images to logits.
        image: (B, C, H, W).
        target: (B, R, K), region logits of the clean image.
        weights: Of `pool_weights`.
        area: Of `pool_weights`.
        noise: (B, C, H, W), the random start of the iteration.
        size: Root mean square of the result.
        total: Area that the mean of the divergence is over.
        probe: Root mean square of the finite-difference step (xi in the paper).

    Returns:
        (B, C, H, W), without gradient.
    """
    step = (_unit(noise) * probe).requires_grad_(True)
    with frozen_statistics(network), torch.autocast(image.device.type, enabled=False):
        perturbed = pool(network(image.float() + step), weights)
        loss = divergence(target, perturbed, area, total)
    (gradient,) = torch.autograd.grad(loss, step)
    return (_unit(gradient) * size).detach()


def _normalised(area: Tensor, total: Tensor | None) -> Tensor:
    """Scale (B, R) to its part of a sum of 1; all zeros stay zeros."""
    return area / _positive(area, total)


def _positive(area: Tensor, total: Tensor | None) -> Tensor:
    return (area.sum() if total is None else total).clamp_min(1e-12)


def _unit(tensor: Tensor) -> Tensor:
    """Scale each sample to a root mean square of 1; a vanishing one becomes 0."""
    norm = tensor.flatten(1).norm(dim=1)
    scale = torch.where(
        norm > 1e-12, math.sqrt(math.prod(tensor.shape[1:])) / norm.clamp_min(1e-12), torch.zeros_like(norm)
    )
    return tensor * scale.view(-1, 1, 1, 1)
