"""QGIS itself opens a map: its classes are there by name and colour, where they belong, in raster and polygons.

GEOSEG_QGIS_PICTURES names a folder in which the pictures that QGIS rendered are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commandline import first_band
from helpers.models import make_model
from helpers.qgis import qgis_variables, require_qgis_python
from helpers.rasters import UTM, landscape, make_raster
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from geoseg.api.make import superpixels
from geoseg.classes import ClassMap, LandClass
from geoseg.jobs.relabel import RelabelJob
from geoseg.model.file import save_model
from geoseg.naming.edits import merge, set_class

CLASSES = ClassMap(
    tuple(
        LandClass(i, name, LandClass.default(i).colour)
        for i, name in enumerate(["water", "Bäume & Büsche", 'roofs <"red">', "草地", "it's bare"], 1)
    )
)
LEGEND = [[entry.id, entry.name, entry.colour] for entry in CLASSES.classes]


@dataclass(frozen=True)
class Look:
    """What QGIS said of each file, and the folder of what it rendered."""

    said: dict[str, Any]
    pictures: Path

    def picture(self, name: str) -> NDArray[Any]:
        with Image.open(self.pictures / f"{name}.png") as image:
            return np.asarray(image.convert("RGB"))


def look(folder: Path, *files: Path) -> Look:
    python = require_qgis_python()
    pictures = Path(os.environ.get("GEOSEG_QGIS_PICTURES", folder / "pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("qgis_look.py")
    found = subprocess.run(
        [python, script, pictures, *files],
        env=qgis_variables(folder),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return Look(json.loads(found.stdout.splitlines()[-1]), pictures)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of all classes, with a corner of nodata, and its polygons twice: with no style beside them, and with that
    of the raster, which is theirs as well."""
    folder = tmp_path_factory.mktemp("qgis")
    pixels = landscape(300, 420)
    pixels[:, :70, :90] = 0
    scene = make_raster(folder / "scene.tif", pixels, nodata=0)
    save_model(replace(make_model(), classes=CLASSES), folder / "model.safetensors")
    out = folder / "classes.tif"
    predict = ["predict", scene, "-m", folder / "model.safetensors", "-o", out, "--polygons", folder / "polygons.gpkg"]
    predict += ["--confidence", folder / "confidence.tif", "--sld"]
    more = ["polygonize", out, "-o", folder / "classes.fgb"]
    for name in ("ids.tif", "segments.gpkg", "outlines.fgb"):
        superpixels(scene, folder / name)
    for command in (predict, more):
        subprocess.run([sys.executable, "-m", "geoseg", *command], check=True, capture_output=True)
    assert set(np.unique(first_band(out))) == {0, 1, 2, 3, 4, 5}
    return out


@pytest.fixture(scope="module")
def looked(classes: Path) -> Look:
    files = ("polygons.gpkg", "classes.fgb", "confidence.tif", "ids.tif", "segments.gpkg", "outlines.fgb")
    return look(classes.parent, classes, *map(classes.with_name, files))


def test_the_raster_has_exactly_the_named_classes(looked: Look) -> None:
    assert looked.said["classes.tif"] == {"valid": True, "renderer": "paletted", "entries": LEGEND, "crs": UTM}


@pytest.mark.parametrize("name", ["polygons.gpkg", "classes.fgb"])
def test_the_polygons_are_categorized_by_default_with_the_same_classes(looked: Look, name: str) -> None:
    assert looked.said[name] == {
        "valid": True,
        "renderer": "categorizedSymbol by class_id",
        "entries": LEGEND,
        "crs": UTM,
    }


def test_the_sld_of_the_polygons_has_the_same_classes(looked: Look) -> None:
    found = looked.said["polygons.gpkg.sld"]
    assert found["loaded"], found["message"]
    assert found["renderer"] == "RuleRenderer"
    assert found["entries"] == [[f"class_id = {i}", name, colour] for i, name, colour in LEGEND]


@pytest.mark.parametrize("name", ["classes.tif", "polygons.gpkg", "classes.fgb"])
def test_what_is_rendered_has_the_colours_of_the_classes_where_they_are(classes: Path, looked: Look, name: str) -> None:
    expected = np.full((*first_band(classes).shape, 3), 255, np.uint8)
    for entry in CLASSES.classes:
        expected[first_band(classes) == entry.id] = entry.rgb
    expected = expected.repeat(2, axis=0).repeat(2, axis=1)
    rendered = looked.picture(name)
    assert rendered.shape == expected.shape
    # An outline covers part of the pixels beside it, no more.
    near, alike = (1e-4, 0.9999) if name.endswith(".tif") else (0.02, 0.95)
    for colour in [(255, 255, 255), *(entry.rgb for entry in CLASSES.classes)]:
        share = (expected == colour).all(axis=2).mean()
        assert (rendered == colour).all(axis=2).mean() == pytest.approx(share, abs=near)
    assert (rendered == expected).all(axis=2).mean() > alike


def test_confidence_has_a_scale_in_per_cent(classes: Path, looked: Look) -> None:
    said = looked.said["confidence.tif"]
    assert said["renderer"] == "singlebandpseudocolor"
    assert [entry[1] for entry in said["entries"]] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    values = first_band(classes.with_name("confidence.tif"))
    rendered = looked.picture("confidence.tif")[::2, ::2].astype(int)
    assert (rendered[values == 0] == 255).all(), "nodata is transparent"
    for (low, _, dark), (high, _, bright) in pairwise(said["entries"]):
        ends = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in (dark, bright)]
        between = (values > low) & (values < high)
        share = ((values[between] - low) / (high - low))[:, None]
        expected = ends[0] + share * (ends[1] - ends[0])
        assert np.abs(rendered[between] - expected).max(initial=0) <= 2
    assert (values > 0).any()


@pytest.mark.parametrize("name", ["segments.gpkg", "outlines.fgb", "ids.tif"])
def test_superpixels_are_shown_by_their_borders_only(classes: Path, looked: Look, name: str) -> None:
    ids = first_band(classes.with_name("ids.tif"))
    assert looked.said[name]["renderer"] == ("hillshade" if name == "ids.tif" else "singleSymbol")
    differ = [ids != np.roll(ids, shift, axis=axis) for axis in (0, 1) for shift in (-1, 1)]
    border = np.logical_or.reduce(differ).repeat(2, axis=0).repeat(2, axis=1)
    inside = ~uniform_filter(border.astype(float), 5).astype(bool)
    inner = (ids > 0).repeat(2, axis=0).repeat(2, axis=1)
    picture = looked.picture(name)
    assert (picture[inside & inner] >= 250).all()
    # Lines of a raster lie on pixels, those of polygons between them.
    near = uniform_filter((picture < 200).any(axis=2).astype(float), 5) > 0
    edge = np.zeros_like(inner)
    edge[8:-8, 8:-8] = border[8:-8, 8:-8]
    assert near[edge & inner].mean() > 0.95


def test_a_map_that_was_relabelled_opens_with_its_new_classes(classes: Path) -> None:
    odd = ("a\"b' & <c> \\ %s", "🌳 \u202eשלום\u202c مرحبا", "x" * 300)
    new = merge(CLASSES, [2], into=4)
    for entry, name in zip(new.classes, odd, strict=False):
        new = set_class(new, entry.id, name, "#0a0b0c" if entry.id == 1 else None)
    out = classes.with_name("named.tif")
    with RelabelJob(classes, new, out) as job:
        for _ in job.run():
            pass
    found = look(classes.parent, out, out.with_name("named-polygons.gpkg"))
    legend = [[entry.id, entry.name, entry.colour] for entry in new.classes]
    assert [entry[0] for entry in legend] == [1, 3, 4, 5]
    assert found.said["named.tif"]["entries"] == legend
    assert found.said["named-polygons.gpkg"]["entries"] == legend
