"""The losses of InMARS, as pure functions of tensors, in float32.

InMARS clusters superpixels by maximising mutual information, with adversarial pixel noise and spatial
perturbations as invariances; its hyper-parameters are not public, so the forms below are our
reconstruction. Shapes: B patches, R regions (padded), K classes. Region 0 of no superpixel is not among
the R; `area` (B, R) is 0 where a patch has fewer regions, and such entries take no part.

Entropies are computed from log-softmax only: with an exactly one-hot p the gradient of p log p is NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geoseg.model.network import frozen_statistics


def pool_weights(labels: Tensor, regions: int, stride: int) -> tuple[Tensor, Tensor]:
    """Return (weights, area) with which `pool` takes exact region means, as prediction does.

    labels: (B, H, W) int64 in [0, regions], sides multiples of `stride`; 0 belongs to no region.
    weights: (B, R, cells) float32: the share of each cell in a region, rows summing to 1 (or 0).
    area: (B, R) float32, pixels of each region.
    """
    B, H, W = labels.shape
    cells = (H // stride) * (W // stride)
    rows = torch.arange(H, device=labels.device) // stride * (W // stride)
    cell = rows[:, None] + torch.arange(W, device=labels.device) // stride
    patch = torch.arange(B, device=labels.device)[:, None, None] * ((regions + 1) * cells)
    counts = torch.zeros(B * (regions + 1) * cells, device=labels.device)
    # Whole numbers below 2^24 add up exactly in float32, so the order of the additions does not matter.
    counts.scatter_add_(0, (patch + labels * cells + cell).flatten(), torch.ones(B * H * W, device=labels.device))
    counts = counts.view(B, regions + 1, cells)[:, 1:]
    area = counts.sum(-1)
    return counts / area.clamp_min(1).unsqueeze(-1), area


def pool(logits: Tensor, weights: Tensor) -> Tensor:
    """Return region means (B, R, K) of logits (B, K, h, w).

    weights: (B, R, h*w) float32; row r holds each cell's share of region r and sums to 1 (or is 0).
    """
    return torch.bmm(weights, logits.float().flatten(2).transpose(1, 2))


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats over the last axis of logits (..., K)."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def marginal(logits: Tensor, area: Tensor) -> Tensor:
    """Return p_bar (K,), the area-weighted mean of the region probabilities; logits (B, R, K), area (B, R)."""
    share = area / area.sum().clamp_min(1e-12)
    return torch.einsum("brk,br->k", logits.softmax(-1), share)


def mutual_information_loss(logits: Tensor, area: Tensor, mu: float) -> tuple[Tensor, Tensor]:
    """Return (loss, p_bar): mean_s H(p_s) - mu * H(p_bar) of region logits (B, R, K) with area (B, R), in nats.

    The negative mutual information of region and class for mu = 1 (Krause et al. 2010, RIM; Hu et al. 2017, IMSAT).
    """
    share = area / area.sum().clamp_min(1e-12)
    conditional = (entropy(logits) * share).sum()
    p_bar = marginal(logits, area)
    # The derivative of -p log p is finite for p > 0; the clamp keeps log of an underflowed class finite.
    marginal_entropy = -(p_bar * p_bar.clamp_min(1e-30).log()).sum()
    return conditional - mu * marginal_entropy, p_bar


def class_prior(classes: int, exponent: float) -> Tensor:
    """Return the shares (K,) that classes are expected to have, in descending order: 1 / rank^exponent, normalised.

    0 is uniform; 1 is the law that Zipf 1949 found for words. Land cover is nearer to it than to the uniform.
    """
    shares = torch.arange(1, classes + 1, dtype=torch.float32) ** -exponent
    return shares / shares.sum()


def marginal_divergence(p_bar: Tensor, prior: Tensor) -> Tensor:
    """Return KL(p_bar, in descending order || prior), both (K,), in nats: which class has which share is left open.

    For a uniform prior it is log K - H(p_bar): what mutual information asks for.
    """
    # The derivative of p log p is finite for p > 0; the clamp keeps log of an underflowed class finite.
    ranked = p_bar.sort(descending=True).values
    return (ranked * (ranked.clamp_min(1e-30).log() - prior.log())).sum()


def cross_entropy(target: Tensor, logits: Tensor, area: Tensor) -> Tensor:
    """Return -mean_s sum_k target log softmax(logits) of probabilities `target` (B, R, K), weighted by area (B, R)."""
    each = -(target * logits.log_softmax(-1)).sum(-1)
    return (each * area).sum() / area.sum().clamp_min(1e-12)


def divergence(target: Tensor, logits: Tensor, area: Tensor) -> Tensor:
    """Return mean_s KL(softmax(target_s) || softmax(logits_s)), weighted by area, without gradient into `target`.

    target, logits: (B, R, K); area: (B, R), 0 where a region is missing from either.
    """
    log_t = target.detach().log_softmax(-1)
    kl = (log_t.exp() * (log_t - logits.log_softmax(-1))).sum(-1)
    return (kl * area).sum() / area.sum().clamp_min(1e-12)


def adversarial_noise(
    network: torch.nn.Module,
    image: Tensor,
    target: Tensor,
    weights: Tensor,
    area: Tensor,
    noise: Tensor,
    size: float,
    probe: float = 0.01,
) -> Tensor:
    """Return the pixel noise (B, C, H, W) of root mean square `size` that changes the region classes most.

    One power iteration from the random `noise` (B, C, H, W), as in virtual adversarial training (Miyato et
    al. 2018), scaled per value and not per image. A sample whose gradient vanishes gets no noise, as
    normalising it would give NaN. `probe` is xi, the root mean square of the finite-difference step.
    """
    step = (_unit(noise) * probe).requires_grad_(True)
    with frozen_statistics(network), torch.autocast(image.device.type, enabled=False):
        perturbed = pool(network(image.float() + step), weights)
        loss = divergence(target, perturbed, area)
    (gradient,) = torch.autograd.grad(loss, step)
    return (_unit(gradient) * size).detach()


def _unit(tensor: Tensor) -> Tensor:
    """Scale each sample to a root mean square of 1; a vanishing one to 0."""
    norm = tensor.flatten(1).norm(dim=1)
    scale = torch.where(norm > 1e-12, math.sqrt(tensor[0].numel()) / norm.clamp_min(1e-12), torch.zeros_like(norm))
    return tensor * scale.view(-1, 1, 1, 1)
