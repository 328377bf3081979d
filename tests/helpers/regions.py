"""Label maps made up of random regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_labels(random: np.random.Generator, rows: int, cols: int, count: int, cell: int = 3) -> NDArray[np.int32]:
    """Rectangles and noise of the labels 0..count, int32 (rows, cols); some may have no pixel."""
    coarse = random.integers(0, count + 1, size=(rows // cell + 1, cols // cell + 1))
    labels = coarse[np.arange(rows)[:, None] // cell, np.arange(cols) // cell]
    noise = random.random((rows, cols)) < 0.05
    return np.where(noise, random.integers(0, count + 1, size=(rows, cols)), labels).astype(np.int32)


def local_labels(random: np.random.Generator, rows: int, cols: int, cell: int) -> NDArray[np.int32]:
    """Regions that lie within their own cell of a lattice and those around it, int32 (rows, cols); a tenth is 0.

    Labels ascend with the cells in raster order, as those of superpixels do.
    """
    width = -(-cols // cell) + 2
    y, x = (
        np.clip(
            np.arange(length).reshape(shape) + random.integers(-(cell // 2), cell // 2 + 1, (rows, cols)),
            0,
            length - 1,
        )
        for length, shape in ((rows, (-1, 1)), (cols, (1, -1)))
    )
    labels = (y // cell) * width + x // cell + 1
    return np.where(random.random((rows, cols)) < 0.1, 0, labels).astype(np.int32)
