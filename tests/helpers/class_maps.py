"""Class rasters as geoseg writes them, of any ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.classes import ClassMap
from geoseg.files.record import provenance_tags, write_record
from geoseg.grid import Block, Window, partition
from geoseg.raster.cog import write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference
from geoseg.raster.mosaic import RasterSpec
from helpers.rasters import TRANSFORM, UTM


def parts_of(folder: Path, values: NDArray[Any], spec: RasterSpec, block_size: int = 512) -> list[tuple[Block, Path]]:
    """`values` written as the parts of a run, all-zero blocks left out."""
    folder.mkdir()
    parts = []
    for block in partition(spec.extent, block_size):
        piece = values[block.window.within(spec.extent)]
        if piece.any():
            write_part(folder / f"{block.index}.tif", piece)
            parts.append((block, folder / f"{block.index}.tif"))
    return parts


def make_map(
    path: Path, ids: NDArray[Any], classes: ClassMap, model: str | None = "a" * 64, crs: str | None = UTM,
    transform: Affine = TRANSFORM, **settings: Any,
) -> Path:  # fmt: skip
    """Write ids (rows, cols) as a class raster with its names and its record."""
    provenance = {"geoseg": "0", "model_sha256": model, "settings": settings}
    extent = Window.of(0, 0, *ids.shape)
    georeference = Georeference(CRS.from_user_input(crs) if crs else None, transform)
    tags = provenance_tags(provenance)
    spec = RasterSpec(extent, georeference, classes.dtype, "classes", tags, classes=classes)
    part = path.with_suffix(".part.tif")
    write_part(part, ids.astype(np.dtype(classes.dtype)))
    write_cog(path, spec, [(Block(0, extent), part)])
    part.unlink()
    write_record(path.with_suffix(".geoseg.json"), {**provenance, "classes": classes.to_json()}, [path])
    return path
