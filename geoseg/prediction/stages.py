"""The stages of a prediction, from pixels to classes.

`Predictor` runs them on the blocks and windows of a scene, `geoseg.evaluation.protocol` on batches of small images.
Images are (bands, rows, cols), validity and superpixels (rows, cols); logits are (h, w, K) in cells of `STRIDE` pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.model.file import Model
from geoseg.model.inference import inference_copy
from geoseg.raster.statistics import colour_scale
from geoseg.recipes import ENCODER_STRIDE, STRIDE
from geoseg.segments.lattice import Backend, cpu_backend
from geoseg.segments.regions import classify, region_means
from geoseg.segments.superpixels import Superpixels, colour, segment


class Stages:
    """One model on one device, for imagery of one data type. Safe to share between threads.

    Args:
        model: The model; it is copied, not changed.
        dtype: Data type of the pixels.
        device: Where the network runs.
        precision: torch.float32 or torch.bfloat16, the arithmetic of the network.
    """

    def __init__(self, model: Model, dtype: np.dtype[Any], device: torch.device, precision: torch.dtype) -> None:
        self._model, self._device, self._precision = model, device, precision
        self._network = inference_copy(model.network, device, precision)
        self._offset, self._scale = colour_scale(model.stats, _colour_dtype(model.dtype, dtype))

    def normalise(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the network's input: float32 (bands, H, W), normalised by the model's statistics and padded.

        H and W are `rows` and `cols` rounded up to multiples of `ENCODER_STRIDE`.
        """
        return pad(self._model.stats.normalise(pixels, valid))

    def cut(
        self,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        *,
        origin: tuple[int, int] = (0, 0),
        scene_shape: tuple[int, int] | None = None,
        core: tuple[slice, slice] | None = None,
        threads: int = 1,
        backend: Backend = cpu_backend,
    ) -> Superpixels:
        """Return the superpixels of an image, or of a part of a scene, with the model's settings.

        Args:
            pixels: (bands, rows, cols), of any numeric type.
            valid: bool (rows, cols).
            origin, scene_shape, core: Where the pixels lie in their scene; see `geoseg.segments.superpixels.segment`.
            threads: How many threads to use; the result does not depend on it.
            backend: Implementation of the iterations; the result does not depend on it.
        """
        settings = self._model.superpixels
        return segment(
            colour(pixels, valid, offset=self._offset, scale=self._scale, threads=threads),
            valid,
            size=settings.size,
            compactness=settings.compactness,
            iterations=settings.iterations,
            origin=origin,
            scene_shape=scene_shape,
            core=core,
            threads=threads,
            backend=backend,
        )

    def forward(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (B, H / STRIDE, W / STRIDE, K), float32, of a batch of images from `normalise`.

        Args:
            images: float32 (B, bands, H, W).
        """
        batch = torch.from_numpy(images).to(self._device, self._precision)
        with torch.inference_mode():
            logits: torch.Tensor = self._network(batch.contiguous(memory_format=torch.channels_last))  # (B, K, h, w)
        result: NDArray[np.float32] = logits.permute(0, 2, 3, 1).float().cpu().numpy()
        return result

    @staticmethod
    def classify(
        logits: NDArray[np.float32],
        labels: NDArray[np.int32],
        count: int,
        offset: tuple[int, int] = (0, 0),
        threads: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the class of each superpixel, from its mean logits, and the probability of that class.

        Args:
            logits: float32 (h, w, K).
            labels: int32 (rows, cols) in [0, count]; 0 is no superpixel.
            count: The number of superpixels.
            offset: (row, col) in [0, STRIDE) of the first pixel of `labels` within the first cell of `logits`.
            threads: How many threads to use; the result does not depend on it.

        Returns:
            Class ids in 1..K, int64 (count + 1,), with 0 for no superpixel; and probabilities in (0, 1], float32
            (count + 1,), whose first value has no meaning.
        """
        ids, probability = classify(region_means(np.ascontiguousarray(logits), labels, count, STRIDE, offset, threads))
        ids[0] = 0
        return ids, probability


def pad(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad an image (bands, rows, cols) by reflection at its ends, so that its sides are multiples of `ENCODER_STRIDE`.

    If an axis is too short for reflection, both axes repeat their last pixels instead.
    """
    pads = [(0, -length % ENCODER_STRIDE) for length in image.shape[1:]]
    if not any(after for _, after in pads):
        return image
    if all(after < length for (_, after), length in zip(pads, image.shape[1:], strict=True)):
        return np.pad(image, ((0, 0), *pads), mode="reflect")
    return np.pad(image, ((0, 0), *pads), mode="edge")


def _colour_dtype(trained: str, dtype: np.dtype[Any]) -> str:
    """The data type that decides the range of colours: 8-bit RGB is sRGB only if the model learnt from it too."""
    return trained if str(dtype) == trained else str(np.promote_types(trained, dtype))
