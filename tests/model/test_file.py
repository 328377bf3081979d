"""The model file: what is loaded is what was saved, and nothing else is ever taken for a model."""

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from helpers.models import make_model
from safetensors.torch import load_file, save_file

from geoseg.classes import ClassMap, LandClass
from geoseg.config import PredictConfig
from geoseg.errors import InputError, InputMissingError, OutputError, SettingError
from geoseg.files.atomic import sha256
from geoseg.jobs.info import file_info
from geoseg.jobs.predict import PredictJob
from geoseg.model.card import sealed
from geoseg.model.card_file import FORMAT, read_card
from geoseg.model.file import Model, load_model, save_model
from geoseg.model.network import NetworkSpec, build
from geoseg.outputs.names import Outputs
from geoseg.raster.statistics import colour_scale


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of four bands, with class names of its own."""
    classes = ClassMap((LandClass(1, "Wald & Wiese", "#117733"), LandClass(2, "水", "#0072b2")))
    return replace(make_model(bands=4, classes=2), classes=classes, dtype="uint16")


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    """The file of `model`."""
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], seal: bool = False, **tensors: torch.Tensor) -> Path:
    """Write the model again with its card changed, and some tensors too; as before cards had a checksum, or with
    another one. That of the tensors stays."""
    card = read_card(path)
    del card["card_sha256"]
    changed = change(card)
    if seal and changed is None:
        card = json.loads(sealed(card))
    state = load_file(path) | tensors
    save_file(state, path, metadata={"geoseg": json.dumps(card if changed is None else changed)})
    return path


def test_what_is_loaded_is_what_was_saved(model: Model, saved: Path) -> None:
    loaded = load_model(saved)
    for name in ("bands", "dtype", "stats", "superpixels", "windows", "classes", "provenance", "spec"):
        assert getattr(loaded, name) == getattr(model, name)
    image = torch.randn(1, 4, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), model.network(image))
    assert not loaded.network.training


@pytest.mark.parametrize("encoder", ["compact", "mobilenet_v2"])
@pytest.mark.parametrize("edges", [False, True])
def test_encoder_and_edges_are_kept(tmp_path: Path, encoder: str, edges: bool) -> None:
    network = build(NetworkSpec(encoder, 3, 5, edges), seed=4).eval()
    save_model(replace(make_model(), network=network), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.spec == NetworkSpec(encoder, 3, 5, edges)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), network(image))


def test_a_file_from_before_there_were_edges_has_none(model: Model, saved: Path) -> None:
    rewrite(saved, lambda card: card.update(network={k: v for k, v in card["network"].items() if k != "edges"}))
    assert set(read_card(saved)["network"]) == {"encoder", "bands", "classes"}
    loaded = load_model(saved)
    assert loaded.spec == model.spec
    image = torch.randn(1, 4, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), model.network(image))


def test_saving_twice_gives_the_same_file(model: Model, saved: Path, tmp_path: Path) -> None:
    digest = save_model(model, tmp_path / "again.safetensors").sha256
    assert digest == sha256(saved) == sha256(tmp_path / "again.safetensors")
    assert save_model(load_model(saved), tmp_path / "third.safetensors").sha256 == digest


def test_a_model_knows_the_hash_of_its_file_until_it_is_changed(model: Model, saved: Path, tmp_path: Path) -> None:
    loaded = load_model(saved)
    assert loaded.sha256 == sha256(saved)
    changed = replace(loaded, dtype="uint8")
    assert model.sha256 is None
    assert changed.sha256 is None
    again = save_model(changed, tmp_path / "again.safetensors")
    assert again.sha256 == sha256(tmp_path / "again.safetensors") != loaded.sha256
    assert again.network is loaded.network
    assert changed.sha256 is None


def test_a_model_that_was_never_saved_maps_nothing(scene_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    with pytest.raises(SettingError, match="save_model"):
        PredictJob(PredictConfig((scene_path,), out), scene_path, Outputs(out, None), make_model())
    assert not out.exists()


def test_the_memory_layout_of_the_weights_does_not_matter(model: Model, saved: Path, tmp_path: Path) -> None:
    loaded = load_model(saved)
    loaded.network.to(memory_format=torch.channels_last)
    assert save_model(loaded, tmp_path / "again.safetensors").sha256 == sha256(saved)


def test_colours_are_srgb_for_bytes_of_three_bands_only(model: Model) -> None:
    three = make_model()
    assert colour_scale(three.stats, three.dtype) == (None, None)
    for stats, dtype in ((three.stats, "uint16"), (model.stats, "uint8")):
        offset, scale = colour_scale(stats, dtype)
        assert np.allclose((np.asarray(stats.low) - offset) * scale, 0)
        assert np.allclose((np.asarray(stats.high) - offset) * scale, 1)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_flipped_bit_in_the_weights_is_found(saved: Path, share: float) -> None:
    data = bytearray(saved.read_bytes())
    data[int(len(data) * share)] ^= 1
    saved.write_bytes(data)
    with pytest.raises(InputError, match=rf"{saved.name}.*checksum"):
        load_model(saved)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 5000, -5000, -1])
def test_a_truncated_file_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(InputError, match=saved.name):
        load_model(saved)


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_named_like_a_model_is_refused_and_not_run(tmp_path: Path, kind: str, suffix: str) -> None:
    path, mark = tmp_path / f"model{suffix}", tmp_path / "mark"
    with path.open("wb") as file:
        (pickle.dump if kind == "pickle" else torch.save)({"a": Payload(mark)}, file)
    with pytest.raises(InputError, match="is not a geoseg model"):
        load_model(path)
    assert not mark.exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_without_a_card_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(InputError, match="without a geoseg card"):
        load_model(path)


@pytest.mark.parametrize("found", ["geoseg-model/2", None, 1])
def test_another_format_is_refused_by_name(saved: Path, found: Any) -> None:
    rewrite(saved, lambda card: card.update(format=found))
    with pytest.raises(InputError, match=f"format {found!r}.*{FORMAT}"):
        load_model(saved)


@pytest.mark.parametrize("card", ["[]", "1", '"text"', "not json", "null"])
def test_a_card_that_is_no_object_is_refused(saved: Path, card: str) -> None:
    save_file(load_file(saved), saved, metadata={"geoseg": card})
    with pytest.raises(InputError, match=saved.name):
        read_card(saved)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no network": lambda card: card.pop("network"),
    "unknown encoder": lambda card: card["network"].update(encoder="none"),
    "other classes": lambda card: card["network"].update(classes=3),
    "negative bands": lambda card: card["network"].update(bands=-1),
    "more fields": lambda card: card["network"].update(activation="os.system"),
    "no statistics": lambda card: card.pop("statistics"),
    "statistics of words": lambda card: card["statistics"].update(mean=["a", "b", "c", "d"]),
    "no windows": lambda card: card.pop("windows"),
    "odd windows": lambda card: card["windows"].update(tile_size=100),
    "small superpixels": lambda card: card["superpixels"].update(size=1),
    "gap in classes": lambda card: card["classes"].pop(0),
    "no such colour": lambda card: card["classes"][0].update(colour="blue"),
    "classes of words": lambda card: card["classes"][0].update(id="one"),
    "no checksum": lambda card: card.pop("tensors_sha256"),
    "a short checksum": lambda card: card.update(tensors_sha256="00"),
    "an encoder from elsewhere": lambda card: card["network"].update(encoder="tu-hf-hub:somebody/something"),
    "an encoder that is no name": lambda card: card["network"].update(encoder=["resnet18"]),
    "terabytes of classes": lambda card: card["network"].update(classes=10**12),
    "terabytes of bands": lambda card: card["network"].update(bands=10**10),
    "a class too many": lambda card: card["network"].update(classes=65535),
    "classes by halves": lambda card: card["network"].update(classes=2.0),
    "edges of another kind": lambda card: card["network"].update(edges=1),
    "bands of numbers": lambda card: card.update(bands=[1, 2, 3, 4]),
    "bands with control characters": lambda card: card["bands"].__setitem__(0, "red\x1b[31m"),
    "a band too few": lambda card: card["bands"].pop(),
    "pixels of no type": lambda card: card.update(dtype="object"),
    "an infinite mean": lambda card: card["statistics"]["mean"].__setitem__(0, 1e999),
    "a mean that is true": lambda card: card["statistics"]["mean"].__setitem__(0, True),
    "no deviation": lambda card: card["statistics"]["std"].__setitem__(1, 0.0),
    "an empty range": lambda card: card["statistics"]["high"].__setitem__(2, card["statistics"]["low"][2]),
    "a mean too few": lambda card: card["statistics"]["mean"].pop(),
    "pixels by halves": lambda card: card["statistics"].update(pixels=1.5),
    "superpixels by halves": lambda card: card["superpixels"].update(size=16.5),
    "superpixels of words": lambda card: card["superpixels"].update(size="16"),
    "windows beyond any memory": lambda card: card["windows"].update(tile_size=32 * 10**6, overlap=0),
    "control characters in a name": lambda card: card["classes"][0].update(name="a\x07"),
    "half a character in a name": lambda card: card["classes"][0].update(name="\ud800"),
    "a name that is none": lambda card: card["classes"][0].update(name=None),
    "an id twice": lambda card: card["classes"][1].update(id=1),
    "an id that is true": lambda card: card["classes"][0].update(id=True),
    "a name twice": lambda card: card["classes"][1].update(name=card["classes"][0]["name"]),
    "classes that are none": lambda card: card.update(classes={}),
    "a pixel size of nothing": lambda card: card.update(pixel_size=[0, 1]),
    "one pixel size": lambda card: card.update(pixel_size=[1]),
    "a pixel size that is none": lambda card: card.update(pixel_size=None),
    "a scale of 0": lambda card: card.update(scaling={"scale": [0] * 4, "offset": [0] * 4}),
    "a scale too few": lambda card: card.update(scaling={"scale": [1], "offset": [0] * 4}),
    "a scaling without offset": lambda card: card.update(scaling={"scale": [1] * 4}),
    "no provenance": lambda card: card.update(provenance=[]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_card_that_does_not_fit_is_an_input_error_that_names_the_file(saved: Path, what: str) -> None:
    def change(card: dict[str, Any]) -> None:
        BROKEN[what](card)

    rewrite(saved, change, seal=True)
    with pytest.raises(InputError, match=rf"{saved.name}: (its card|is not a geoseg model \(Infinity)"):
        load_model(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "model.safetensors"
    model = make_model()
    with torch.no_grad():
        model.network.head[-1].bias[1] = value
    save_model(model, path)
    with pytest.raises(InputError, match="not finite"):
        load_model(path)


def test_a_tensor_more_or_less_is_refused(saved: Path) -> None:
    rewrite(saved, lambda card: None, extra=torch.zeros(2))
    with pytest.raises(InputError, match="checksum"):
        load_model(saved)


def test_the_card_is_read_without_the_weights(model: Model, saved: Path) -> None:
    card = read_card(saved)
    with safetensors.safe_open(str(saved), framework="pt") as file:
        assert json.loads(file.metadata()["geoseg"]) == card
    assert card["format"] == FORMAT
    assert [entry["name"] for entry in card["classes"]] == ["Wald & Wiese", "水"]


def test_missing_models_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="folder"):
        load_model(tmp_path)


def test_a_failed_save_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_model(make_model(), saved)
    monkeypatch.undo()
    assert not isinstance(caught.value, OutputError)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_card_without_a_checksum_is_one_from_before_there_was_one(model: Model, saved: Path) -> None:
    rewrite(saved, lambda card: None)
    assert "card_sha256" not in read_card(saved)
    assert load_model(saved).classes == model.classes


def test_a_provenance_that_says_little_is_no_fault(saved: Path) -> None:
    rewrite(saved, lambda card: card.update(provenance={"made by": "hand"}), seal=True)
    assert load_model(saved).provenance == {"made by": "hand"}
    assert file_info(saved)["provenance"] == {"made by": "hand"}


def test_a_card_that_is_changed_without_its_checksum_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data.replace(b"Wald & Wiese", b"Wald & Wisse", 1))
    with pytest.raises(InputError, match="card does not match its checksum"):
        load_model(saved)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": NaN}', "1" * 10_000], ids=["deep", "NaN", "long"])
def test_a_card_beyond_reason_is_refused(saved: Path, text: str) -> None:
    save_file(load_file(saved), saved, metadata={"geoseg": text})
    with pytest.raises(InputError, match=f"{saved.name}: is not a geoseg model"):
        load_model(saved)


@pytest.mark.parametrize("size", [1 << 63, 1 << 40, 100_000_001, 99_999_999, 0, 1])
def test_a_header_of_an_absurd_size_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(size.to_bytes(8, "little") + saved.read_bytes()[8:])
    with pytest.raises(InputError, match=f"{saved.name}: is not a geoseg model"):
        load_model(saved)


def same(one: Model, two: Model) -> bool:
    """Whether nothing that decides a prediction differs."""
    names = ("bands", "dtype", "stats", "superpixels", "windows", "classes", "provenance", "spec")
    state, other = one.network.state_dict(), two.network.state_dict()
    return all(getattr(one, name) == getattr(two, name) for name in names) and all(
        torch.equal(value, other[name]) for name, value in state.items()
    )


def test_a_damaged_file_is_refused_or_the_same_model(saved: Path) -> None:
    """Every third byte of the header changed in one bit, and 200 random bits of the weights."""
    whole, data = load_model(saved), saved.read_bytes()
    random = np.random.default_rng(0)
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*range(0, header, 3), *random.integers(header, len(data), 200).tolist()]
    harmless = []
    for place in places:
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << int(random.integers(8))
        saved.write_bytes(spoilt)
        with suppress(InputError):
            assert same(whole, load_model(saved))
            harmless.append(place)
    assert not [place for place in harmless if place >= header]
    assert len(harmless) < len(places) / 100


@pytest.mark.parametrize(
    "network",
    [{"bands": 4097}, {"bands": 10**10}, {"bands": 0}, {"classes": 65535}, {"classes": 10**12}, {"classes": 0}],
    ids=str,
)
def test_the_size_of_a_network_is_bounded_before_anything_is_made_for_it(saved: Path, network: dict[str, int]) -> None:
    rewrite(saved, lambda card: card["network"].update(network))
    with pytest.raises(InputError, match="card has an invalid entry for the network"):
        read_card(saved)


def test_a_model_that_was_changed_in_place_is_not_the_one_of_its_hash(tmp_path: Path, scene_path: Path) -> None:
    saved = save_model(make_model(), tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    out = tmp_path / "map.tif"
    assert not saved.changed
    assert not loaded.changed
    with torch.no_grad():
        next(loaded.network.parameters()).add_(1)
    assert loaded.changed
    with pytest.raises(SettingError, match="weights were changed"):
        PredictJob(PredictConfig((scene_path,), out), scene_path, Outputs(out, None), loaded)
    assert not save_model(loaded, tmp_path / "n.safetensors").changed
