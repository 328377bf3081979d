"""The network: six convolutions of our own, or an encoder-decoder of segmentation-models-pytorch; logits at stride 4.

Without labels and without pretrained weights, land cover shows in colour and fine texture, and a deep encoder learns
nothing that six convolutions do not: those are the default (`COMPACT`), several times as fast in training and in
prediction. An encoder earns its keep with weights that somebody has trained (`encoder_weights`). Its decoder is a slim
feature pyramid (Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", with 64 channels instead of 256 and 128),
because region pooling needs K x regions numbers, not K x pixels. Beside it a shallow branch sees 15 pixels around each
cell, and the head starts out from that: a deep pyramid of random weights would find classes that follow its own
blurred, position-dependent features, so context has to earn its weight (`_CONTEXT`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import InputError, SettingError, UnavailableError, first_line
from geoseg.recipes import COMPACT

_WIDTH = 48
_DEPTH = 4
"""Convolutions at stride 4 of the compact network: with the two before them they see 39 pixels."""

_PYRAMID = 64
_LOCAL = 64
_CONTEXT = 0.1
"""What the pyramid's channels, normalised, are multiplied with at first; learnt from there on."""


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build the network again: encoder name, number of bands, number of classes K.

    edges: the first layer is `with_edges`.
    """

    encoder: str
    bands: int
    classes: int
    edges: bool = False

    @property
    def channels(self) -> int:
        """What the first convolutions see: the bands, and the edges behind them."""
        return self.bands + 2 * self.edges

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return asdict(self)


class SegmentationNetwork(nn.Module):
    """Image (B, bands, H, W), normalised, H and W multiples of 32 -> logits (B, K, H/4, W/4)."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.pyramid = None if spec.encoder == COMPACT else _pyramid(spec)
        if self.pyramid is None:
            self.local = nn.Sequential(
                *_convolution(spec.channels, 32, 2),
                *_convolution(32, _WIDTH, 2),
                *(layer for _ in range(_DEPTH) for layer in _convolution(_WIDTH, _WIDTH, 1)),
            )
            self.head = nn.Sequential(nn.Conv2d(_WIDTH, spec.classes, 1))
            return
        self.local = nn.Sequential(
            *_convolution(spec.channels, 32, 2), *_convolution(32, _LOCAL, 2), nn.Conv2d(_LOCAL, _LOCAL, 3, padding=1)
        )
        mixed = nn.BatchNorm2d(_PYRAMID + _LOCAL)
        nn.init.constant_(mixed.weight[:_PYRAMID], _CONTEXT)
        self.head = nn.Sequential(mixed, nn.ReLU(), nn.Conv2d(_PYRAMID + _LOCAL, spec.classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, K, H/4, W/4) of the normalised image (B, bands, H, W)."""
        image = with_edges(image) if self.spec.edges else image
        features = self.local(image)
        if self.pyramid is not None:
            features = torch.cat([self.pyramid(image), features], dim=1)
        logits: Tensor = self.head(features)
        return logits


def with_edges(image: Tensor) -> Tensor:
    """Return the image (B, bands, H, W) with the derivatives of its grey along x and along y as two more bands behind.

    Those of Sobel 1968, over 4: the difference of right and left, below and above, with weights 1/4, 1/2, 1/4 across.
    Grey is that of ITU-R BT.601 from the first three bands, or the first band of fewer. The image goes on beyond its
    border as at the border. Nothing is learnt here; where the image is turned, its edges turn with it.
    """
    grey = image[:, :1]
    if image.shape[1] >= 3:
        grey = 0.299 * grey + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:3]
    # Joined, not padded: the gradient of padding is not the same twice on a GPU.
    wide = torch.cat([grey[..., :1], grey, grey[..., -1:]], 3)
    around = torch.cat([wide[..., :1, :], wide, wide[..., -1:, :]], 2)
    across = around[..., :-2, :] + 2 * around[..., 1:-1, :] + around[..., 2:, :]
    down = around[..., :-2] + 2 * around[..., 1:-1] + around[..., 2:]
    dx, dy = across[..., 2:] - across[..., :-2], down[..., 2:, :] - down[..., :-2, :]
    return torch.cat([image, dx / 4, dy / 4], 1)


def _pyramid(spec: NetworkSpec) -> nn.Module:
    import segmentation_models_pytorch as smp

    try:
        pyramid: nn.Module = smp.FPN(
            spec.encoder,
            encoder_weights=None,
            in_channels=spec.channels,
            classes=_PYRAMID,
            decoder_pyramid_channels=_PYRAMID,
            decoder_segmentation_channels=_PYRAMID,
            decoder_dropout=0.0,
            upsampling=1,
        )
        return pyramid
    except KeyError as error:
        raise SettingError(
            f"encoder {spec.encoder!r} is unknown; take {COMPACT}, or one of segmentation-models-pytorch, which lists "
            "them as smp.encoders.get_encoder_names(): for instance mobilenet_v2, resnet18, efficientnet-b0"
        ) from error


def _convolution(channels: int, out: int, stride: int) -> tuple[nn.Module, ...]:
    """A 3 x 3 convolution, normalised and rectified."""
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()


def build(spec: NetworkSpec, seed: int = 0, encoder_weights: str | None = None) -> SegmentationNetwork:
    """Return the network with weights drawn from `seed`, on the CPU, in training mode.

    encoder_weights: None for random ones; the path of a file (`.safetensors`, or `.pth` loaded with
        weights_only) with an encoder's state dict; else a name segmentation-models-pytorch knows, such as
        "imagenet", which it downloads. The first convolution is adapted to the number of bands.

    Raises:
        SettingError: an encoder or weights that are unknown.
        InputError: a weights file that does not fit the encoder.
        UnavailableError: weights that cannot be downloaded here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SegmentationNetwork(spec)
    if encoder_weights is not None:
        if network.pyramid is None:
            raise SettingError(
                f"encoder weights {encoder_weights!r} go with an encoder of segmentation-models-pytorch; name the one "
                "they were made for with --encoder, for instance --encoder resnet18"
            )
        encoder: Any = network.pyramid.encoder
        _load_encoder(encoder, spec, encoder_weights)
    return network


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Within this context, batch normalisation uses the batch but does not learn from it, and dropout of every kind is
    off, so that two passes differ by their input alone (Miyato et al. 2018)."""
    kind = nn.modules.batchnorm._BatchNorm
    layers = [m for m in network.modules() if isinstance(m, kind)]
    tracked = [layer.track_running_stats for layer in layers]
    # Not the layers called dropout alone: some encoders drop whole branches by a function.
    others = [m for m in network.modules() if m.training and not isinstance(m, kind)]
    for layer in layers:
        layer.track_running_stats = False
    for module in others:
        module.training = False
    try:
        yield
    finally:
        for layer, state in zip(layers, tracked, strict=True):
            layer.track_running_stats = state
        for module in others:
            module.training = True


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of what batch normalisation has learnt from its batches, by name, as part of a state dict."""
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value.clone() for name, value in network.named_buffers() if name.rsplit(".", 1)[-1] in names}


@torch.no_grad()
def settle_statistics(network: nn.Module, images: Iterable[Tensor], precision: torch.dtype) -> None:
    """Replace the running statistics of batch normalisation by their mean over `images`, batches (B, bands, H, W).

    The running ones lag behind the weights, the more the shorter the training, and prediction uses them (Wu and
    Johnson 2021, "Rethinking 'Batch' in BatchNorm").
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    network.train()
    for image in images:
        with torch.autocast(image.device.type, precision, enabled=precision != torch.float32):
            network(image.contiguous(memory_format=torch.channels_last))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


def _load_encoder(encoder: Any, spec: NetworkSpec, weights: str) -> None:
    path = Path(weights)
    if path.suffix in (".safetensors", ".pth", ".pt"):
        state = _read_state(path)
    else:
        state = _download_state(spec.encoder, weights)
    first = next(key for key, value in encoder.state_dict().items() if value.ndim == 4)
    kernel = state.get(first)
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] not in (0, spec.channels):
        state[first] = _adapt_bands(kernel, spec.bands, spec.channels)
    own = encoder.state_dict()
    wrong = [k for k, v in own.items() if "num_batches" not in k and (k not in state or state[k].shape != v.shape)]
    if wrong:
        raise InputError(
            f"{weights}: does not fit encoder {spec.encoder} ({len(wrong)} tensors differ, {wrong[0]} first)"
        )
    encoder.load_state_dict({k: state.get(k, v) for k, v in own.items()})


def _read_state(path: Path) -> dict[str, Tensor]:
    from geoseg.raster.guards import regular_file

    file = regular_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            # With weights_only nothing in the file is run; what it would run is an error.
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: is no weights file ({type(error).__name__}: {first_line(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds other things than tensors; save the encoder's state dict by itself")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"{path}: has weights that are not finite; download it again")
    return dict(state)


def _download_state(encoder: str, weights: str) -> dict[str, Tensor]:
    import segmentation_models_pytorch as smp

    try:
        donor = smp.encoders.get_encoder(encoder, in_channels=3, weights=weights)
    except KeyError as error:
        raise SettingError(f"encoder weights {weights!r} are unknown for {encoder}; try imagenet, or a file") from error
    except Exception as error:
        raise UnavailableError(
            f"encoder weights {weights!r} cannot be downloaded here ({type(error).__name__}); give them as a file"
        ) from error
    return dict(donor.state_dict())


def _adapt_bands(kernel: Tensor, bands: int, channels: int) -> Tensor:
    """Repeat the input channels of a first convolution cyclically and keep the sum of its response; edges, the channels
    after the bands, have no part in it at first."""
    repeated = torch.stack([kernel[:, i % kernel.shape[1]] for i in range(bands)], dim=1) * (kernel.shape[1] / bands)
    return torch.cat([repeated, repeated.new_zeros(len(kernel), channels - bands, *kernel.shape[2:])], dim=1)
