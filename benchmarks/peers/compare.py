"""The piece of a scene on which seams and nodata are looked at, and what differs between two rasters of it.

python compare.py piece SCENE OUT SIDE
python compare.py whole PIECE MODEL OUT
python compare.py differ PIECE FIRST SECOND
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from rasters import write


def cut(scene: Path, out: Path, side: int) -> None:
    """Write the middle of a scene, RGBA, with a transparent, black disc in it, a third of its side in diameter."""
    with rasterio.open(scene) as source:
        row, col = ((length - side) // 2 // 4 * 4 for length in source.shape)
        window = Window(col, row, side, side)
        pixels = source.read((1, 2, 3), window=window)
        profile = {"crs": source.crs, "transform": source.window_transform(window), "width": side, "height": side}
    rows, cols = np.ogrid[:side, :side]
    hole = (rows - side / 2) ** 2 + (cols - side / 2) ** 2 < (side / 6) ** 2
    pixels[:, hole] = 0
    options = {"driver": "GTiff", "count": 4, "dtype": "uint8", "tiled": True, "compress": "deflate"}
    with rasterio.open(out, "w", **profile, **options, photometric="RGB", alpha="YES") as target:
        target.write(np.concatenate([pixels, np.where(hole, 0, 255).astype(np.uint8)[None]]))


def whole(piece: Path, model: Path, out: Path) -> None:
    """Write the classes that the network gives when it sees the piece at once."""
    import torch
    from network import FullResolution

    with rasterio.open(piece) as source, torch.inference_mode():
        logits = FullResolution(model)(torch.from_numpy(source.read((1, 2, 3)))[None])
    write(piece, out, logits[0].argmax(0).byte().numpy() + 1)


def differ(piece: Path, first: Path, second: Path) -> dict[str, Any]:
    """Return shares of the valid pixels that differ, of invalid pixels that have a value, and of valid ones without."""
    with rasterio.open(piece) as source:
        valid: NDArray[np.bool_] = source.read(4) > 0
    rasters = []
    for path in (first, second):
        with rasterio.open(path) as source:
            rasters.append(source.read(1))
    different = (rasters[0] != rasters[1]) & valid
    lines = [different.sum(axis) / np.maximum(valid.sum(axis), 1) for axis in (0, 1)]
    return {
        "differ": float(different.sum() / valid.sum()),
        "worst_line": float(max(line.max() for line in lines)),
        "invalid_with_value": float((rasters[0][~valid] != 0).mean()) if not valid.all() else 0.0,
        "valid_without": float((rasters[0][valid] == 0).mean()),
        "values": len(np.unique(rasters[0])),
    }


def main() -> None:
    """Do one of the three."""
    what, *given = sys.argv[1:]
    if what == "piece":
        cut(Path(given[0]), Path(given[1]), int(given[2]))
    elif what == "whole":
        whole(*map(Path, given))
    else:
        print(json.dumps(differ(*map(Path, given))))


if __name__ == "__main__":
    main()
