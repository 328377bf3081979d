"""Folding batch normalisation changes the time a network takes, and nothing else."""

from __future__ import annotations

import pytest
import torch
from helpers.models import make_model
from torch import nn

from geoseg.model.inference import inference_copy
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import settle_statistics


def trained_like(encoder: str) -> nn.Module:
    """A network whose normalisation layers have learnt something."""
    network = build(NetworkSpec(encoder, 3, 5), seed=2)
    generator = torch.Generator().manual_seed(1)
    settle_statistics(network, [3 * torch.randn(2, 3, 64, 64, generator=generator) + 1], torch.float32)
    return network.eval()


@pytest.mark.parametrize("encoder", ["compact", "mobilenet_v2", "resnet18", "efficientnet-b0"])
def test_folded_network_gives_the_same_logits(encoder: str) -> None:
    network = trained_like(encoder)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = inference_copy(network, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]
    image = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, found = network(image), folded(image)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


LEFT = {"compact": [], "mobilenet_v2": ["head.0"]}
"""Normalisation that cannot be folded: the one on joined features follows no convolution."""


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("encoder", LEFT)
def test_edges_are_there_after_folding(precision: torch.dtype, encoder: str) -> None:
    network = build(NetworkSpec(encoder, 3, 5, edges=True), seed=2)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    settle_statistics(network, [image], torch.float32)
    folded = inference_copy(network, torch.device("cpu"), precision)
    assert [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)] == LEFT[encoder]
    with torch.no_grad():
        expected, found = network(image), folded(image.to(precision))
    assert found.dtype == precision
    tolerance = 1e-4 if precision == torch.float32 else 0.1
    assert torch.allclose(found.float(), expected, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("encoder", LEFT)
def test_every_normalisation_that_follows_a_convolution_is_gone(encoder: str) -> None:
    folded = inference_copy(make_model(encoder=encoder).network, torch.device("cpu"), torch.float32)
    left = [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == LEFT[encoder]


def test_a_fold_that_would_change_the_result_is_not_made() -> None:
    """A convolution whose output is also used elsewhere must keep its normalisation apart."""

    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spec = NetworkSpec("forked", 3, 4)
            self.convolution, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            plain = self.convolution(image)
            normal: torch.Tensor = self.norm(plain)
            return normal + plain

    network = Forked().eval()
    network.norm.running_mean.fill_(0.7)  # type: ignore[union-attr, operator]
    folded = inference_copy(network, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(folded(image), network(image), atol=1e-5)


@pytest.mark.parametrize("encoder", LEFT)
def test_bfloat16_is_used_throughout(encoder: str) -> None:
    folded = inference_copy(make_model(encoder=encoder).network, torch.device("cpu"), torch.bfloat16)
    assert {value.dtype for value in folded.parameters()} == {torch.bfloat16}
    assert folded(torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16
