"""Every example runs as it stands, on the imagery that ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import rasterio

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_map_two_years(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "map_two_years.py", tmp_path / "out", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pixels changed their class" in run.stdout
    with rasterio.open(tmp_path / "out" / "change.tif") as found:
        # What both cover, once the pixels of 2020 are taken for the nearest of 2018.
        assert found.shape == (723, 933)
    for year in ("2018", "2020"):
        with rasterio.open(tmp_path / "out" / f"classes_{year}.tif") as found:
            with rasterio.open(EXAMPLES / "data" / f"naip_{year}.tif") as scene:
                assert (found.shape, found.transform, found.crs) == (scene.shape, scene.transform, scene.crs)
            assert found.read(1).max() >= 1


def test_no_example_is_without_a_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"map_two_years.py"}
