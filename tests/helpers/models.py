"""Small untrained models whose maps are varied."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.model.file import Model
from geoseg.model.mixture import Experts, Mixture
from geoseg.model.network import NetworkSpec, build
from geoseg.model.normalisation import settle_statistics
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start, SuperpixelConfig, WindowConfig
from geoseg.segments.views import dimensions
from helpers.rasters import landscape


def make_model(
    bands: int = 3, classes: int = 5, seed: int = 0, encoder: str = TrainConfig.encoder, **windows: int
) -> Model:
    """An untrained network with logits strong enough to give a varied map; 128-px windows that overlap by 32."""
    network = build(NetworkSpec(encoder, bands, classes), seed).eval()
    # Normalised for imagery of its kind, and without a favourite, an untrained network gives a varied map.
    image = torch.from_numpy((landscape(128, 128, bands).astype(np.float32) - 120) / 50)[None]
    settle_statistics(network, [image], torch.float32)
    with torch.no_grad():
        network.head[-1].bias -= network(image).mean(dim=(0, 2, 3))
    names = ("red", "green", "blue", "nir")[:bands]
    stats = BandStats((120.0,) * bands, (50.0,) * bands, (10.0,) * bands, (230.0,) * bands, 1000)
    return Model(
        network,
        tuple(names),
        "uint8",
        stats,
        SuperpixelConfig(size=8, iterations=3),
        WindowConfig(**{"tile_size": 128, "overlap": 32, **windows}),
        ClassMap.default(classes),
        {"recipe": {"name": "test"}, "steps": 0, "data": {"scenes": 0, "pixels": 0}, "versions": {}},
    )


def with_experts(model: Model, start: Start = "hue", **settings: Any) -> Model:
    """The model with a mixture whose Gaussians lie among the descriptors of landscapes."""
    random, D, K = np.random.default_rng(0), dimensions(start, len(model.bands)), len(model.classes)
    parts = (
        np.full(D, -1.0), np.eye(D) + 0.1, random.dirichlet(np.full(K, 5.0)), random.normal(0, 0.7, (K, D)),
        np.stack([np.triu(random.normal(0, 0.2, (D, D)), 1) + np.diag(random.uniform(0.5, 2, D)) for _ in range(K)]),
        np.full(D, 0.5),
    )  # fmt: skip
    experts = Experts.of(Mixture(start, *map(torch.from_numpy, parts)))
    return replace(model, experts=replace(experts, **settings))


def as_saved(model: Model) -> Model:
    """The model as if it had been saved, which a network of a test's own cannot be."""
    known = copy.copy(model)
    object.__setattr__(known, "sha256", "0" * 64)
    return known
