"""The model file: one safetensors file with the weights and a JSON card, so that prediction needs nothing else.

The card describes network, bands, statistics, superpixels, windows, classes, experts, teaching, recipe, training data
and versions. It holds the SHA-256 of the tensors and of itself. The file stores no code, and loading it runs none.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save

from geoseg.classes import ClassMap
from geoseg.errors import InputError, first_line
from geoseg.extras import ExtraBands
from geoseg.files.atomic import publish_bytes, sha256
from geoseg.files.stamps import Stamps
from geoseg.indices import IndexBand
from geoseg.model.appearance import Appearance
from geoseg.model.card import ALTERED, sealed
from geoseg.model.card_file import EXPERTS, FORMAT, TEACHING, read_card
from geoseg.model.mixture import Experts
from geoseg.model.network import NetworkSpec, SegmentationNetwork, build
from geoseg.model.teaching import Teaching
from geoseg.raster.scaling import Scaling
from geoseg.raster.statistics import BandStats
from geoseg.recipes import SuperpixelConfig, WindowConfig


@dataclass(frozen=True, eq=False)
class Model:
    """A network together with everything prediction needs to know about its training.

    Attributes:
        network: The network, normally in evaluation mode.
        bands: Band names, in the order the network takes them.
        dtype: NumPy name of the imagery's pixel type. Superpixels read three bands of uint8 as sRGB, and scale any
            other imagery by the percentiles in `stats`.
        stats: Band statistics that normalise the imagery.
        superpixels: How scenes are cut into superpixels.
        windows: Default size and overlap of the network's windows.
        classes: Names and colours of the classes, which are made of the network's clusters, or of the outputs of what
            the model was taught.
        provenance: Recipe, summary of the training data, and versions. Informative; prediction does not read it.
        pixel_size: Smallest and largest side of a pixel of the training imagery, in metres on the ground; None where it
            is not known, as in older models.
        scaling: Scale and offset that the training imagery declares for its values; None where it declares none.
        experts: The mixture that classes are also told by, and how they are smoothed; None for a training without a
            mixture and in older models, whose network alone tells the classes.
        teaching: Named classes that the model was taught with references; None where it was not.
        appearance: What the network's outputs look like; None in older models. Prediction does not read it.
        indices: The last of `bands`, which are computed from the first ones.
        extras: The rasters that the bands before these come from.
        file_dtype: NumPy name of the type that the scenes' own bands had; None where it is `dtype`, without bands of
            other origin.
        sha256: Hex digest of the file that the model was loaded from or saved to, None for a model that was never
            saved. `dataclasses.replace` resets it, because the changed model is not the one in the file.
    """

    network: SegmentationNetwork
    bands: tuple[str, ...]
    dtype: str
    stats: BandStats
    superpixels: SuperpixelConfig
    windows: WindowConfig
    classes: ClassMap
    provenance: Mapping[str, Any]
    pixel_size: tuple[float, float] | None = None
    scaling: Scaling | None = None
    experts: Experts | None = None
    teaching: Teaching | None = None
    appearance: Appearance | None = None
    indices: tuple[IndexBand, ...] = ()
    extras: tuple[ExtraBands, ...] = ()
    file_dtype: str | None = None
    sha256: str | None = field(default=None, init=False)
    _saved: str | None = field(default=None, init=False)

    @property
    def changed(self) -> bool:
        """Whether tensors were changed in place since the model was loaded or saved, so that `sha256` is not theirs."""
        return self._saved is not None and self._saved != _digest(_state(self))

    @property
    def file_bands(self) -> tuple[str, ...]:
        """Names of the bands that a scene itself has to have."""
        return self.bands[: len(self.bands) - len(self.indices) - sum(extra.bands for extra in self.extras)]

    @property
    def spec(self) -> NetworkSpec:
        """What the network is built from."""
        return self.network.spec


def save_model(model: Model, path: Path) -> Model:
    """Write `model` to `path`, which appears only when the file is complete.

    Returns:
        The same model, network shared, with the SHA-256 of the file.

    Raises:
        OutputError, WriteError: The file cannot be written.
    """
    state = _state(model)
    card: dict[str, Any] = {
        "format": FORMAT,
        "network": model.spec.to_json(),
        "bands": list(model.bands),
        "dtype": model.dtype,
        "statistics": model.stats.to_json(),
        "superpixels": asdict(model.superpixels),
        "windows": asdict(model.windows),
        "classes": model.classes.to_json(),
        "provenance": dict(model.provenance),
        "tensors_sha256": _digest(state),
    }
    if model.pixel_size is not None:
        card["pixel_size"] = list(model.pixel_size)
    if model.scaling is not None:
        card["scaling"] = model.scaling.to_json()
    if model.experts is not None:
        card["experts"] = model.experts.to_json()
    if model.teaching is not None:
        card["teaching"] = model.teaching.to_json()
    if model.appearance is not None:
        card["appearance"] = model.appearance.to_json()
    if model.indices:
        card["indices"] = [index.to_json() for index in model.indices]
    if model.extras:
        card["extras"] = [extra.to_json() for extra in model.extras]
    if model.file_dtype is not None:
        card["file_dtype"] = model.file_dtype
    data = save(state, metadata={"geoseg": sealed(card)})
    publish_bytes(path, data)
    return _with_sha256(model, hashlib.sha256(data).hexdigest())


def load_model(path: Path) -> Model:
    """Load a model; its network is on the CPU, in evaluation mode.

    Raises:
        InputMissingError: There is no such file.
        InputError: The file is not a geoseg model, is damaged, or has another format.
    """
    stamps = Stamps.of([path])
    card = read_card(path)
    try:
        spec = NetworkSpec(**card["network"])
        with safetensors.safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if _digest(state) != card["tensors_sha256"]:
            raise InputError(f"{path}: its weights do not match their checksum; the file is damaged: copy it again")
        if not all(torch.isfinite(value).all() for value in state.values()):
            raise InputError(f"{path}: has weights that are not finite; train it again")
        experts, teaching = _take_experts(card, spec, state), _take_teaching(card, spec, state)
        _check_fit(spec, state)
        network = build(spec)
        network.load_state_dict(state)
        model = Model(
            network=network.eval(),
            bands=tuple(card["bands"]),
            dtype=str(card["dtype"]),
            stats=BandStats.from_json(card["statistics"]),
            superpixels=SuperpixelConfig(**card["superpixels"]),
            windows=WindowConfig(**card["windows"]),
            classes=ClassMap.from_json(card["classes"]),
            provenance=card["provenance"],
            pixel_size=(float(card["pixel_size"][0]), float(card["pixel_size"][1])) if "pixel_size" in card else None,
            scaling=Scaling.from_json(card["scaling"]) if "scaling" in card else None,
            experts=experts,
            teaching=teaching,
            appearance=Appearance.from_json(card["appearance"]) if "appearance" in card else None,
            indices=tuple(map(IndexBand.from_json, card.get("indices", ()))),
            extras=tuple(map(ExtraBands.from_json, card.get("extras", ()))),
            file_dtype=card.get("file_dtype"),
        )
        digest = sha256(path)
        stamps.check(path, "run the same command again when it is complete")
        return _with_sha256(model, digest)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{path}: its card and weights do not fit together ({first_line(error)}); {ALTERED}"
        ) from error


def _with_sha256(model: Model, digest: str) -> Model:
    known = copy.copy(model)
    object.__setattr__(known, "sha256", digest)
    object.__setattr__(known, "_saved", _digest(_state(model)))
    return known


def _state(model: Model) -> dict[str, torch.Tensor]:
    """The tensors of the file by name."""
    state = dict(model.network.state_dict())
    if model.experts is not None:
        state |= {EXPERTS + name: value for name, value in model.experts.tensors().items()}
    if model.teaching is not None:
        state |= {TEACHING + name: value for name, value in model.teaching.tensors().items()}
    return {name: value.detach().to("cpu").contiguous() for name, value in state.items()}


def _take_experts(card: Mapping[str, Any], spec: NetworkSpec, state: dict[str, torch.Tensor]) -> Experts | None:
    """Return the experts of a file, and remove their tensors from `state`.

    Raises:
        ValueError: The tensors do not fit the card.
    """
    if "experts" not in card:
        return None
    return Experts.from_parts(card["experts"], _take(EXPERTS, state), spec.bands, spec.classes)


def _take_teaching(card: Mapping[str, Any], spec: NetworkSpec, state: dict[str, torch.Tensor]) -> Teaching | None:
    """Return what a file says that the model was taught; as `_take_experts`."""
    return Teaching.from_parts(card["teaching"], _take(TEACHING, state), spec.bands) if "teaching" in card else None


def _take(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Remove the tensors with a prefix from `state`, and return them without it."""
    names = [name for name in state if name.startswith(prefix)]
    return {name.removeprefix(prefix): state.pop(name) for name in names}


def _check_fit(spec: NetworkSpec, state: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless `state` fits the network of `spec`, before memory is allocated for it."""
    try:
        with torch.device("meta"):
            expected = SegmentationNetwork(spec).state_dict()
    except RuntimeError:
        # A few encoders read tensor values while they are built, which meta tensors lack; load_state_dict checks them.
        return
    differing = expected.keys() ^ state.keys()
    differing |= {
        name
        for name, value in expected.items()
        if name in state and (value.shape, value.dtype) != (state[name].shape, state[name].dtype)
    }
    if differing:
        raise ValueError(f"{len(differing)} tensors differ, {min(differing)} among them")


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
