"""Rasters that every tool's output is written to in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def write(scene: Path, out: Path, values: NDArray[Any]) -> None:
    """Write values (rows, cols) with the georeference of the scene, tiled and compressed."""
    import rasterio

    with rasterio.open(scene) as source:
        profile = {"crs": source.crs, "transform": source.transform, "width": source.width, "height": source.height}
    options = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "tiled": True, "compress": "deflate"}
    with rasterio.open(out, "w", **profile, **options) as target:
        target.write(values, 1)
