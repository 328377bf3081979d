"""Learn classes from two dates of one scene, map both, and print how much of which class became what.

Run it from anywhere: python examples/map_two_years.py [FOLDER [STEPS]]. The files go to FOLDER (default
example-output/two-years), ready to be opened in QGIS. It takes about three minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geoseg

DATA = Path(__file__).parent / "data"


def main(folder: Path, steps: int | None = None) -> None:
    """Write model.safetensors, a map of each year, and what changed into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = geoseg.train(DATA, folder / "model.safetensors", recipe="quick", steps=steps, overwrite=True).model
    old, new = (
        geoseg.predict(
            DATA / f"naip_{year}.tif", folder / f"classes_{year}.tif", model=model, match="moments", overwrite=True
        ).classes
        for year in (2018, 2020)
    )
    # The pixels of 2020 lie 3 m west and 2 m south of those of 2018, of 5 m.
    result = geoseg.change(
        old, new, folder / "change.tif", polygons=folder / "change.gpkg", min_area="12px", snap=True, overwrite=True
    )
    print(f"{result.summary}; all of it: {result.matrix}")
    for before, after, area in result.largest(10):
        print(f"{area.pixels:9,} px  {before.name} -> {after.name}")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("example-output/two-years"),
        int(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
