"""Maps made on the spot: a scene, a class raster with its record, and its confidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.files.record import provenance_tags, write_record
from helpers.rasters import landscape, make_raster

NASTY = (
    'roofs "red" & <b>grey</b>', "</script><script>alert(1)</script>", "Bäume 🌳 {{title}}",
    "\u202eמים\u202c", "x" * 300,
)  # fmt: skip
"""Names that break a page where they are not escaped."""


def quilt(rows: int, cols: int, count: int, cell: int = 40) -> NDArray[np.uint8]:
    """Squares of the classes 1..count in turn, uint8 (rows, cols)."""
    y, x = np.mgrid[:rows, :cols] // cell
    return ((x + 2 * y) % count + 1).astype(np.uint8)


def make_map(
    folder: Path, values: NDArray[Any], names: Sequence[str], confidence: bool = True, part: tuple[int, int] = (0, 0),
    shape: tuple[int, int] | None = None, **profile: Any,
) -> tuple[Path, Path]:  # fmt: skip
    """Write scene.tif and the map map.tif of the part of it that begins at `part`; return both, the map first."""
    rows, cols = values.shape
    scene = make_raster(folder / "scene.tif", landscape(*(shape or (rows, cols))), **profile)
    with rasterio.open(scene) as file:
        transform = file.transform @ file.transform.translation(part[1], part[0])
    summary = {"name": scene.name, "bytes": scene.stat().st_size, "shape": list(shape or values.shape)}
    settings = {"bands": [1, 2, 3], "smooth": 3, "min_area": None}
    provenance = {"geoseg": "0.1.0", "scene": summary, "settings": settings, "model_sha256": "ab" * 32}
    files = {"map": values, "confidence": np.where(values, 204, 0).astype(np.uint8)}
    for name, layer in (("map", "classes"), *([("confidence", "confidence")] if confidence else [])):
        path = make_raster(folder / f"{name}.tif", files[name][None], nodata=0, **{**profile, "transform": transform})
        with rasterio.open(path, "r+") as file:
            file.update_tags(**provenance_tags(provenance))
            file.set_band_description(1, layer)
    classes = ClassMap(tuple(LandClass(i, name, LandClass.default(i).colour) for i, name in enumerate(names, 1)))
    written = [folder / "map.tif", *([folder / "confidence.tif"] if confidence else [])]
    write_record(folder / "map.geoseg.json", {**provenance, "classes": classes.to_json()}, written)
    return folder / "map.tif", scene


def page_data(page: str) -> dict[str, Any]:
    """The JSON that a report holds."""
    start = page.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return dict(json.loads(page[start : page.index("</script>", start)]))
