"""Rasters made on the spot: a random landscape, and a GeoTIFF of any array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

UTM = "EPSG:32633"
TRANSFORM = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)


def make_raster(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    """Write (bands, rows, cols) as a GeoTIFF; by default tiled, in UTM, 0.5 m."""
    bands, rows, cols = pixels.shape
    colours = profile.pop("colorinterp", None)
    mask = profile.pop("mask", None)
    layout = {
        "driver": "GTiff",
        "crs": UTM,
        "transform": TRANSFORM,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    layout |= {"count": bands, "height": rows, "width": cols, "dtype": pixels.dtype.name, **profile}
    if layout["driver"] != "GTiff":
        layout = {k: v for k, v in layout.items() if k not in ("tiled", "blockxsize", "blockysize")}
    with rasterio.open(path, "w", **layout) as file:
        file.write(pixels)
        if colours:
            file.colorinterp = colours
        if mask is not None:
            file.write_mask(mask)
    return path


def landscape(rows: int, cols: int, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random landscape with hard-edged fields: uint8 (bands, rows, cols)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    image = np.empty((bands, rows, cols))
    fields = random.integers(0, 5, size=(rows // 48 + 2, cols // 48 + 2))[y // 48, x // 48]
    for band in range(bands):
        levels = random.uniform(40, 200, size=5)
        waves = 20 * np.sin(x / random.uniform(20, 60)) * np.cos(y / random.uniform(20, 60))
        image[band] = levels[fields] + waves + random.normal(0, 4, size=(rows, cols))
    return image.clip(1, 255).astype(np.uint8)
