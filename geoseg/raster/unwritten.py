"""Which blocks of a sparse raster hold no pixel, known from its header alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Partition, partition
from geoseg.raster.scene import Scene


def unwritten_blocks(scene: Scene, blocks: Partition) -> NDArray[np.bool_]:
    """Return which blocks lie wholly in blocks of the file that were never written, and are nodata.

    Args:
        scene: The scene.
        blocks: All blocks of a partition.

    Returns:
        bool (blocks,).
    """
    found = []
    for window in blocks.windows:
        alone = partition(window, blocks.block_size)
        shape = tuple(-(-length // blocks.block_size) for length in window.shape)
        rows = [alone[row * shape[1]].window.rows for row in range(shape[0])]
        cols = [alone[col].window.cols for col in range(shape[1])]
        marks = scene.unwritten(rows, cols)
        found.append(np.zeros(len(alone), np.bool_) if marks is None else marks.ravel())
    return np.concatenate([np.zeros(0, np.bool_), *found])
