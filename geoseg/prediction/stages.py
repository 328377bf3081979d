"""The stages of a prediction, from pixels to classes.

`Predictor` runs them on the blocks and windows of a scene, `geoseg.evaluation.protocol` on batches of small images.
Images are (bands, rows, cols), validity and superpixels (rows, cols); logits are (h, w, K) in cells of `STRIDE` pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.model.file import Model
from geoseg.model.inference import inference_copy
from geoseg.prediction.experts import Combination, Described
from geoseg.prediction.images import ImageTable
from geoseg.prediction.taught import Featured, Taught, start_of
from geoseg.raster.matching import Curve
from geoseg.raster.scaling import Conversion
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import STRIDE
from geoseg.segments.regions import FieldRows, classify, region_means, region_means_of
from geoseg.segments.superpixels import Superpixels, colour, segment

Image = tuple[NDArray[Any], NDArray[np.bool_]]
"""Pixels (bands, rows, cols), and validity, bool (rows, cols)."""


class Edges(NamedTuple):
    """Which sides of a window lie on the edge of its scene."""

    top: bool
    bottom: bool
    left: bool
    right: bool

    @classmethod
    def of(cls, window: Window, extent: Window) -> Edges:
        """Return the sides that `window` shares with `extent`, the window of the whole scene."""
        (top, bottom), (left, right) = (
            (part.start == whole.start, part.stop == whole.stop)
            for part, whole in ((window.rows, extent.rows), (window.cols, extent.cols))
        )
        return cls(top, bottom, left, right)


ALL_EDGES = Edges(True, True, True, True)
"""The edges of an image that is a scene of its own."""


class Stages:
    """One model on one device, for imagery of one data type. Safe to share between threads.

    Args:
        model: The model; it is copied, not changed.
        dtype: Data type of the pixels.
        device: Where the network runs.
        precision: torch.float32 or torch.bfloat16, the arithmetic of the network.
        conversion: Turns pixels into those that the model knows; None takes them as they are.
        rounds: Rounds of smoothing; without effect on a model without experts.
        teaching: Describe superpixels for `observe`, whether or not the model was taught.

    Attributes:
        dtype: Type of the pixels as the model knows them.
        colour_scale: Offset and scale of the bands for superpixels; see `geoseg.raster.statistics.colour_scale`.
    """

    def __init__(
        self,
        model: Model,
        dtype: np.dtype[Any],
        device: torch.device,
        precision: torch.dtype,
        conversion: Conversion | Curve | None = None,
        rounds: int = 0,
        teaching: bool = False,
    ) -> None:
        self._model, self._device, self._precision = model, device, precision
        self._conversion = conversion
        dtype = dtype if conversion is None else np.dtype(conversion.dtype)
        self._network = inference_copy(model.network, device, precision)
        self._experts = Combination(model.experts, model.stats, rounds) if model.experts else None
        self._taught = Taught(model.teaching, self._experts, model.stats) if model.teaching else None
        self._featured: Featured | None = self._taught
        if teaching:
            self._featured = Featured(self._experts, model.stats, start_of(model))
        self._table = ImageTable(model.stats, dtype) if ImageTable.suits(dtype, device, precision) else None
        self._class_ids = np.array(model.classes.class_of_cluster(), np.int64)
        self.dtype, self.colour_scale = dtype, colour_scale(model.stats, _colour_dtype(model.dtype, dtype))

    def normalise(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], edges: Edges = ALL_EDGES
    ) -> NDArray[np.float32]:
        """Return the network's input for one window: normalised by the model's statistics, and padded.

        Beyond the edges of the scene, and where pixels are invalid, the network sees the nearest valid pixel. It would
        pad with zeros instead, of which it makes other classes.

        Args:
            pixels: (bands, rows, cols), of any numeric type.
            valid: bool (rows, cols).
            edges: The sides of the window beyond which there is nothing to read.

        Returns:
            float32 (bands, H, W) for `forward`.
        """
        image, pads = self._model.stats.normalise(self.converted(pixels), valid), self.pads(valid.shape, edges)
        # Most windows of a large scene lie inside it; np.pad would copy them.
        return np.pad(image, ((0, 0), *pads), mode="edge") if any(map(any, pads)) else image

    def batch(self, windows: Sequence[Image], edges: Edges) -> torch.Tensor:
        """Return what `logits` takes of windows of one shape with the same edges.

        Args:
            windows: Pixels (bands, rows, cols) and validity, bool (rows, cols), of each.
            edges: As for `normalise`.

        Returns:
            (B, bands, H, W) on the device, in the network's precision.
        """
        images = [self._image(pixels, valid, edges) for pixels, valid in windows]
        return images[0] if len(images) == 1 else torch.cat(images)

    def _image(self, pixels: NDArray[Any], valid: NDArray[np.bool_], edges: Edges) -> torch.Tensor:
        if self._table is not None and valid.all():
            return self._table.image(self.converted(pixels), self.pads(valid.shape, edges))
        return torch.from_numpy(self.normalise(pixels, valid, edges)[None]).to(self._device, self._precision)

    def pads(self, shape: tuple[int, ...], edges: Edges) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the pixels to add before and after the rows, and the columns, of a window."""
        spec = self._model.network.spec
        context, multiple = spec.context, spec.stride
        (top, bottom), (left, right) = (
            (before * context, after * context + -(length + (before + after) * context) % multiple)
            for length, before, after in ((shape[0], edges.top, edges.bottom), (shape[1], edges.left, edges.right))
        )
        return (top, bottom), (left, right)

    def converted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels as the model knows them."""
        return pixels if self._conversion is None else self._conversion.apply(pixels)

    def colours(self, pixels: NDArray[Any], valid: NDArray[np.bool_], threads: int = 1) -> NDArray[np.int16]:
        """Return the colours by which superpixels are cut, int16 (channels, rows, cols).

        Args:
            pixels: (bands, rows, cols), of any numeric type.
            valid: bool (rows, cols).
            threads: How many threads to use; the result does not depend on it.
        """
        offset, scale = self.colour_scale
        return colour(self.converted(pixels), valid, offset=offset, scale=scale, threads=threads)

    def cut(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> Superpixels:
        """Return the superpixels of an image that is a scene of its own, with the model's settings.

        Args:
            pixels: (bands, rows, cols), of any numeric type.
            valid: bool (rows, cols).
        """
        return segment(self.colours(pixels, valid), valid, **vars(self._model.superpixels))

    def forward(
        self, images: NDArray[np.float32], shape: tuple[int, int], edges: Edges = ALL_EDGES
    ) -> NDArray[np.float32]:
        """Return the logits (B, h, w, K), float32, of a batch of windows, one for each cell of `STRIDE` pixels.

        Args:
            images: float32 (B, bands, H, W) from `normalise`, for windows of one shape with the same edges.
            shape: (rows, cols) of the windows.
            edges: Their edges.
        """
        batch = torch.from_numpy(images).to(self._device, self._precision)
        result: NDArray[np.float32] = self.logits(batch, shape, edges).cpu().numpy()
        return result

    def logits(self, batch: torch.Tensor, shape: tuple[int, int], edges: Edges = ALL_EDGES) -> torch.Tensor:
        """Return what `forward` does as a tensor on the device, of a batch that is there in the network's precision."""
        return self.raw_logits(batch, shape, edges).float()

    def raw_logits(self, batch: torch.Tensor, shape: tuple[int, int], edges: Edges = ALL_EDGES) -> torch.Tensor:
        """Return what `logits` does in the network's precision."""
        with torch.inference_mode():
            logits: torch.Tensor = self._network(batch.contiguous(memory_format=torch.channels_last))  # (B, K, h, w)
            rows, cols = (
                slice(before // STRIDE, before // STRIDE - -length // STRIDE)
                for (before, _), length in zip(self.pads(shape, edges), shape, strict=True)
            )
            return logits[..., rows, cols].permute(0, 2, 3, 1)

    def describe(
        self,
        pixels: NDArray[Any],
        labels: NDArray[np.int32],
        count: int,
        threads: int = 1,
        valid: NDArray[np.bool_] | None = None,
    ) -> Described | None:
        """Return what `classify` needs to know of superpixels besides the logits: None if the network alone tells.

        Args:
            pixels: (bands, rows, cols), of any numeric type; for taught classes, with
                `geoseg.prediction.taught.margin_of` around the superpixels, as far as the scene reaches.
            labels: int32 (rows, cols) in [0, count], 0 where pixels are invalid.
            count: The number of superpixels.
            threads: How many threads to use; the result does not depend on it.
            valid: bool (rows, cols), of which taught classes depend; None is where labels are not 0.
        """
        if self._featured is not None:
            valid = labels > 0 if valid is None else valid
            return self._featured.describe(self.converted(pixels), valid, labels, count, threads)
        if self._experts is None:
            return None
        return self._experts.describe(self.converted(pixels), labels, count, threads)

    def posterior(
        self, logits: NDArray[np.float32], labels: NDArray[np.int32], count: int, described: Described
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean logits of superpixels, and the posterior of clusters, smoothed, (count + 1, K) each.

        The arguments are those of `classify`, for a model with experts.
        """
        assert self._experts is not None
        means = self.means(logits, labels, count)
        return means, self._experts.posterior(means, described)

    def observe(
        self,
        logits: NDArray[np.float32],
        labels: NDArray[np.int32],
        count: int,
        described: Described,
        offset: tuple[int, int] = (0, 0),
        threads: int = 1,
    ) -> NDArray[np.float32]:
        """Return the probabilities of the clusters of superpixels by which a model is taught, float32 (count + 1, K).

        The arguments are those of `classify`, for stages that describe superpixels for teaching.
        """
        return self.observe_means(self.means(logits, labels, count, offset, threads), described, threads)

    def observe_means(self, means: NDArray[np.float32], described: Described, threads: int = 1) -> NDArray[np.float32]:
        """Return what `observe` does, of the mean logits of superpixels, float32 (count + 1, K)."""
        assert self._featured is not None
        return self._featured.clusters(means, described, threads)

    def classify(
        self,
        logits: NDArray[np.float32],
        labels: NDArray[np.int32],
        count: int,
        described: Described | None,
        offset: tuple[int, int] = (0, 0),
        threads: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the class of each superpixel, and the probability of its cluster.

        The cluster is that of the mean logits, or for a model with experts that of their product, smoothed; for a model
        that was taught, it is one of the classes that it was taught. So classes merged before a prediction are the same
        as those merged in a finished map.

        Args:
            logits: float32 (h, w, K).
            labels: int32 (rows, cols) in [0, count]; 0 is no superpixel.
            count: The number of superpixels.
            described: From `describe`, for the same superpixels; the smoothed class of one depends on those that are as
                many steps away as there are rounds.
            offset: (row, col) in [0, STRIDE) of the first pixel of `labels` within the first cell of `logits`.
            threads: How many threads to use; the result does not depend on it.

        Returns:
            Class ids in 1..C, int64 (count + 1,), with 0 for no superpixel; and probabilities in (0, 1], float32
            (count + 1,), whose first value has no meaning.
        """
        return self.classify_means(self.means(logits, labels, count, offset, threads), described, threads)

    def means(
        self, logits: NDArray[np.float32], labels: NDArray[np.int32], count: int, offset: tuple[int, int] = (0, 0),
        threads: int = 1,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Return the mean logits of superpixels, float32 (count + 1, K); the arguments are those of `classify`."""
        return region_means(logits, labels, count, STRIDE, offset, threads)

    def means_of(
        self, logits: FieldRows, labels: NDArray[np.int32], count: int, offset: tuple[int, int], threads: int = 1
    ) -> NDArray[np.float32]:
        """Return what `means` does, of logits that are made row by row."""
        classes = self._model.spec.classes
        return region_means_of(logits, classes, labels, count, STRIDE, offset, threads)

    def classify_means(
        self, means: NDArray[np.float32], described: Described | None, threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return what `classify` does, of the mean logits of superpixels, float32 (count + 1, K)."""
        if described is None:
            ids, probability = classify(means)
        elif self._taught is not None:
            ids, probability = self._taught.classify(means, described, threads)
        elif self._experts is None:
            ids, probability = classify(means)
        else:
            ids, probability = self._experts.classify(means, described, threads)
        ids[0] = 0
        return self._class_ids[ids], probability


def _colour_dtype(trained: str, dtype: np.dtype[Any]) -> str:
    """The data type that decides the range of colours: 8-bit RGB is sRGB only if the model learnt from it too."""
    return trained if str(dtype) == trained else str(np.promote_types(trained, dtype))
