"""What the clusters of a model look like: in its card, merged, and refused where no training can have written it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import make_model

from geoseg.errors import InputError
from geoseg.model.appearance import Appearance
from geoseg.model.card import check_card
from geoseg.model.card_file import read_card
from geoseg.model.file import load_model, save_model

NAN = float("nan")


def three() -> Appearance:
    """Three clusters of two bands, the last of which was not seen."""
    return Appearance.of_sums([30, 10, 0], [[300, 60], [300, 20], [0, 0]], [3, 2, 0], [15, 10, 0])


def test_means_are_over_pixels_and_what_was_not_seen_has_none() -> None:
    found = three()
    assert found.shares.tolist() == [0.75, 0.25, 0]
    assert np.array_equal(found.means, [[10, 2], [30, 2], [NAN, NAN]], equal_nan=True)
    assert np.array_equal(found.contrast, [0.1, 0.2, NAN], equal_nan=True)
    assert np.array_equal(found.confidence, [0.5, 1, NAN], equal_nan=True)


def test_a_merged_class_has_the_means_of_its_clusters_by_area() -> None:
    found = three().merged([(1, 2), (3,), (2, 3)])
    assert found.shares.tolist() == [1, 0, 0.25]
    assert np.array_equal(found.means, [[15, 2], [NAN, NAN], [30, 2]], equal_nan=True)
    assert found.contrast[0] == pytest.approx(0.125)


def test_an_appearance_survives_its_model_file(tmp_path: Path) -> None:
    model = make_model(bands=2, classes=3)
    save_model(replace(model, appearance=three()), tmp_path / "m.safetensors")
    found = load_model(tmp_path / "m.safetensors").appearance
    assert found is not None
    assert found.to_json() == three().to_json()
    # As a card has it, without the constants that JSON lacks.
    assert Appearance.from_json(json.loads(json.dumps(three().to_json(), allow_nan=False))).shares.sum() == 1
    save_model(model, tmp_path / "old.safetensors")
    assert "appearance" not in read_card(tmp_path / "old.safetensors")
    assert load_model(tmp_path / "old.safetensors").appearance is None


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.pop("means"),
        lambda entry: entry.update(more=1),
        lambda entry: entry["shares"].append(0),
        lambda entry: entry["shares"].__setitem__(0, 1.5),
        lambda entry: entry["shares"].__setitem__(0, None),
        lambda entry: entry["means"][0].append(1),
        lambda entry: entry["means"].__setitem__(0, 7),
        lambda entry: entry["contrast"].__setitem__(0, "0.1"),
        lambda entry: entry["confidence"].__setitem__(0, -1),
    ],
)
def test_an_appearance_that_no_training_writes_is_refused(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    save_model(replace(make_model(bands=2, classes=3), appearance=three()), tmp_path / "m.safetensors")
    card = read_card(tmp_path / "m.safetensors")
    del card["card_sha256"]
    check_card(card)
    change(card["appearance"])
    with pytest.raises(InputError, match="invalid entry for the appearance"):
        check_card(card)
