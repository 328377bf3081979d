"""What a trained model is told to be worth: how sure it may be, and which classes it lost."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.fields import BRIGHT, DARK, STATS, fields_trainer, made_mixture
from helpers.models import as_saved, make_model
from helpers.models import with_experts as with_mixture
from numpy.typing import NDArray

from geoseg.config import ROUNDS
from geoseg.learning.imagery import Crop, Imagery
from geoseg.learning.judgement import judge, judged, with_experts
from geoseg.learning.patches import PatchSampler
from geoseg.learning.trainer import Trainer
from geoseg.model.file import Model
from geoseg.model.network import NetworkSpec
from geoseg.prediction.experts import tempered
from geoseg.prediction.stages import Stages
from geoseg.recipes import SuperpixelConfig

CERTAIN = (20.0, -20.0, -20.0)
"""Logits of a network that sees the first class in everything."""

VAGUE = made_mixture((DARK + 47, BRIGHT, 9000), 1 / 25)
"""Gives what is bright to the second class with a probability of 0.7, else to the first; nothing is of the third."""


def trained(trainer: Trainer) -> Model:
    """The model of a trainer, without experts."""
    return replace(make_model(classes=3), network=trainer.network, stats=STATS, superpixels=SuperpixelConfig(16))


def test_a_class_that_only_the_mixture_knows_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = fields_trainer(VAGUE, CERTAIN)
    with caplog.at_level(logging.WARNING):
        model = with_experts(trained(trainer), trainer, tmp_path / "m.safetensors")
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path / 'm.safetensors'}: class 2 (5")
    assert "--seed" in said
    assert "%), which colour alone sees" in said
    assert model.experts is not None
    assert model.experts.mixture.start == "brightness"
    found = judge(model, trainer.sampler, trainer.device, trainer.precision)
    assert list(found.lost) == [2]
    assert 0.4 < found.lost[2] < 0.6


def test_a_class_that_colour_is_sure_of_is_not_lost_to_a_network_that_never_gives_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = fields_trainer(made_mixture((DARK, BRIGHT, 9000), 1 / 5), CERTAIN)
    with caplog.at_level(logging.WARNING):
        with_experts(trained(trainer), trainer, Path("m.safetensors"))
    assert caplog.messages == []


def previewed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples that are previewed from now on."""
    samples: list[int] = []
    preview = PatchSampler.preview
    monkeypatch.setattr(PatchSampler, "preview", lambda own, sample: samples.append(sample) or preview(own, sample))
    return samples


@pytest.mark.parametrize(("enough", "count"), [(1, 12), (30, 30), (1000, 96), (math.inf, 96)])
def test_as_many_patches_are_judged_as_cover_the_imagery(
    enough: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = fields_trainer(VAGUE, CERTAIN)
    monkeypatch.setattr(Imagery, "enough_patches", lambda *_: enough)
    samples = previewed(monkeypatch)
    with_experts(trained(trainer), trainer, Path("m.safetensors"))
    assert samples == list(range(count))


def test_the_mean_confidence_is_how_often_one_expert_alone_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is of the first class: the network always agrees, the mixture where it is dark."""
    trainer = fields_trainer(VAGUE, CERTAIN)
    samples = previewed(monkeypatch)
    model = with_experts(trained(trainer), trainer, Path("m.safetensors"))
    assert model.experts is not None
    stages = Stages(model, np.dtype(np.uint8), torch.device("cpu"), torch.float32, rounds=ROUNDS)
    area = dark = sure = plain = 0.0
    for sample in list(samples):
        crop, labels = trainer.sampler.preview(sample)
        described = stages.describe(crop.pixels, labels, int(labels.max()))
        logits = stages.forward(stages.normalise(crop.pixels, crop.valid)[None], (64, 64))[0]
        ids, confidence = stages.classify(logits, labels, int(labels.max()), described)
        assert (ids[1:] == 1).all()
        assert described is not None
        plain += tempered(stages.posterior(logits, labels, int(labels.max()), described)[1], 1.0)[labels].sum()
        of_dark = np.insert(described.descriptors[:, 0] < 110 / 255, 0, False)
        area, dark, sure = area + labels.size, dark + of_dark[labels].sum(), sure + confidence[labels].sum()
    assert sure / area == pytest.approx((1 + dark / area) / 2, abs=2e-3)
    assert abs(plain / area - sure / area) > 0.1
    assert model.experts.temperature != 1


class Always(torch.nn.Module):
    """Is sure of class 5."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = NetworkSpec("always", 3, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 5, H/4, W/4)."""
        return torch.tensor([0.0, 0, 0, 0, 9]).view(1, 5, 1, 1) + 0 * image[:, :1, ::4, ::4]


class TwoFields(PatchSampler):
    """Every patch is a bright field beside a dark one, in four superpixels."""

    counted: NDArray[np.bool_]

    def __init__(self, counted: NDArray[np.bool_]) -> None:
        few = SimpleNamespace(enough_patches=lambda size: size)
        for name, value in {"counted": counted, "imagery": few, "size": 1}.items():
            object.__setattr__(self, name, value)

    def preview(self, _: int) -> tuple[Crop, NDArray[np.int32]]:
        """The patch and its superpixels."""
        pixels = np.full((3, 64, 64), 200, np.uint8)
        pixels[:, :, 32:] = np.array([60, 20, 20], np.uint8)[:, None, None]
        labels = np.kron(np.array([[1, 2], [3, 4]], np.int32), np.ones((32, 32), np.int32))
        return Crop(pixels, np.ones((64, 64), bool), self.counted), labels


@pytest.mark.parametrize("counted", [[True, True], [True, False], [False, True]])
def test_only_pixels_that_count_are_judged(counted: list[bool]) -> None:
    """Of a masked data set, classes of the rest were never learnt, so none of them can be lost."""
    model = as_saved(replace(with_mixture(make_model(), exponents=(0.0, 1.0)), network=Always()))  # type: ignore[arg-type]
    sampler = TwoFields(np.repeat(counted, 32)[None].repeat(64, axis=0))
    lost = judge(model, sampler, torch.device("cpu"), torch.float32).lost
    fields = {4: 0.5, 2: 0.5}
    kept = {k: share for (k, share), counts in zip(fields.items(), counted, strict=True) if counts}
    assert lost == pytest.approx({k: share / sum(kept.values()) for k, share in kept.items()})


def test_each_class_is_seen_as_it_looks() -> None:
    """Bright and dark fields, told apart by the mixture; noise has a deviation of 2, and nothing is of class 3."""
    trainer = fields_trainer(made_mixture((DARK, BRIGHT, 9000), 1 / 5), (0.0, 0.0, 0.0))
    found = judged(trained(trainer), trainer, Path("m.safetensors")).appearance
    assert found is not None
    assert found.shares[2] == 0
    assert np.isnan(found.means[2]).all()
    assert found.shares[:2].sum() == pytest.approx(1, abs=1e-5)
    assert found.means[:2] == pytest.approx(np.array([[DARK - 0.5] * 3, [BRIGHT - 0.5] * 3]), abs=0.5)
    # Of the mean of three bands, as a share of the 255 from dark to bright; a few superpixels reach over the edge.
    least = 2 / 3**0.5 / 255
    assert (found.contrast[:2] > 0.95 * least).all()
    assert (found.contrast[:2] < 2 * least).all()
    assert (found.confidence[:2] > 0.5).all()


def test_a_model_without_a_mixture_is_looked_at_too() -> None:
    """Its network sees the first class everywhere."""
    trainer = fields_trainer(None, (3.0, 0.0, 0.0))
    model = judged(trained(trainer), trainer, Path("m.safetensors"))
    assert model.experts is None
    assert model.appearance is not None
    assert model.appearance.shares.tolist() == [1, 0, 0]
    assert DARK < model.appearance.means[0, 0] < BRIGHT
    assert model.appearance.confidence[0] == pytest.approx(1 / (1 + 2 * math.exp(-3)), rel=1e-3)


def test_pixels_that_do_not_count_are_not_looked_at() -> None:
    model = as_saved(replace(with_mixture(make_model(), exponents=(0.0, 1.0)), network=Always()))  # type: ignore[arg-type]
    sampler = TwoFields(np.repeat([True, False], 32)[None].repeat(64, axis=0))
    found = judge(model, sampler, torch.device("cpu"), torch.float32).appearance
    assert found.means[4].tolist() == [200, 200, 200]
    assert found.shares.tolist() == [0, 0, 0, 0, 1]
