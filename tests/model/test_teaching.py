"""What a model file keeps of its teaching: what is loaded is what was saved, and none that does not fit is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model, with_experts
from helpers.teaching import NAMES, references_of, taught
from safetensors.torch import load_file, save_file

from geoseg.errors import InputError
from geoseg.model.card import sealed
from geoseg.model.card_file import read_card
from geoseg.model.file import Model, _digest, load_model, save_model
from geoseg.model.rewriting import write_with_card
from geoseg.model.teaching import Teaching


@pytest.fixture(scope="module")
def model() -> Model:
    return taught(with_experts(make_model()))


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def teaching_of(model: Model) -> Teaching:
    assert model.teaching is not None
    return model.teaching


def test_what_is_loaded_is_what_was_saved(model: Model, saved: Path, tmp_path: Path) -> None:
    loaded = load_model(saved)
    assert teaching_of(loaded).to_json() == teaching_of(model).to_json()
    assert teaching_of(loaded).names == NAMES
    assert len(teaching_of(loaded).clusters) == 5, "the clusters are kept"
    assert loaded.classes == model.classes
    for name, value in teaching_of(model).tensors().items():
        assert torch.equal(teaching_of(loaded).tensors()[name], value), name
    assert save_model(loaded, tmp_path / "again.safetensors").sha256 == loaded.sha256
    assert not loaded.changed
    teaching_of(loaded).votes[0, 0] += 0.1
    assert loaded.changed


def test_a_model_that_was_not_taught_has_nothing_of_it_in_its_file(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "model.safetensors")
    assert "teaching" not in read_card(tmp_path / "model.safetensors")
    assert not [name for name in load_file(tmp_path / "model.safetensors") if name.startswith("teaching")]
    assert load_model(tmp_path / "model.safetensors").teaching is None


def test_a_model_without_experts_can_be_taught(tmp_path: Path) -> None:
    model = save_model(taught(make_model()), tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").teaching is not None
    assert model.experts is None


def test_classes_of_a_taught_model_are_renamed_as_any_others(saved: Path, tmp_path: Path) -> None:
    card = read_card(saved)
    card["classes"] = [{"id": 1, "name": "all of it", "colour": "#112233", "clusters": [1, 2, 3]}]
    write_with_card(saved, card, tmp_path / "other.safetensors")
    assert load_model(tmp_path / "other.safetensors").classes[1].clusters == (1, 2, 3)
    card["classes"][0]["clusters"] = [1, 2, 3, 4, 5]
    with pytest.raises(InputError, match="invalid entry for the classes"):
        write_with_card(saved, card, tmp_path / "other.safetensors")


ENTRIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no names": lambda entry: entry.update(names=[]),
    "a name twice": lambda entry: entry.update(names=["a", "a", "b"]),
    "an empty name": lambda entry: entry.update(names=["a", "", "b"]),
    "a number for a name": lambda entry: entry.update(names=["a", 1, "b"]),
    "fewer clusters": lambda entry: entry["clusters"].pop(),
    "no clusters": lambda entry: entry.update(clusters=None),
    "another start": lambda entry: entry.update(start="texture"),
    "a scene that is no digest": lambda entry: entry.update(scenes=["here"]),
    "no temperature": lambda entry: entry.update(temperature=0),
    "a negative exponent": lambda entry: entry.update(exponent=-1),
    "an exponent that is none": lambda entry: entry.update(exponent=None),
    "more fields": lambda entry: entry.update(rounds=3),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_a_card_with_another_entry_is_refused(saved: Path, case: str) -> None:
    card = read_card(saved)
    del card["card_sha256"]
    ENTRIES[case](card["teaching"])
    save_file(load_file(saved), saved, metadata={"geoseg": sealed(card)})
    with pytest.raises(InputError, match=r"invalid entry for the teaching.*the file was altered"):
        load_model(saved)


TENSORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "one less": lambda t: t.pop("teaching.votes"),
    "one more": lambda t: t.update({"teaching.more": t["teaching.votes"].clone()}),
    "of another type": lambda t: t.update({"teaching.votes": t["teaching.votes"].float()}),
    "of another shape": lambda t: t.update({"teaching.weights": t["teaching.weights"][:2].clone()}),
    "votes that are none": lambda t: t["teaching.votes"].fill_(1),
    "a negative deviation": lambda t: t["teaching.deviation"].fill_(-1),
    "a weight beyond numbers": lambda t: t["teaching.weights"].fill_(1e300),
    "a class that it does not have": lambda t: t["teaching.references.classes"].fill_(3),
    "a scene that it does not name": lambda t: t["teaching.references.places"].fill_(1),
    "no reference": lambda t: t.update({k: v[:0].clone() for k, v in t.items() if ".references." in k}),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_are_refused(saved: Path, case: str) -> None:
    card, tensors = read_card(saved), load_file(saved)
    del card["card_sha256"]
    TENSORS[case](tensors)
    card["tensors_sha256"] = _digest(tensors)
    save_file(tensors, saved, metadata={"geoseg": sealed(card)})
    with pytest.raises(InputError, match=r"do not fit together .*the file was altered"):
        load_model(saved)


def test_teaching_without_its_entry_is_refused(saved: Path) -> None:
    card = {name: value for name, value in read_card(saved).items() if name not in ("teaching", "card_sha256")}
    card["classes"] = json.loads(json.dumps(make_model().classes.to_json()))
    save_file(load_file(saved), saved, metadata={"geoseg": sealed(card)})
    with pytest.raises(InputError, match="do not fit together"):
        load_model(saved)


def test_a_superpixel_that_is_taught_again_counts_once() -> None:
    first, second = references_of(make_model(), 9), references_of(make_model(), 6, seed=1)
    second = replace(second, places=second.places + np.array([0, 5, 0, 0]))
    both = first.and_more(second)
    assert sorted(both.places[:, 1]) == list(range(1, 12))
    again = [int(np.flatnonzero(both.places[:, 1] == superpixel)[0]) for superpixel in second.places[:, 1]]
    assert np.array_equal(both.features[again], second.features)
    elsewhere = replace(second, places=second.places + np.array([1, 0, 0, 0]))
    assert len(first.and_more(elsewhere)) == 15
