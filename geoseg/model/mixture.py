"""The Gaussian mixture of superpixel descriptors, and the experts of which a model is the product.

Two experts tell the class of a superpixel: the mixture from its colour and contrast, which training starts from, and
the network from its texture and surroundings. With r_s the mixture's posterior for superpixel s and z_s its mean
logits, both over K classes,
log p_s = a log(r_s + FLOOR) + b log((1 - DOUBT) softmax(z_s) + DOUBT / K)
(a product of experts; Hinton 2002, with exponents), of which `geoseg.prediction.experts` makes classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geoseg.recipes import Start
from geoseg.segments.views import dimensions

FLOOR = 1e-6
"""Added to the probabilities of the mixture."""

_LARGEST = 1e9
"""Larger numbers are in no mixture: descriptors are below 10, and no variance is below 1e-12."""

DOUBT = 0.01
"""How far the network's probabilities are drawn to equal ones. A class that the network never gives, and of which the
mixture is certain, keeps its superpixels: what colour knows is not lost."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """K Gaussians with full covariances, over D linearly transformed descriptors. All tensors are float64.

    Attributes:
        start: What the descriptors are (`geoseg.segments.views`).
        offset: (D,), subtracted from the descriptors.
        axes: (D, D), by which they are then multiplied.
        shares: (K,), weights of the components; their sum is 1.
        means: (K, D).
        roots: (K, D, D), a Cholesky factor of each precision matrix.
        deviation: (D,), standard deviation of the descriptors that the mixture was fitted to; 1 for constant ones.
    """

    start: Start
    offset: Tensor
    axes: Tensor
    shares: Tensor
    means: Tensor
    roots: Tensor
    deviation: Tensor

    def posterior(self, descriptors: Tensor) -> Tensor:
        """Return p(k | descriptors), float32 (..., K), of `descriptors` (..., D)."""
        scaled = ((descriptors.to(self.means.dtype) - self.offset) @ self.axes).unsqueeze(-2) - self.means
        distances = torch.einsum("...kf,kfg->...kg", scaled, self.roots).square().sum(-1)
        determinants = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (self.shares.log() + determinants - 0.5 * distances).softmax(-1).float()

    def to(self, device: torch.device) -> Mixture:
        """Return the mixture on `device`, in float32 on MPS, which has no float64."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return Mixture(self.start, **{name: value.to(device, dtype) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {name: value for name, value in vars(self).items() if name != "start"}


@dataclass(frozen=True, eq=False)
class Experts:
    """What a model knows of a superpixel besides its network, and how both are combined and smoothed.

    Attributes:
        mixture: The mixture that training started from, on the CPU.
        exponents: a and b, of the mixture's and of the network's probabilities; at least 0.
        coupling: Weight of the neighbours in smoothing, at least 0.
        temperature: Divides the logarithm of the probabilities that become confidence, greater than 0. It changes no
            class.
    """

    mixture: Mixture
    exponents: tuple[float, float] = (0.5, 0.5)
    coupling: float = 6.0
    temperature: float = 1.0

    @classmethod
    def of(cls, mixture: Mixture) -> Experts:
        """Return the experts of a training that started from `mixture`."""
        return cls(mixture.to(torch.device("cpu")))

    @classmethod
    def untrained(cls, bands: int, classes: int, start: Start) -> Experts:
        """Return experts whose mixture knows nothing: every class has the same Gaussian."""
        D, K = dimensions(start, bands), classes
        one = torch.ones(D, dtype=torch.float64)
        zeros, roots = torch.zeros(K, D, dtype=torch.float64), torch.diag(one).repeat(K, 1, 1)
        shares = torch.full((K,), 1 / K, dtype=torch.float64)
        return cls.of(Mixture(start, 0 * one, torch.diag(one), shares, zeros, roots, one))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, float64."""
        return self.mixture.tensors()

    def to_json(self) -> dict[str, Any]:
        """Return what is not a tensor."""
        return {
            "start": self.mixture.start,
            "exponents": list(self.exponents),
            "coupling": self.coupling,
            "temperature": self.temperature,
        }

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], bands: int, classes: int) -> Experts:
        """Return the experts that `to_json` and `tensors` described.

        Args:
            entry: Entry of a card that `geoseg.model.card.check_card` accepts.
            tensors: Finite tensors by name.
            bands: Number of bands of the model.
            classes: Its number of classes.

        Raises:
            ValueError: The tensors do not fit the model, or one another.
        """
        D, K = dimensions(entry["start"], bands), classes
        shapes = {
            "offset": (D,), "axes": (D, D), "shares": (K,), "means": (K, D), "roots": (K, D, D), "deviation": (D,),
        }  # fmt: skip
        found = {name: tuple(value.shape) for name, value in tensors.items() if value.dtype == torch.float64}
        if found != shapes or len(found) != len(tensors):
            raise ValueError("the tensors of its mixture have other names, shapes or types")
        positive = (tensors["shares"], tensors["deviation"], tensors["roots"].diagonal(dim1=-2, dim2=-1))
        if not all(bool((values > 0).all()) for values in positive):
            raise ValueError("its mixture has shares, deviations or roots that are not positive")
        reach = max(float(tensors[name].abs().max()) for name in ("offset", "axes", "means", "roots"))
        if reach > _LARGEST or not tensors["axes"].any():
            raise ValueError("its mixture has means or axes that no imagery leads to")
        mixture = Mixture(entry["start"], **tensors)
        a, b = entry["exponents"]
        return replace(
            cls.of(mixture),
            exponents=(float(a), float(b)),
            coupling=float(entry["coupling"]),
            temperature=float(entry["temperature"]),
        )
