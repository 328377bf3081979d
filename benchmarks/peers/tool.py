"""One peer in a process of its own: python tool.py NAME SCENE MODEL OUT WINDOW OVERLAP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SIZE, ITERATIONS = 16, 5
"""Cells and iterations of superpixels: geoseg's defaults."""


def main() -> None:
    """Write the raster of one peer."""
    name, scene, model, out, window, overlap = sys.argv[1:]
    os.environ["MPLBACKEND"] = "agg"
    import prediction
    import superpixels

    if hasattr(superpixels, name):
        getattr(superpixels, name)(Path(scene), Path(out), SIZE, ITERATIONS)
    else:
        getattr(prediction, name)(Path(scene), Path(model), Path(out), int(window), int(overlap))


if __name__ == "__main__":
    main()
