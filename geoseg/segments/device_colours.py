"""Colours for superpixels on a torch device: those of `geoseg.segments.superpixels.colour`, equal in every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.segments.colours import LEVELS, STEPS, root_table, xyz_table
from geoseg.segments.device import LAUNCHES, triton_kernels

_LARGEST_OF_LAB = 109.0
"""L*, a* and b* of sRGB are within 0..100, -86..98 and -108..95."""


class DeviceColours:
    """Turns pixels on a device into colours. Its tables go up once.

    Each operation is one of IEEE 754 in the order of the kernels for the CPU, and none are fused.

    Args:
        device: The device.
        bands: Number of bands.
        dtype: Type of the pixels.
        offset, scale: As for `colour`; None takes uint8 as 0..255.

    Attributes:
        largest: No colour is larger than this.
    """

    def __init__(self, device: torch.device, bands: int, dtype: np.dtype[Any], offset: Any, scale: Any) -> None:
        self._bands = bands
        self.largest = _LARGEST_OF_LAB * STEPS if bands == 3 else 100 * STEPS * float(np.sqrt(3 / bands))
        offsets = np.zeros(bands) if offset is None else np.asarray(offset, np.float64)
        scales = np.full(bands, 1 / 255) if scale is None else np.asarray(scale, np.float64)
        self._of_bytes = bands == 3 and dtype == np.uint8
        levels = np.broadcast_to(np.linspace(0, 1, LEVELS), (3, LEVELS))
        if self._of_bytes:
            levels = np.clip((np.arange(256) - offsets[:, None]) * scales[:, None], 0, 1)
        self._offset, self._scale = (_there(each[:, None, None], device) for each in (offsets, scales))
        self._table = _there(xyz_table(levels), device) if bands == 3 else None
        self._root = _there(root_table(), device) if bands == 3 else None

    def __call__(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Return int16 (channels, rows, cols).

        Args:
            pixels: (bands, rows, cols), of the type given, or for unsigned 16-bit pixels of a larger one.
            valid: bool (rows, cols).
        """
        kernels = triton_kernels(pixels.device) if self._of_bytes else None
        if kernels is not None:
            with LAUNCHES:
                found: Tensor = kernels.lab_of_bytes(pixels, valid, self._table, self._root)
            return found
        if self._of_bytes:
            return self._lab(pixels.int()) * valid
        unit = ((pixels.double() - self._offset) * self._scale).clamp(0, 1)
        ok = valid & ~torch.isnan(unit).any(0)
        unit = torch.where(ok, unit, 0)
        if self._bands == 3:
            return self._lab((unit * (LEVELS - 1) + 0.5).int()) * ok
        steps = float(100 * STEPS * np.sqrt(3 / self._bands))
        return (unit * steps + 0.5).to(torch.int16) * ok

    def _lab(self, levels: Tensor) -> Tensor:
        assert self._table is not None
        assert self._root is not None
        total = self._table[0][levels[0]]
        for band in (1, 2):
            total += self._table[band][levels[band]]
        total += 0.5
        x, y, z = self._root[total[..., :3].int()].unbind(-1)
        lightness = torch.round((y * 116 - 16) * STEPS)
        return torch.stack([lightness, torch.round((x - y) * (500 * STEPS)), torch.round((y - z) * (200 * STEPS))]).to(
            torch.int16
        )


def _there(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
