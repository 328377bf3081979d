"""The experts of a model file: what is loaded is what was saved, and none that does not fit is ever used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import make_model, with_experts
from safetensors.torch import load_file, save_file

from geoseg.errors import InputError
from geoseg.model.card import sealed
from geoseg.model.card_file import read_card
from geoseg.model.file import Model, _digest, load_model, save_model
from geoseg.model.mixture import Experts


@pytest.fixture(scope="module")
def model() -> Model:
    return with_experts(make_model(), exponents=(0.25, 1.0), coupling=3.0, temperature=2.0)


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_experts_that_are_loaded_are_those_that_were_saved(model: Model, saved: Path, tmp_path: Path) -> None:
    loaded = load_model(saved)
    assert loaded.experts is not None
    assert model.experts is not None
    assert loaded.experts.to_json() == model.experts.to_json()
    assert loaded.experts.to_json() == {"start": "hue", "exponents": [0.25, 1.0], "coupling": 3.0, "temperature": 2.0}
    for name, value in model.experts.tensors().items():
        assert torch.equal(loaded.experts.tensors()[name], value), name
    assert save_model(loaded, tmp_path / "again.safetensors").sha256 == loaded.sha256


def test_a_model_without_experts_has_none_of_them_in_its_file(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "model.safetensors")
    assert "experts" not in read_card(tmp_path / "model.safetensors")
    assert not [name for name in load_file(tmp_path / "model.safetensors") if name.startswith("experts")]
    assert load_model(tmp_path / "model.safetensors").experts is None


@pytest.mark.parametrize("name", ["shares", "deviation"])
def test_experts_that_were_changed_in_place_are_not_those_of_the_file(saved: Path, name: str) -> None:
    loaded = load_model(saved)
    assert loaded.experts is not None
    assert not loaded.changed
    loaded.experts.tensors()[name][0] += 0.5
    assert loaded.changed


def test_other_experts_make_another_model(saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.experts is not None
    assert replace(loaded, experts=replace(loaded.experts, coupling=1.0)).sha256 is None


ENTRIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no start": lambda entry: entry.pop("start"),
    "another start": lambda entry: entry.update(start="texture"),
    "a start that is none": lambda entry: entry.update(start=["hue"]),
    "one exponent": lambda entry: entry.update(exponents=[0.5]),
    "a negative exponent": lambda entry: entry.update(exponents=[0.5, -0.5]),
    "exponents of words": lambda entry: entry.update(exponents="ab"),
    "a coupling that is none": lambda entry: entry.update(coupling=None),
    "no temperature": lambda entry: entry.update(temperature=0),
    "no exponent": lambda entry: entry.update(exponents=[0, 0]),
    "a coupling beyond numbers": lambda entry: entry.update(coupling=1e300),
    "an exponent beyond numbers": lambda entry: entry.update(exponents=[0.5, 1e300]),
    "a temperature beyond numbers": lambda entry: entry.update(temperature=1e300),
    "more fields": lambda entry: entry.update(rounds=3),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_an_entry_that_no_model_can_have_is_refused(saved: Path, what: str) -> None:
    card = read_card(saved)
    ENTRIES[what](card["experts"])
    del card["card_sha256"]
    save_file(load_file(saved), saved, metadata={"geoseg": sealed(card)})
    with pytest.raises(InputError, match=rf"{saved.name}: its card has an invalid entry for the experts"):
        load_model(saved)


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "one too few": lambda state: state.pop("experts.means"),
    "one too many": lambda state: state.update({"experts.more": torch.zeros(1, dtype=torch.float64)}),
    "other classes": lambda state: state.update({"experts.shares": torch.full((4,), 0.25, dtype=torch.float64)}),
    "another type": lambda state: state.update({"experts.shares": torch.ones(5)}),
    "no deviation": lambda state: state["experts.deviation"].zero_(),
    "no precision": lambda state: state["experts.roots"].zero_(),
    "means beyond numbers": lambda state: state["experts.means"].mul_(1e300),
    "no axes": lambda state: state["experts.axes"].zero_(),
    "none": lambda state: [state.pop(name) for name in list(state) if name.startswith("experts.")],
}


def with_tensors(path: Path, card: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    del card["card_sha256"]
    save_file(state, path, metadata={"geoseg": sealed(card | {"tensors_sha256": _digest(state)})})


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_do_not_fit_are_refused(saved: Path, what: str) -> None:
    state = load_file(saved)
    TENSORS[what](state)
    with_tensors(saved, read_card(saved), state)
    with pytest.raises(InputError, match=rf"{saved.name}: its card and weights do not fit together \(.*copy it again"):
        load_model(saved)


def test_tensors_without_an_entry_are_refused(saved: Path) -> None:
    card = read_card(saved)
    del card["experts"]
    with_tensors(saved, card, load_file(saved))
    with pytest.raises(InputError, match=rf"{saved.name}: its card and weights do not fit together \(6 tensors differ"):
        load_model(saved)


def test_what_is_planned_before_a_training_has_experts_that_can_be_saved(tmp_path: Path) -> None:
    model = replace(make_model(), experts=Experts.untrained(3, 5, "hue"))
    loaded = load_model(tmp_path / "m.safetensors") if save_model(model, tmp_path / "m.safetensors") else None
    assert loaded is not None
    assert loaded.experts is not None
    assert json.loads(json.dumps(loaded.experts.to_json()))["exponents"] == [0.5, 0.5]
