"""Pretrained encoder weights, from a file or downloaded, adapted to the bands of a network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import InputError, SettingError, UnavailableError, first_line
from geoseg.raster.guards import regular_file

log = logging.getLogger(__name__)

_FILE_SUFFIXES = (".safetensors", ".pth", ".pt")


def load_encoder_weights(encoder: nn.Module, name: str, bands: int, channels: int, weights: str) -> None:
    """Load pretrained weights into `encoder`.

    Libraries name the tensors of the same network differently, but all list them in the order of its layers. So if a
    file shares no name with the encoder, its tensors are matched by their order, provided that all their shapes and
    kinds (weight, bias, running mean and so on) agree; those that follow, of a classifier, are left out.

    If they expect another number of input channels, the first convolution is adapted: its kernels are repeated
    cyclically over the bands and rescaled, so that their response keeps its size; channels after the bands (edges)
    start at 0.

    Args:
        encoder: The encoder.
        name: Its name in segmentation-models-pytorch.
        bands: Number of bands.
        channels: Number of input channels, at least `bands`.
        weights: A file with a state dict of the encoder, alone or in a classifier (`.safetensors`, `.pth` or `.pt`), or
            the name of weights that segmentation-models-pytorch downloads, such as "imagenet".

    Raises:
        InputMissingError, InputError: The file does not exist, or does not fit the encoder.
        SettingError: The name is unknown.
        UnavailableError: The weights cannot be downloaded.
    """
    path = Path(weights)
    state = _read(path) if path.suffix in _FILE_SUFFIXES else _download(name, weights)
    own: dict[str, Tensor] = encoder.state_dict()
    first = next(key for key, value in own.items() if value.ndim == 4)
    if not own.keys() & state.keys() and (renamed := _by_order(own, state, first)):
        log.info("%s: names its tensors differently from encoder %s; they are matched by their order", weights, name)
        state = renamed
    kernel = state.get(first)
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] not in (0, channels):
        state[first] = _adapt_bands(kernel, bands, channels)
    differing = [k for k, v in own.items() if "num_batches" not in k and (k not in state or state[k].shape != v.shape)]
    if differing:
        raise InputError(
            f"{weights}: does not fit encoder {name} ({len(differing)} tensors differ, {differing[0]} first); give "
            "weights of this encoder, or name theirs with --encoder"
        )
    encoder.load_state_dict({k: state.get(k, v) for k, v in own.items()})


def _by_order(own: dict[str, Tensor], state: dict[str, Tensor], first: str) -> dict[str, Tensor]:
    """Return `state` under the names of `own` in the same order, without what follows; empty if they do not agree.

    The input channels of the first convolution, which are adapted later, may differ.
    """
    names, found = ([(key, value) for key, value in each.items() if "num_batches" not in key] for each in (own, state))
    renamed: dict[str, Tensor] = {}
    for (key, value), (other, weight) in zip(names, found, strict=False):
        # A kernel is (out, in, rows, cols).
        shapes = [[*tensor.shape[:1], *tensor.shape[1 + (key == first) :]] for tensor in (value, weight)]
        if shapes[0] != shapes[1] or _kind(key) != _kind(other):
            return {}
        renamed[key] = weight
    return renamed


def _kind(key: str) -> str:
    return key.rpartition(".")[-1]


def _read(path: Path) -> dict[str, Tensor]:
    file = regular_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            # weights_only refuses to load anything that would execute code.
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: is not a weights file ({type(error).__name__}: {first_line(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds more than tensors; save only the encoder's state dict")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"{path}: has weights that are not finite; download it again")
    return dict(state)


def _download(encoder: str, weights: str) -> dict[str, Tensor]:
    import segmentation_models_pytorch as smp

    try:
        pretrained = smp.encoders.get_encoder(encoder, in_channels=3, weights=weights)
    except KeyError as error:
        raise SettingError(f"encoder weights {weights!r} are unknown for {encoder}; try imagenet, or a file") from error
    except Exception as error:
        raise UnavailableError(
            f"encoder weights {weights!r} cannot be downloaded here ({type(error).__name__}); give them as a file"
        ) from error
    return dict(pretrained.state_dict())


def _adapt_bands(kernel: Tensor, bands: int, channels: int) -> Tensor:
    repeated = torch.stack([kernel[:, i % kernel.shape[1]] for i in range(bands)], dim=1) * (kernel.shape[1] / bands)
    return torch.cat([repeated, repeated.new_zeros(len(kernel), channels - bands, *kernel.shape[2:])], dim=1)
