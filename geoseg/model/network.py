"""The network: six convolutions, or an encoder and decoder of segmentation-models-pytorch. Its logits are at stride 4.

The default is the compact network. Without labels and without pretrained weights, land cover shows in colour and fine
texture, from which a deep encoder learns nothing that six convolutions do not; they are several times as fast.

    compact:  image -> local (six convolutions) -> head -> logits

An encoder is worth its cost with pretrained weights (`encoder_weights`). Its decoder is a slim feature pyramid
(Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", with 64 channels instead of 256 and 128), because region
pooling needs K x regions numbers, not K x pixels:

    encoder:  image -+-> pyramid (64 channels) -----------+-> head -> logits
                     +-> local (64 channels, sees 15 px) -+

The head starts with little weight on the pyramid (`_PYRAMID_SCALE`): a pyramid of random weights would lead to classes
that follow its own blurred, position-dependent features, so context has to earn its influence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import SettingError
from geoseg.model.encoder_weights import load_encoder_weights
from geoseg.recipes import COMPACT, ENCODER_STRIDE, STRIDE

_STEM_CHANNELS = 32
_COMPACT_CHANNELS = 48
_COMPACT_DEPTH = 4
"""Convolutions at stride 4 in the compact network; with the two before them, its receptive field is 39 x 39 pixels."""

_COMPACT_REACH = 20
"""How far from a pixel the compact network sees, rounded up to a multiple of its stride."""

_LOCAL_CHANNELS = 64
_PYRAMID_CHANNELS = 64
_PYRAMID_SCALE = 0.1
"""Initial scale of the pyramid's channels after normalisation. It is learnt from there on."""


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that is needed to build a network.

    Attributes:
        encoder: `COMPACT`, or the name of an encoder of segmentation-models-pytorch.
        bands: Number of bands.
        classes: Number of classes K.
        edges: Whether the network also sees the image's derivatives (`with_edges`).
    """

    encoder: str
    bands: int
    classes: int
    edges: bool = False

    @property
    def channels(self) -> int:
        """Input channels of the first convolutions: the bands, followed by two channels of edges if there are any."""
        return self.bands + 2 * self.edges

    @property
    def stride(self) -> int:
        """The sides of images must be multiples of this."""
        return STRIDE if self.encoder == COMPACT else ENCODER_STRIDE

    @property
    def context(self) -> int:
        """Pixels to add beyond the edges of a scene, where the network would see zeros: a multiple of `stride`."""
        return _COMPACT_REACH if self.encoder == COMPACT else ENCODER_STRIDE

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return asdict(self)


class SegmentationNetwork(nn.Module):
    """Maps normalised images (B, bands, H, W), H and W multiples of `NetworkSpec.stride`, to logits at stride 4."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        # Weights are drawn in the order of construction, so the order decides what a seed gives.
        self.pyramid = None if spec.encoder == COMPACT else _pyramid(spec)
        if self.pyramid is None:
            self.local = nn.Sequential(
                *_convolution(spec.channels, _STEM_CHANNELS, 2),
                *_convolution(_STEM_CHANNELS, _COMPACT_CHANNELS, 2),
                *(
                    layer
                    for _ in range(_COMPACT_DEPTH)
                    for layer in _convolution(_COMPACT_CHANNELS, _COMPACT_CHANNELS, 1)
                ),
            )
            self.head = nn.Sequential(nn.Conv2d(_COMPACT_CHANNELS, spec.classes, 1))
            return
        self.local = nn.Sequential(
            *_convolution(spec.channels, _STEM_CHANNELS, 2),
            *_convolution(_STEM_CHANNELS, _LOCAL_CHANNELS, 2),
            nn.Conv2d(_LOCAL_CHANNELS, _LOCAL_CHANNELS, 3, padding=1),
        )
        channels = _PYRAMID_CHANNELS + _LOCAL_CHANNELS
        norm = nn.BatchNorm2d(channels)
        nn.init.constant_(norm.weight[:_PYRAMID_CHANNELS], _PYRAMID_SCALE)
        self.head = nn.Sequential(norm, nn.ReLU(), nn.Conv2d(channels, spec.classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (B, K, H / 4, W / 4) of a normalised image (B, bands, H, W)."""
        image = with_edges(image) if self.spec.edges else image
        features = self.local(image)
        if self.pyramid is not None:
            features = torch.cat([self.pyramid(image), features], dim=1)
        logits: Tensor = self.head(features)
        return logits


def with_edges(image: Tensor) -> Tensor:
    """Append the Sobel derivatives of an image's grey value along x and y as two channels.

    The kernels are those of Sobel and Feldman (1968), divided by 4. Grey is the luma of ITU-R BT.601 of the first three
    bands, or the first band if there are fewer. The border is replicated. The derivatives are not learnt, and turn with
    the image.

    Args:
        image: (B, bands, H, W).

    Returns:
        (B, bands + 2, H, W).
    """
    grey = image[:, :1]
    if image.shape[1] >= 3:
        grey = 0.299 * grey + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:3]
    # Concatenation instead of padding, whose gradient is not deterministic on a GPU.
    wide = torch.cat([grey[..., :1], grey, grey[..., -1:]], 3)
    padded = torch.cat([wide[..., :1, :], wide, wide[..., -1:, :]], 2)
    rows_smoothed = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    cols_smoothed = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    dx = rows_smoothed[..., 2:] - rows_smoothed[..., :-2]
    dy = cols_smoothed[..., 2:, :] - cols_smoothed[..., :-2, :]
    return torch.cat([image, dx / 4, dy / 4], 1)


def build(spec: NetworkSpec, seed: int = 0, encoder_weights: str | None = None) -> SegmentationNetwork:
    """Build a network on the CPU, in training mode.

    Args:
        spec: What to build.
        seed: Seed of the random weights; torch's global generator is left alone.
        encoder_weights: Pretrained weights of the encoder (`load_encoder_weights`), or None.

    Raises:
        SettingError: The encoder or the name of the weights is unknown, or the compact network was asked for.
        InputMissingError, InputError: The weights file does not exist, or does not fit the encoder.
        UnavailableError: The weights cannot be downloaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SegmentationNetwork(spec)
    if encoder_weights is not None:
        if network.pyramid is None:
            raise SettingError(
                f"encoder weights {encoder_weights!r} need an encoder of segmentation-models-pytorch; name the one "
                "they belong to with --encoder, for instance --encoder resnet18"
            )
        encoder: Any = network.pyramid.encoder
        load_encoder_weights(encoder, spec.encoder, spec.bands, spec.channels, encoder_weights)
    return network


def _pyramid(spec: NetworkSpec) -> nn.Module:
    import segmentation_models_pytorch as smp

    try:
        pyramid: nn.Module = smp.FPN(
            spec.encoder,
            encoder_weights=None,
            in_channels=spec.channels,
            classes=_PYRAMID_CHANNELS,
            decoder_pyramid_channels=_PYRAMID_CHANNELS,
            decoder_segmentation_channels=_PYRAMID_CHANNELS,
            decoder_dropout=0.0,
            upsampling=1,
        )
        return pyramid
    except KeyError as error:
        raise SettingError(
            f"encoder {spec.encoder!r} is unknown; choose {COMPACT}, or an encoder of segmentation-models-pytorch "
            "(smp.encoders.get_encoder_names() lists them), for instance mobilenet_v2, resnet18 or efficientnet-b0"
        ) from error


def _convolution(channels: int, out: int, stride: int) -> tuple[nn.Module, ...]:
    """A 3 x 3 convolution with batch normalisation and ReLU."""
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
