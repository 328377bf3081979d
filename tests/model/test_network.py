"""The network: its shape, its seeds, and weights that come from files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.rasters import landscape
from safetensors.torch import save_file
from scipy import ndimage
from torch import Tensor

from geoseg.config import TrainConfig
from geoseg.errors import InputError, InputMissingError, SettingError, UnavailableError
from geoseg.model.encoder_weights import load_encoder_weights
from geoseg.model.inference import select_device, select_precision
from geoseg.model.network import NetworkSpec, SegmentationNetwork, build, with_edges
from geoseg.model.normalisation import frozen_statistics, settle_statistics
from geoseg.recipes import COMPACT

ENCODER = "mobilenet_v2"


@pytest.fixture(scope="module")
def donor() -> SegmentationNetwork:
    """A network for three bands, whose encoder is given to others."""
    return build(NetworkSpec(ENCODER, 3, 4), seed=7)


def encoder(network: SegmentationNetwork) -> dict[str, Tensor]:
    """Parameters and buffers of the encoder."""
    return network.pyramid.encoder.state_dict()


def first(state: dict[str, Tensor]) -> str:
    """Name of the first convolution's kernel."""
    return next(name for name, value in state.items() if value.ndim == 4)


@pytest.mark.parametrize("encoder", [COMPACT, ENCODER])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_logits_are_at_stride_4(bands: int, encoder: str) -> None:
    network = build(NetworkSpec(encoder, bands, 7)).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, bands, 96, 64))
    assert logits.shape == (2, 7, 24, 16)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_edges_are_the_sobel_derivatives_of_grey(bands: int) -> None:
    image = torch.from_numpy(np.stack([landscape(60, 70, bands, seed=i) for i in range(2)])).float()
    image[:, :, 25:, 40:] = 255 - image[:, :, 25:, 40:]
    luma = (0.299, 0.587, 0.114) if bands >= 3 else (1.0,)
    grey = sum(weight * image[:, i].numpy().astype(float) for i, weight in enumerate(luma))
    found = with_edges(image)
    assert found.shape == (2, bands + 2, 60, 70)
    assert torch.equal(found[:, :bands], image)
    for place, axis in ((-2, 1), (-1, 0)):
        expected = np.stack([ndimage.sobel(each, axis=axis, mode="nearest") / 4 for each in grey])
        assert np.abs(expected).max() > 50
        assert np.allclose(found[:, place].numpy(), expected, atol=1e-3)


def test_edges_turn_with_the_image() -> None:
    image = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    dx, dy = with_edges(image)[0, 3:]
    turned = with_edges(image.transpose(2, 3))[0, 3:]
    assert torch.allclose(turned, torch.stack([dy.T, dx.T]), atol=1e-6)
    flipped = with_edges(image.flip(3))[0, 3:]
    assert torch.allclose(flipped, torch.stack([-dx.flip(1), dy.flip(1)]), atol=1e-6)


@pytest.mark.parametrize("kind", [COMPACT, ENCODER])
def test_a_network_with_edges_is_one_of_more_bands_that_is_shown_them(kind: str) -> None:
    shown, plain = (build(NetworkSpec(kind, *spec), seed=3).eval() for spec in ((3, 4, True), (5, 4)))
    assert (shown.spec.channels, plain.spec.channels) == (5, 5)
    assert shown.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(shown(image), plain(with_edges(image)))


def test_encoder_weights_see_no_edges_at_first(tmp_path: Path, donor: SegmentationNetwork) -> None:
    path = tmp_path / "encoder.safetensors"
    state = encoder(donor)
    save_file(state, path)
    loaded = encoder(build(NetworkSpec(ENCODER, 3, 4, edges=True), seed=1, encoder_weights=str(path)))
    kernel = loaded[first(state)]
    assert torch.equal(kernel[:, :3], state[first(state)])
    assert kernel.shape[1] == 5
    assert not kernel[:, 3:].any()


@pytest.mark.parametrize("kind", [COMPACT, ENCODER])
def test_weights_are_those_of_the_seed_and_the_global_generator_is_left_alone(kind: str) -> None:
    spec = NetworkSpec(kind, 3, 4)
    state = torch.get_rng_state()
    one = build(spec, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again, other = build(spec, seed=1).state_dict(), build(spec, seed=2).state_dict()
    torch.set_rng_state(state)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_encoder_weights_come_from_a_file(tmp_path: Path, donor: SegmentationNetwork, suffix: str) -> None:
    path = tmp_path / f"encoder{suffix}"
    state = encoder(donor)
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    plain, loaded = build(donor.spec, seed=1), build(donor.spec, seed=1, encoder_weights=str(path))
    assert all(torch.equal(value, state[name]) for name, value in encoder(loaded).items())
    assert torch.equal(loaded.head[2].weight, plain.head[2].weight)
    assert loaded.training


@pytest.mark.parametrize("bands", [1, 2, 4, 5])
def test_the_first_convolution_is_adapted_to_the_bands(tmp_path: Path, donor: SegmentationNetwork, bands: int) -> None:
    path = tmp_path / "encoder.safetensors"
    state = encoder(donor)
    save_file(state, path)
    loaded = encoder(build(NetworkSpec(ENCODER, bands, 4), seed=1, encoder_weights=str(path)))
    kernel, adapted = state[first(state)], loaded[first(state)]
    assert adapted.shape[1] == bands
    for band in range(bands):
        assert torch.allclose(adapted[:, band], kernel[:, band % 3] * (3 / bands))
    others = [name for name in state if name != first(state)]
    assert all(torch.equal(loaded[name], state[name]) for name in others)


def test_adapted_kernels_keep_their_response_to_grey(tmp_path: Path, donor: SegmentationNetwork) -> None:
    path = tmp_path / "encoder.safetensors"
    state = {name: torch.ones_like(value) for name, value in encoder(donor).items()}
    save_file(state, path)
    loaded = encoder(build(NetworkSpec(ENCODER, 5, 4), encoder_weights=str(path)))
    assert torch.allclose(loaded[first(state)].sum(1), state[first(state)].sum(1))


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, donor: SegmentationNetwork) -> None:
    path = tmp_path / "encoder.safetensors"
    state = encoder(donor)
    last = list(state)[-2]

    def kernel(*shape: int) -> dict[str, Tensor]:
        return state | {first(state): torch.zeros(shape)}

    for wrong in (
        {k: v for k, v in state.items() if k != last},
        state | {last: torch.zeros(3, 3)},
        {"x": state[last]},
        kernel(0),
        kernel(3, 0, 3, 3),
    ):
        save_file(wrong, path)
        with pytest.raises(InputError, match=f"does not fit encoder {ENCODER}"):
            build(donor.spec, encoder_weights=str(path))


def as_elsewhere(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as another library saves it: its own names, no counters, and a classifier at the end."""
    kept = {name: value for name, value in state.items() if "num_batches" not in name}
    renamed = {f"_layer{i}.{name.rpartition('.')[-1]}": value for i, (name, value) in enumerate(kept.items())}
    return {**renamed, "_fc.weight": torch.zeros(9, 7), "_fc.bias": torch.zeros(9)}


@pytest.mark.parametrize("bands", [3, 4])
def test_tensors_under_other_names_are_matched_by_their_order(
    bands: int, tmp_path: Path, donor: SegmentationNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    same, other = tmp_path / "same.pth", tmp_path / "other.pth"
    state = {name: torch.rand(value.shape) if value.ndim else value for name, value in encoder(donor).items()}
    torch.save(state, same)
    torch.save(as_elsewhere(state), other)
    spec = NetworkSpec(ENCODER, bands, 4)
    with caplog.at_level("INFO"):
        plain, matched = (encoder(build(spec, seed=1, encoder_weights=str(path))) for path in (same, other))
    assert all(torch.equal(value, matched[name]) for name, value in plain.items())
    assert [record.getMessage() for record in caplog.records if "by their order" in record.getMessage()] == [
        f"{other}: names its tensors differently from encoder {ENCODER}; they are matched by their order"
    ]


def test_tensors_under_other_names_that_do_not_agree_in_order_are_refused(
    tmp_path: Path, donor: SegmentationNetwork
) -> None:
    path, whole = tmp_path / "encoder.pth", as_elsewhere(encoder(donor))
    names = list(whole)
    kernel, scale, offset = names[:3]

    def without(*gone: str) -> dict[str, Tensor]:
        return {name: value for name, value in whole.items() if name not in gone}

    for wrong in (
        without(kernel),
        without(*names[-4:]),
        {kernel: whole[kernel], offset: whole[offset], **without(kernel, offset)},
        {kernel: whole[kernel][:-1], **without(kernel)},
        {kernel: whole[kernel][..., 1:], **without(kernel)},
        {kernel: whole[kernel], scale: whole[scale][None], **without(kernel, scale)},
        {**whole, first(encoder(donor)): whole[kernel]},
    ):
        torch.save(wrong, path)
        with pytest.raises(InputError, match=f"does not fit encoder {ENCODER}"):
            load_encoder_weights(donor.pyramid.encoder, ENCODER, 3, 3, str(path))


@pytest.mark.parametrize("name", ["encoder.pth", "encoder.safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not weights at all, though long enough to be mistaken for a header")
    with pytest.raises(InputError, match="is not a weights file"):
        build(NetworkSpec(ENCODER, 3, 4), encoder_weights=str(path))
    path.unlink()
    with pytest.raises(InputMissingError):
        build(NetworkSpec(ENCODER, 3, 4), encoder_weights=str(path))


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_a_weights_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "encoder.pth", tmp_path / "mark"
    torch.save({"a": Payload(mark)}, path)
    with pytest.raises(InputError, match="is not a weights file"):
        build(NetworkSpec(ENCODER, 3, 4), encoder_weights=str(path))
    assert not mark.exists()


def test_unknown_names_are_setting_errors() -> None:
    with pytest.raises(SettingError, match="encoder 'resnet19' is unknown"):
        build(NetworkSpec("resnet19", 3, 4))
    with pytest.raises(SettingError, match="encoder weights 'imagenot' are unknown"):
        build(NetworkSpec(ENCODER, 3, 4), encoder_weights="imagenot")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epoch": 3, "state_dict": {}}, "more than tensors"),
        ([1, 2], "more than tensors"),
        ({"conv1.weight": torch.full((4, 3, 3, 3), math.nan)}, "not finite"),
    ],
)
def test_a_weights_file_that_is_no_state_dict_is_refused(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"weights.pth: .*{told}"):
        build(NetworkSpec(ENCODER, 3, 4), encoder_weights=str(path))


@pytest.mark.parametrize("weights", ["imagenet", "encoder.safetensors"])
def test_the_compact_network_has_no_encoder_to_give_weights_to(weights: str) -> None:
    with pytest.raises(SettingError, match=rf"{weights}.*--encoder resnet18"):
        build(NetworkSpec(COMPACT, 3, 4), encoder_weights=weights)


def test_the_compact_network_is_what_is_trained_by_default() -> None:
    assert TrainConfig(Path("data")).encoder == COMPACT
    assert build(NetworkSpec(TrainConfig.encoder, 3, 4)).pyramid is None
    assert build(NetworkSpec(ENCODER, 3, 4)).pyramid is not None


def test_the_compact_network_sees_39_pixels_around_a_cell() -> None:
    network = build(NetworkSpec(COMPACT, 3, 4), seed=2).eval()
    image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
    network(image)[0, :, 12, 12].sum().backward()
    rows, cols = (image.grad[0].abs().sum((0, axis)).nonzero().flatten() for axis in (2, 1))
    for seen in (rows, cols):
        assert (int(seen.min()), int(seen.max())) == (48 - 19, 48 + 19)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.local.modules()) == 6


@pytest.mark.parametrize("kind", [COMPACT, "efficientnet-b0"])
def test_frozen_networks_draw_nothing_at_random(kind: str) -> None:
    """An efficientnet drops units by a layer and whole branches by a function."""
    network = build(NetworkSpec(kind, 3, 4), seed=1).train()
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    with torch.no_grad(), frozen_statistics(network):
        assert torch.equal(network(image), network(image))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())


def test_devices() -> None:
    assert select_device("cpu") == torch.device("cpu")
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SettingError, match="device 'gpu' is unknown"):
        select_device("gpu")
    for absent in (f"cuda:{torch.cuda.device_count()}", "xla"):
        with pytest.raises(UnavailableError, match=f"device {absent} is not available"):
            select_device(absent)


def test_precision_asked_for_is_precision_given() -> None:
    cpu = torch.device("cpu")
    assert select_precision("float32", cpu) == torch.float32
    assert select_precision("bfloat16", cpu) == torch.bfloat16
    assert select_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    assert select_precision("auto", torch.device("mps")) == torch.float32


def test_frozen_statistics_stay_and_come_back_to_life_even_after_an_error(donor: SegmentationNetwork) -> None:
    network = donor.train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def broken() -> None:
        with frozen_statistics(network):
            network(image)
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    network(image)
    assert any(not torch.equal(value, before[name]) for name, value in network.named_buffers())


@pytest.mark.parametrize("kind", [COMPACT, ENCODER])
def test_settled_statistics_are_means_over_the_images_whatever_they_were_before(kind: str) -> None:
    images = [torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    found = []
    for history in (0.0, 1e6, float("nan")):
        network = build(NetworkSpec(kind, 3, 4))
        for name, value in network.named_buffers():
            if "running" in name:
                value.fill_(history)
        settle_statistics(network, images, torch.float32)
        assert not network.training
        found.append(dict(network.named_buffers()))
    stem = next(name for name in found[0] if name.endswith("running_mean"))
    kernel = network.local[0].weight if kind == COMPACT else encoder(network)[first(encoder(network))]
    features = [torch.nn.functional.conv2d(image, kernel, stride=2, padding=1) for image in images]
    expected = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    assert torch.allclose(found[0][stem], expected, atol=1e-5)
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in found[0])
