"""The STAC Item of a model, for catalogues: STAC 1.1.0 with the Machine Learning Model extension (MLM) 1.5.

A model has no place of its own, and no time: the Item has no geometry, and holds for all times, as in the examples of
the extension (https://github.com/stac-extensions/mlm). It lies beside the files and names them by relative paths.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from geoseg.files.record import source_date
from geoseg.model.file import Model
from geoseg.outputs.stac import MULTIHASH_SHA256, class_entries
from geoseg.recipes import COMPACT
from geoseg.units import stamp

MLM = "https://stac-extensions.github.io/mlm/v1.5.1/schema.json"
"""The extension by which an Item is written."""

_OTHERS = ("classification/v2.0.0", "file/v2.1.0")
_RASTER = "raster/v2.0.0"

_FRAMEWORKS = {"onnx": ("ONNX", "onnx"), "safetensors": ("PyTorch", "torch")}
"""Kind of file -> name of the framework in MLM, and its package."""

_MEDIA = {"onnx": "application/octet-stream; framework=onnx", "safetensors": "application/octet-stream"}

_SEMVER = re.compile(r"\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?")
_WINDOW = ["batch", "bands", "height", "width"]


@dataclass(frozen=True)
class Artifact:
    """The file that an Item is about.

    Attributes:
        path: Where it is, or will be.
        kind: What it is.
        sha256: Its SHA-256, hexadecimal.
        size: Its bytes; None asks the file, which then exists.
        tile_size: Height and width of the images that it takes; None for any.
    """

    path: Path
    kind: Literal["onnx", "safetensors"]
    sha256: str
    size: int | None = None
    tile_size: int | None = None

    @classmethod
    def of_onnx(cls, path: Path, data: bytes, tile_size: int | None) -> Artifact:
        """Return the ONNX file with the content `data`."""
        return cls(path, "onnx", sha256(data).hexdigest(), len(data), tile_size)


def mlm_item(path: Path, model: Model, artifact: Artifact, source: Path) -> bytes:
    """Return the Item of a model as JSON.

    With SOURCE_DATE_EPOCH set, that is the time of creation.

    Args:
        path: Where the Item will be written; paths of assets are relative to its folder.
        model: The model.
        artifact: What the Item is about.
        source: The model file.
    """
    created = source_date()
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, *map(_extension, (*_OTHERS, *([_RASTER] if _declared(model) else [])))],
        "id": f"{artifact.path.stem}-{artifact.sha256[:12]}",
        "geometry": None,
        "properties": {
            "title": artifact.path.stem,
            "description": _description(model, artifact),
            "datetime": None,
            "start_datetime": "1900-01-01T00:00:00Z",
            "end_datetime": "9999-12-31T23:59:59Z",
            **({"created": stamp(created)} if created else {}),
            **({} if model.pixel_size is None else {"gsd": model.pixel_size[0]}),
            "bands": _bands(model),
            "file:size": _size(artifact),
            **_properties(model, artifact),
        },
        "links": [],
        "assets": {
            # STAC has bands in properties only where an asset has them; MLM looks for them in properties.
            "model": {**_asset(artifact, path.parent, "The model", ("mlm:model",)), "bands": _bands(model)},
            **({} if artifact.kind == "safetensors" else {
                "source": _asset(
                    Artifact(source, "safetensors", str(model.sha256)), path.parent,
                    "The model of geoseg that it was made from", ("mlm:weights",),
                )
            }),
        },
    }  # fmt: skip
    return (json.dumps(item, indent=1, ensure_ascii=False) + "\n").encode()


def _properties(model: Model, artifact: Artifact) -> dict[str, Any]:
    """The fields of the extension."""
    framework, package = _FRAMEWORKS[artifact.kind]
    state = list(model.network.parameters())
    encoder = model.spec.encoder
    return {
        "mlm:name": _name(artifact.path.stem),
        "mlm:architecture": "six convolutions" if encoder == COMPACT else f"FPN with encoder {encoder}",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": framework,
        **_version(package),
        "mlm:memory_size": sum(value.nbytes for value in state),
        "mlm:total_parameters": sum(value.numel() for value in state),
        "mlm:pretrained": True,
        **_training(model.provenance),
        "mlm:accelerator_constrained": False,
        "mlm:hyperparameters": {
            "tile_size": artifact.tile_size or model.windows.tile_size,
            "overlap": model.windows.overlap,
            "superpixel_size": model.superpixels.size,
        },
        "mlm:input": [_input(model, artifact)],
        "mlm:output": [_output(model, artifact)],
    }


def _input(model: Model, artifact: Artifact) -> dict[str, Any]:
    side = artifact.tile_size or -1
    stats = model.stats
    return {
        "name": "image",
        "description": "Values as the scenes store them, normalised by band"
        + ("" if artifact.kind == "onnx" else "; geoseg does so itself"),
        "bands": list(model.bands),
        "input": {"shape": [-1, len(model.bands), side, side], "dim_order": _WINDOW, "data_type": "float32"},
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std} for mean, std in zip(stats.mean, stats.std, strict=True)
        ],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(model: Model, artifact: Artifact) -> dict[str, Any]:
    """What the file gives: probabilities of classes, or for the model of geoseg the map that it makes."""
    side = artifact.tile_size or -1
    # The classes of the extension have a description for a title.
    entries = [
        {("description" if key == "title" else key): value for key, value in entry.items()}
        for entry in class_entries(model.classes.classes)
    ]
    if artifact.kind == "onnx":
        entries = [{**entry, "value": channel} for channel, entry in enumerate(entries)]
        name, text = "probabilities", "Probability of each class at each pixel; the value of a class is its channel"
        shape, order, dtype = [-1, len(entries), side, side], ["batch", "class", "height", "width"], "float32"
    else:
        name, text = "classes", "Class raster of geoseg predict; the value of a class is its id, and 0 is nodata"
        shape, order, dtype = [-1, -1], ["height", "width"], model.classes.dtype
    return {
        "name": name,
        "description": text,
        "tasks": ["semantic-segmentation"],
        "result": {"shape": shape, "dim_order": order, "data_type": dtype},
        "classification:classes": entries,
        "post_processing_function": None,
    }


def _bands(model: Model) -> list[dict[str, Any]]:
    """The bands of the imagery, with the statistics that normalise them."""
    count, stats, scaling = len(model.bands), model.stats, model.scaling
    declared: list[dict[str, float]] = [{} for _ in range(count)]
    if scaling is not None and _declared(model):
        pairs = zip(scaling.scale, scaling.offset, strict=True)
        declared = [{"raster:scale": scale, "raster:offset": offset} for scale, offset in pairs]
    return [
        {"name": name, "data_type": model.dtype, "statistics": {"mean": mean, "stddev": std}, **more}
        for name, mean, std, more in zip(model.bands, stats.mean, stats.std, declared, strict=True)
    ]


def _declared(model: Model) -> bool:
    """Whether the imagery declares scale and offset of its values."""
    return model.scaling is not None and model.scaling.declared


def _extension(name: str) -> str:
    return f"https://stac-extensions.github.io/{name}/schema.json"


def _description(model: Model, artifact: Artifact) -> str:
    made = "Land cover from orthophotos, learnt by geoseg without labels"
    if artifact.kind == "safetensors":
        return f"{made}; use it with geoseg predict"
    taught = " voting for the classes that it was taught" if model.teaching is not None else ""
    return f"{made}: its network alone{taught}, pixel by pixel, without superpixels and what geoseg knows of them"


def _training(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Where the weights come from; empty where a model that other software wrote does not say."""
    try:
        data = provenance["data"]
        return {"mlm:pretrained_source": f"{data['scenes']} scenes, {data['pixels'] / 1e6:.1f} Mpx, without labels"}
    except (KeyError, TypeError):
        return {}


def _name(stem: str) -> str:
    """A name as the extension allows it: of letters, digits, `_`, `.`, `-` and blanks, ending with one of the first."""
    plain = re.sub(r"[^a-zA-Z0-9_. -]+", "-", stem)
    return re.sub(r"[^a-zA-Z0-9]+$", "", f"geoseg {plain}")


def _version(package: str) -> dict[str, str]:
    """The version of a framework, where it is installed and has the form that the extension asks for."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return {}
    return {"mlm:framework_version": found} if _SEMVER.fullmatch(found) else {}


def _size(artifact: Artifact) -> int:
    return artifact.path.stat().st_size if artifact.size is None else artifact.size


def _asset(artifact: Artifact, folder: Path, title: str, roles: tuple[str, ...]) -> dict[str, Any]:
    relative = Path(os.path.relpath(artifact.path, folder)).as_posix()
    return {
        "href": quote(relative if relative.startswith("../") else f"./{relative}"),
        "title": title,
        "type": _MEDIA[artifact.kind],
        "roles": list(roles),
        "file:size": _size(artifact),
        "file:checksum": MULTIHASH_SHA256 + artifact.sha256,
        "mlm:artifact_type": artifact.kind,
    }
