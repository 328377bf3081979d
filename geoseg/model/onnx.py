"""A model's network as an ONNX file, for other programs: Deepness in QGIS, ONNX Runtime, and what else reads ONNX.

The graph takes an image of any size (or of one size), normalised, and returns the probability of each class at each
pixel. It holds what prediction does around the network on one image: the image is continued beyond its edges by its
border, as a scene is, and the logits of cells are interpolated to pixels. Classes are those of the class map, in the
order of their ids: the logit of a class of several clusters is the largest of theirs, so that the most probable class
is that of the most probable cluster, as in prediction. For a model that was taught, the clusters vote for classes
(`geoseg.model.teaching`). What belongs to superpixels cannot be in it: mixture, textures, smoothing.

Deepness divides pixels of any type by 255, subtracts `standardization_mean` and divides by `standardization_std`;
given mean and deviation divided by 255, this is the normalisation of `BandStats.normalise`. Where that also cuts off
wild values, the graph does.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.errors import InputError, UnavailableError, first_line
from geoseg.lazy import lazy
from geoseg.model.file import Model
from geoseg.model.inference import fold_norms
from geoseg.recipes import STRIDE
from geoseg.version import __version__

if TYPE_CHECKING:
    import onnx
else:
    onnx = lazy("onnx")

INPUT, OUTPUT = "image", "probabilities"
"""Names of the graph's input, float32 (batch, bands, height, width), and output, (batch, classes, height, width)."""

OPSET = 17
"""The newest that ONNX Runtime 1.12 reads, the oldest release that Deepness may run on."""

_IR_VERSION = 8
"""Likewise."""


class ClassProbabilities(nn.Module):
    """Maps normalised images (B, bands, H, W) of any size to probabilities of classes (B, C, H, W), float32.

    Args:
        model: The model; it is copied, not changed.
    """

    limits: Tensor
    votes: Tensor
    members: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = fold_norms(model.network)
        self._context, self._multiple = model.spec.context, model.spec.stride
        fences = model.stats.fences(np.dtype(model.dtype))
        self._fenced, self._taught = fences is not None, model.teaching is not None
        if fences is not None:
            shape = (1, len(model.bands), 1, 1)
            mean, std = (np.reshape(values, (-1, 1, 1)) for values in (model.stats.mean, model.stats.std))
            limits = [((fence.astype(np.float64) - mean) / std).reshape(shape) for fence in fences]
            self.register_buffer("limits", torch.from_numpy(np.stack(limits).astype(np.float32)))
        if model.teaching is not None:
            votes = torch.from_numpy(model.teaching.votes.T.astype(np.float32))
            self.register_buffer("votes", votes[:, :, None, None].contiguous())
        clusters = [entry.clusters for entry in model.classes.classes]
        widest = max(map(len, clusters))
        # A class with fewer clusters has its first one several times, which does not change the largest.
        rows = [[cluster - 1 for cluster in (*of, *of[:1] * (widest - len(of)))] for of in clusters]
        self._classes, self._widest = len(clusters), widest
        self.register_buffer("members", torch.tensor(rows).flatten())

    def forward(self, image: Tensor) -> Tensor:
        """Return the probabilities."""
        height, width = image.shape[2], image.shape[3]
        if self._fenced:
            image = torch.minimum(torch.maximum(image, self.limits[0]), self.limits[1])
        context, multiple = self._context, self._multiple
        below, right = (context + (-(length + 2 * context)) % multiple for length in (height, width))
        logits = self.network(functional.pad(image, (context, right, context, below), mode="replicate"))
        cells = self._probabilities(logits)
        pixels = functional.interpolate(cells, scale_factor=STRIDE, mode="bilinear", align_corners=False)
        return pixels[..., context : context + height, context : context + width]

    def _probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of classes (B, C, h, w) of the logits of clusters (B, K, h, w)."""
        scores = logits
        if self._taught:
            scores = functional.conv2d(logits.softmax(1), self.votes).log()
        scores = scores.index_select(1, self.members)
        if self._widest > 1:
            scores = torch.unflatten(scores, 1, (self._classes, self._widest)).amax(2)
        return scores.softmax(1)


def exported(model: Model, tile_size: int | None = None) -> bytes:
    """Return the ONNX file of a model; the same bytes for the same model and the same release of torch.

    Args:
        model: The model, with the SHA-256 of its file.
        tile_size: Height and width of the images that the graph takes; None for any. Programs such as Deepness need
            one. The size of the batch is free.

    Raises:
        UnavailableError: Package onnx is not installed.
        InputError: The network cannot be written as ONNX.
    """
    try:
        onnx.IR_VERSION  # noqa: B018 (imports it)
    except ImportError as error:
        raise UnavailableError(
            f"writing ONNX needs package onnx ({first_line(error)}); install it with pip install 'geoseg[onnx]'"
        ) from error
    module = ClassProbabilities(model).eval()
    graph = onnx.load_model_from_string(_traced(module, len(model.bands)))
    for value in (*graph.graph.input, *graph.graph.output):
        _, channels, *sides = value.type.tensor_type.shape.dim
        channels.dim_value = len(model.bands) if value.name == INPUT else len(model.classes)
        for side, name in zip(sides, ("height", "width"), strict=True):
            side.Clear()
            if tile_size is None:
                side.dim_param = name
            else:
                side.dim_value = tile_size
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.ir_version = _IR_VERSION
    graph.producer_name, graph.producer_version = "geoseg", __version__
    # Names of operators in the source of torch, and shapes of the traced example, which other sizes contradict.
    graph.graph.ClearField("value_info")
    for node in graph.graph.node:
        node.ClearField("doc_string")
    for key, entry in metadata(model, tile_size).items():
        graph.metadata_props.add(key=key, value=entry)
    onnx.checker.check_model(graph, full_check=True)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def _traced(module: nn.Module, bands: int) -> bytes:
    """Return what torch makes of a module, with free batch and size."""
    # Sides that no stride divides, so that nothing of what depends on them is left out.
    example = torch.zeros(2, bands, 70, 102)
    free = {0: "batch", 2: "height", 3: "width"}
    # The exporter of torch.export needs one more package, and writes a version that few releases of runtimes read.
    known = inspect.signature(torch.onnx.export).parameters
    more: dict[str, Any] = {"dynamo": False} if "dynamo" in known else {}
    # A file in memory is taken by this exporter alone, so that its type is not that of every release.
    file: Any = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (example,), file, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                dynamic_axes={INPUT: free, OUTPUT: free}, **more,
            )  # fmt: skip
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(
            f"the network {module.network.spec.encoder} has no form in ONNX opset {OPSET} ({first_line(error)}); "  # type: ignore[union-attr]
            "export a model with another encoder"
        ) from error
    data: bytes = file.getvalue()
    return data


def metadata(model: Model, tile_size: int | None = None) -> dict[str, str]:
    """Return the metadata of the ONNX file: the keys that Deepness reads, each with a JSON value, and `geoseg`.

    Deepness: https://qgis-plugin-deepness.readthedocs.io, "Adding metadata to ONNX model"; `standardization_mean` and
    `standardization_std` are in its `model_base.py`. Thresholds of 0 switch off what would change classes.

    Args:
        model: The model.
        tile_size: See `exported`.
    """
    stats, size = model.stats, tile_size or model.windows.tile_size
    entries: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(channel): entry.name for channel, entry in enumerate(model.classes.classes)},
        "tile_size": size,
        "tiles_overlap": _overlap_percent(model, size),
        "standardization_mean": [mean / 255 for mean in stats.mean],
        "standardization_std": [std / 255 for std in stats.std],
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "geoseg": {
            "version": __version__,
            "model_sha256": model.sha256,
            "bands": list(model.bands),
            "dtype": model.dtype,
            "mean": list(stats.mean),
            "std": list(stats.std),
            "classes": [{"id": c.id, "name": c.name, "colour": c.colour} for c in model.classes.classes],
        },
    }
    if model.pixel_size is not None:
        # Centimetres; the geometric mean of the smallest and the largest side.
        entries["resolution"] = round(100 * math.sqrt(model.pixel_size[0] * model.pixel_size[1]), 4)
    return {key: json.dumps(value, ensure_ascii=False) for key, value in entries.items()}


def _overlap_percent(model: Model, size: int) -> int:
    """Return the overlap of Deepness' tiles, in per cent of their side, at least that of the model's windows.

    The smallest that puts the cells of all tiles on one lattice and discards what the edge of a tile changes, so that
    the map does not depend on where tiles begin; the smallest of all where none does.
    """
    least = math.ceil(100 * min(model.windows.overlap, size // 2) / size)

    def fits(percent: int) -> bool:
        pixels = int(size * percent / 100 * 2) // 2  # as Deepness rounds it
        return (size - pixels) % model.spec.stride == 0 and pixels // 2 >= model.spec.context + STRIDE

    return next(filter(fits, range(least, 51)), least)
