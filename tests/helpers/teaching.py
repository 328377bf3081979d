"""Models that were taught: by any references, and by those of a landscape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geoseg.classes import ClassMap, LandClass
from geoseg.model.file import Model
from geoseg.model.teaching import References, Teaching, feature_count
from geoseg.naming.fitting import fit_teaching, standardisation
from geoseg.prediction.stages import Stages
from geoseg.prediction.taught import start_of
from helpers.rasters import landscape

NAMES = ("field", "forest", "water")


def references_of(model: Model, count: int = 30, seed: int = 0) -> References:
    """References of three classes, of dark, medium and bright squares of a landscape."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:128, :128] // 8
    labels, pixels = (16 * rows + cols + 1).astype(np.int32), landscape(128, 128, len(model.bands), seed)
    stages = Stages(model, np.dtype("uint8"), torch.device("cpu"), torch.float32, teaching=True)
    described = stages.describe(pixels, labels, 256)
    assert described is not None
    assert described.features is not None
    order = described.features[:, 0].argsort()
    classes = np.arange(count) * len(NAMES) // count
    chosen = order[(np.arange(count) * 255) // (count - 1)]
    shares = random.dirichlet(np.full(model.spec.classes, 0.5), len(NAMES))
    clusters = (shares[classes] + random.dirichlet(np.full(model.spec.classes, 0.5), count)) / 2
    places = np.column_stack([np.zeros(count), np.arange(count) + 1, *random.integers(0, 2000, (2, count))])
    return References(
        described.features[chosen], clusters.astype(np.float32), classes.astype(np.int64), places.astype(np.int64)
    )


def basis_of(model: Model) -> Teaching:
    """A teaching without references."""
    D, K, C = feature_count(start_of(model), len(model.bands)), model.spec.classes, len(NAMES)
    centre, deviation = standardisation(references_of(model).features)
    return Teaching(
        NAMES, model.classes, start_of(model), np.full((K, C), 1 / C), centre, deviation,
        np.zeros((C, D)), np.zeros(C), References.none(D, K), ("0" * 64,), 1.3,
    )  # fmt: skip


def taught(model: Model) -> Model:
    """The model after it was taught three classes; of which the ids are not those of its outputs."""
    classes = ClassMap(
        tuple(replace(LandClass.default(7 + i), name=name, clusters=(3 - i,)) for i, name in enumerate(NAMES))
    )
    teaching = fit_teaching(basis_of(model), references_of(model, 60))
    return replace(model, teaching=replace(teaching, exponent=0.7), classes=classes)
