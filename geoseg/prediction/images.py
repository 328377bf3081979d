"""The network's input, straight from the integers of a file.

Pixels of 8 or 16 bits have few values, and what each becomes in a band is looked up. The result is to the bit what
`geoseg.raster.statistics.BandStats.normalise` and a conversion to bfloat16 give; it takes one pass instead of five.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.raster.statistics import BandStats

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Pixels to add before and after the rows, and the columns."""


class ImageTable:
    """What each value of each band becomes. Safe to share between threads.

    Args:
        stats: Statistics of the model.
        dtype: Type of the pixels, an integer of 8 or 16 bits.
    """

    def __init__(self, stats: BandStats, dtype: np.dtype[Any]) -> None:
        self._unsigned = np.dtype(f"u{dtype.itemsize}")
        values = np.arange(1 << 8 * dtype.itemsize).astype(self._unsigned).view(dtype)
        every = np.broadcast_to(values, (len(stats.mean), 1, len(values)))
        normal = stats.normalise(every, np.ones(every.shape[1:], np.bool_))[:, 0]
        self._bits = torch.from_numpy(normal).to(torch.bfloat16).view(torch.int16).numpy()

    @staticmethod
    def suits(dtype: np.dtype[Any], device: torch.device, precision: torch.dtype) -> bool:
        """Return whether there can be a table for such pixels, and a network on a device in a precision."""
        small = dtype.kind in "iu" and dtype.itemsize <= 2
        return small and device.type == "cpu" and precision == torch.bfloat16

    def image(self, pixels: NDArray[Any], pads: Pads) -> torch.Tensor:
        """Return an image for the network.

        Args:
            pixels: (bands, rows, cols), all valid.
            pads: What is added, of the values at the edge.

        Returns:
            bfloat16 (1, bands, H, W), in memory with the bands of a pixel side by side.
        """
        (top, bottom), (left, right) = pads
        bands, rows, cols = pixels.shape
        image = np.empty((top + rows + bottom, left + cols + right, bands), np.int16)
        _look_up(np.ascontiguousarray(pixels).view(self._unsigned), self._bits, top, left, image)
        return torch.from_numpy(image).view(torch.bfloat16).permute(2, 0, 1)[None]


@compiled
def _look_up(pixels: Any, bits: Any, top: int, left: int, image: Any) -> None:
    """Write image, int16 (H, W, bands), of pixels, unsigned (bands, rows, cols), whose first lies at (top, left)."""
    bands, rows, cols = pixels.shape
    height, width, _ = image.shape
    for y in range(height):
        line, row = image[y], min(max(y - top, 0), rows - 1)
        for band in range(bands):
            source, values = pixels[band, row], bits[band]
            for x in range(cols):
                line[left + x, band] = values[source[x]]
            for x in range(left):
                line[x, band] = values[source[0]]
            for x in range(left + cols, width):
                line[x, band] = values[source[cols - 1]]
