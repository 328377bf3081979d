"""Every tutorial runs from its first command to its last, and what it says of its results is so.

Trainings are shorter than on the pages. Names are given by number there, after a look at the sheet; which number is
what depends on the training, so no test asks whether the lakes are the water.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from helpers.commandline import first_band
from helpers.tutorials import TUTORIALS, follow, steps
from rasterio.warp import transform, transform_bounds

import geoseg

SHORTER = {"--steps 60": "--steps 8"}
"""Two dozen CPU seconds less for each page that learns from both scenes."""

PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.name != "index.md")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "data"
NAMES = {"Crop", "Grass or thin crop", "Water", "Bare or harvested", "Shore"}


def run(name: str, folder: Path, shorter: dict[str, str] | None = None) -> str:
    """Run a tutorial in a folder, and return all that it said."""
    return "".join(
        said for _, said in follow(TUTORIALS / f"{name}.md", folder, SHORTER if shorter is None else shorter)
    )


def areas(path: Path) -> dict[str, tuple[int, float]]:
    """Pixels and hectares of each class in a table of areas."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["class"]: (int(row["pixels"]), float(row["ha"])) for row in csv.DictReader(file)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_has_steps_results_and_pictures(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert steps(page), "nothing to do"
    assert "```text" in text, "no output to compare one's own with"
    shown = re.findall(r"!\[([^\]]+)\]\((\S+)\)", text)
    assert shown, "no picture"
    for words, picture in shown:
        assert words
        assert (page.parent / picture).stat().st_size < 150_000, picture
    assert not re.findall(r"^[A-Z]+\d?-?OUTPUT$|^OUT\d$|^TEXT\d?$", text, re.MULTILINE)


def test_every_tutorial_has_a_test_and_every_picture_a_page() -> None:
    here = Path(__file__).read_text()
    assert all(f'run("{page.stem}"' in here for page in PAGES)
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"(pictures/{path.name})" in text for path in (TUTORIALS / "pictures").iterdir())


def test_the_points_are_twenty_of_each_class_and_lie_in_the_scene() -> None:
    """In `points.geojson`, which the reader is told of; those of the second round lie in it too."""
    with rasterio.open(EXAMPLES / "naip_2020.tif") as scene:
        box = transform_bounds(scene.crs, "EPSG:4326", *scene.bounds)
    for name, count in (("points", 80), ("more-points", 8)):
        meta, _, places, (classes,) = pyogrio.raw.read(TUTORIALS / f"{name}.geojson")
        assert (list(meta["fields"]), len(places), len(set(places))) == (["landcover"], count, count)
        xmin, ymin, xmax, ymax = pyogrio.read_info(TUTORIALS / f"{name}.geojson")["total_bounds"]
        assert box[0] < xmin < xmax < box[2]
        assert box[1] < ymin < ymax < box[3]
        if name == "points":
            assert set(zip(*np.unique(classes, return_counts=True), strict=True)) == {
                (kind, 20) for kind in ("Bare or harvested", "Crop", "Grassland", "Water")
            }


@pytest.mark.soak
def test_orthophotos_to_map(tmp_path: Path) -> None:
    said = run("orthophotos-to-map", tmp_path)
    assert said.count("every block decodes") == 2
    assert "2 scenes: 2 done" in said
    folder = tmp_path / "tutorial"
    assert (folder / "sheet.png").stat().st_size > 20_000
    for path in (folder / "model.safetensors", *folder.glob("maps/*-classes.tif")):
        assert {entry.name for entry in geoseg.open_classes(path).classes} == NAMES
    assert set(areas(folder / "areas.csv")) <= NAMES
    pixels = sum(count for count, _ in areas(folder / "areas.csv").values())
    assert pixels == (first_band(folder / "maps" / "naip_2020-classes.tif") > 0).sum() == 934 * 723
    found = pyogrio.read_info(folder / "polygons.gpkg", layer="classes")
    assert f"{found['features']} polygons" in said
    assert all((folder / "maps" / f"naip_{year}-classes.qml").is_file() for year in (2018, 2020))


@pytest.mark.soak
def test_twenty_points(tmp_path: Path) -> None:
    said = run("twenty-points", tmp_path)
    folder = tmp_path / "tutorial"
    first, second = re.findall(r"agreement ([\d.]+)%: that share of (\d+) superpixels", said)
    assert (first[1], second[1]) == ("80", "88")
    assert float(first[0]) > 80
    assert float(second[0]) < float(first[0]), "the page says that these points make it worse"
    assert pyogrio.read_info(folder / "where-next.gpkg", layer="next")["features"] == 10
    four = {"Bare or harvested", "Crop", "Grassland", "Water"}
    assert set(areas(folder / "areas.csv")) == four
    # Each class is where its points are, in the map that they taught.
    classes = {entry.id: entry.name for entry in geoseg.open_classes(folder / "landcover.tif").classes}
    assert set(classes.values()) == four
    right = [classes[number] == name for number, name in taught_places(folder / "landcover.tif")]
    assert np.mean(right) > 0.9


def taught_places(path: Path) -> list[tuple[int, str]]:
    """The id that a map has at each of the points, and their classes."""
    _, _, places, (names,) = pyogrio.raw.read(TUTORIALS / "points.geojson")
    with rasterio.open(path) as raster:
        xs, ys = transform("EPSG:4326", raster.crs, *shapely.get_coordinates(shapely.from_wkb(places)).T)[:2]
        ids = [int(value[0]) for value in raster.sample(zip(xs, ys, strict=True))]
    return list(zip(ids, names, strict=True))


@pytest.mark.soak
def test_two_dates(tmp_path: Path) -> None:
    said = run("two-dates", tmp_path)
    assert "lies 0.40 of a pixel off" in said
    share, pixels = re.findall(r"([\d.]+)% of (\d+) pixels changed their class", said)[0]
    folder = tmp_path / "tutorial"
    change = first_band(folder / "change.tif")
    assert int(pixels) == (change > 0).sum()
    legend = {entry.id: entry.name for entry in geoseg.open_classes(folder / "change.tif").classes}
    changed = np.isin(change, [number for number, name in legend.items() if "->" in name])
    assert float(share) == pytest.approx(100 * changed.sum() / int(pixels), abs=0.06)
    assert ",total," in said
    fields = pyogrio.read_info(folder / "change.gpkg", layer="classes")["fields"]
    assert {"from_class", "to_class"} <= set(fields)


@pytest.mark.soak
def test_benchmarks(tmp_path: Path) -> None:
    said = run("benchmarks", tmp_path, {"--steps 6": "--steps 2"})
    folder = tmp_path / "tutorial"
    assert "2 tiles, 2 of them with labels; the protocol has 38 and 24, so scores are not comparable" in said
    assert "protocol potsdam3, images 4" in said
    assert "protocol cocostuff15, images 3" in said
    assert said.count("one to one  many to one") == 2
    assert (folder / "confusion.png").stat().st_size > 3000
    scores = json.loads((folder / "scores.json").read_text())
    assert {entry["name"] for entry in scores["classes"]} >= {"impervious", "low vegetation", "tree"}


@pytest.mark.soak
def test_on_a_cluster(tmp_path: Path) -> None:
    said = run("on-a-cluster", tmp_path, {})
    folder = tmp_path / "tutorial"
    assert "3 of 4 blocks finished" in said
    assert "1 of 4 blocks are missing" in said
    assert "status 75" in said
    assert said.count("the same") == 1
    assert (folder / "divided.tif").read_bytes() == (folder / "whole.tif").read_bytes()
    assert not (folder / "divided.tif.run").exists()
    assert len(list(folder.glob("many/*-classes.tif"))) == 2


@pytest.mark.soak
def test_from_python(tmp_path: Path) -> None:
    said = run("from-python", tmp_path, {"steps=60": "steps=8"})
    folder = tmp_path / "tutorial"
    assert {entry.name for entry in geoseg.open_classes(folder / "classes.tif").classes} == NAMES
    assert {entry.name for entry in geoseg.open_classes(folder / "model.safetensors").classes} == NAMES
    assert len(re.findall(r"NDVI +-?[\d.]+ +confidence 0\.\d\d", said)) >= 2
    assert f"{pyogrio.read_info(folder / 'polygons.gpkg', layer='classes')['features']} polygons" in said
    assert "exists already" in said
