"""Learn classes from two dates of one scene, map both, and print how much of each class became which.

Run it from anywhere: python examples/map_two_years.py [FOLDER [STEPS]]. The maps go to FOLDER (default
example-output/two-years), ready to be opened in QGIS. It takes about three minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio

import geoseg

DATA = Path(__file__).parent / "data"
YEARS = ("2018", "2020")


def main(folder: Path, steps: int | None = None) -> None:
    """Write model.safetensors and a map of each year into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.safetensors"
    geoseg.train(DATA, model, recipe="quick", steps=steps, overwrite=True, progress=show)

    maps = []
    for year in YEARS:
        scene, out = DATA / f"naip_{year}.tif", folder / f"classes_{year}.tif"
        classes = geoseg.predict(scene, out, model=model, overwrite=True).legend.classes
        with rasterio.open(out) as file:
            # The two dates share their upper left corner and columns; 2018 has one row more.
            maps.append(file.read(1)[:723])

    count = len(classes)
    change = np.bincount((maps[0] * (count + 1) + maps[1]).ravel(), minlength=(count + 1) ** 2)
    shares = 100 * change.reshape(count + 1, count + 1)[1:, 1:] / maps[0].size
    print("\nper cent of the scene, 2018 in rows, 2020 in columns")
    print("        " + "".join(f"{entry.id:>7}" for entry in classes))
    for entry, row in zip(classes, shares, strict=True):
        print(f"{entry.name:8}" + "".join(f"{share:7.1f}" for share in row))


def show(progress: geoseg.Progress) -> None:
    """Print every twentieth step."""
    if progress.kind == "step" and progress.done % 20 == 0:
        print(f"step {progress.done}/{progress.total}: {progress.message}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("example-output/two-years"),
        int(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
