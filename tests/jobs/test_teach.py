"""geoseg teach, from references to a map of named classes, and again with more of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from helpers.commandline import Outcome, assert_refused, geoseg
from helpers.models import make_model, with_experts
from helpers.rasters import TRANSFORM, UTM, make_raster
from numpy.typing import NDArray

import geoseg as api
from geoseg.classes import LandClass
from geoseg.files.atomic import sha256
from geoseg.model.appearance import Appearance
from geoseg.model.card_file import read_card
from geoseg.model.file import load_model, save_model
from geoseg.naming.model_looks import model_appearance

SIDE = 160
NAMES = ("water", "grass", "roof")
COLOURS = np.array([[40, 60, 120], [70, 130, 60], [180, 150, 140]])


def truth() -> NDArray[np.int64]:
    """Classes 0..2 in squares of 40 pixels."""
    rows, cols = np.mgrid[:SIDE, :SIDE] // 40
    return (rows + cols) % 3


def points(count: int, seed: int = 0) -> geopandas.GeoDataFrame:
    """So many points of each class, and one outside, one on nodata, one without a class."""
    random, found, names = np.random.default_rng(seed), [], []
    for index, name in enumerate(NAMES):
        rows, cols = np.nonzero(truth() == index)
        inner = (rows % 40 > 8) & (rows % 40 < 32) & (cols % 40 > 8) & (cols % 40 < 32) & (rows >= 20)
        chosen = random.choice(np.flatnonzero(inner), count, replace=False)
        found += [(cols[i] + 0.5, rows[i] + 0.5) for i in chosen]
        names += [name] * count
    found += [(-5, -5), (3, 3), (60, 60)]
    names += ["water", "water", None]
    places = [shapely.Point(*(TRANSFORM @ place)) for place in found]
    return geopandas.GeoDataFrame({"landcover": names}, geometry=places, crs=UTM)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    pixels = np.moveaxis(COLOURS[truth()] + random.normal(0, 6, (SIDE, SIDE, 3)), 2, 0).clip(0, 255).astype(np.uint8)
    mask = np.ones((SIDE, SIDE), np.bool_)
    mask[:12, :12] = False
    make_raster(tmp_path / "scene.tif", pixels, mask=mask)
    save_model(with_experts(make_model()), tmp_path / "m.safetensors")
    points(6).to_file(tmp_path / "p.gpkg")
    return tmp_path


def teach(capsys: pytest.CaptureFixture[str], folder: Path, *more: object, model: str = "m.safetensors") -> Outcome:
    arguments = ("-q", "teach", folder / model, "--scene", folder / "scene.tif", *more)
    return geoseg(capsys, *arguments)


def taught(capsys: pytest.CaptureFixture[str], folder: Path, *more: object, **options: Any) -> dict[str, Any]:
    done = teach(capsys, folder, "--json", *more, **options)
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


def by_points(folder: Path, name: str = "p.gpkg") -> tuple[object, ...]:
    return "--reference", folder / name, "--field", "landcover"


def test_a_taught_model_maps_named_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = taught(capsys, folder, *by_points(folder))
    assert report["model"] == str(folder / "m-taught.safetensors")
    assert [(c["name"], c["references"]) for c in report["classes"]] == [("grass", 6), ("roof", 6), ("water", 7)]
    assert report["left_out"] == {"outside the scene": 1, "with an empty field": 1, "on nodata": 1}
    out = folder / "map.tif"
    assert geoseg(capsys, "-q", "predict", folder / "scene.tif", "-m", report["model"], "-o", out).code == 0
    with rasterio.open(out) as file:
        classes = file.read(1)
    expected = np.array([3, 1, 2])[truth()]
    assert (classes[:12, :12] == 0).all()
    assert (classes == expected)[12:].mean() > 0.95
    legend = geoseg(capsys, "info", out)
    assert "grass, roof, water" in legend.out
    assert load_model(Path(report["model"])).classes[2].name == "roof"


def test_maps_of_the_model_before_are_not_of_the_taught_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their classes have other clusters, even where they are as many and the model before had other names once."""
    model, scene, old = folder / "m.safetensors", folder / "scene.tif", folder / "old.tif"
    assert geoseg(capsys, "predict", scene, "-m", model, "-o", old).code == 0
    assert geoseg(capsys, "classes", "set", model, "1", "Lake", "--map", old).code == 0
    report = taught(capsys, folder, *by_points(folder))
    before = sha256(old)
    for order in (("set", old, "1", "Sea", "--map", report["model"]), ("apply", report["model"], old)):
        outcome = geoseg(capsys, "classes", *order)
        assert outcome.code == 65, order
        assert "is not of the model" in outcome.err
    assert sha256(old) == before


def test_teaching_goes_on_with_what_was_suggested(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = taught(capsys, folder, *by_points(folder), "--suggestions", 4)
    path = folder / "m-taught.next.gpkg"
    assert first["next"] == str(path)
    frame = geopandas.read_file(path, layer="next")
    assert list(frame.columns) == ["rank", "landcover", "likely", "probability", "geometry"]
    assert frame["landcover"].isna().all()
    assert list(frame["rank"]) == [1, 2, 3, 4]
    assert len(first["suggestions"]) == 4
    inside = [
        shape.contains(shapely.Point(s["x"], s["y"]))
        for shape, s in zip(frame.geometry, first["suggestions"], strict=True)
    ]
    assert all(inside)
    with closing(sqlite3.connect(path)) as database:
        ((style, default),) = database.execute("SELECT styleQML, useAsDefault FROM layer_styles").fetchall()
    assert default == 1
    assert "SimpleLine" in style

    frame.loc[0, "landcover"] = "grass"
    frame.loc[1, "landcover"] = "a new class"
    frame.to_file(path, layer="next")
    second = taught(capsys, folder, *by_points(folder, path.name), model="m-taught.safetensors")
    assert second["model"] == str(folder / "m-taught2.safetensors")
    assert [c["name"] for c in second["classes"]] == ["grass", "roof", "water", "a new class"]
    before = {c["name"]: c["superpixels"] for c in first["classes"]}
    after = {c["name"]: c["superpixels"] for c in second["classes"]}
    assert after == before | {"grass": before["grass"] + 1, "a new class": 1}
    assert second["left_out"] == {"with an empty field": 2}
    model = load_model(Path(second["model"]))
    assert [entry["reference"]["name"] for entry in model.provenance["teaching"]] == ["p.gpkg", path.name]
    only = taught(
        capsys, folder, *by_points(folder, path.name), "--known-only", "-o", folder / "k.safetensors",
        model="m-taught.safetensors",
    )  # fmt: skip
    assert only["left_out"]["of a class that the model was not taught"] == 1
    assert len(only["classes"]) == 3


def test_the_same_references_again_make_the_same_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught(capsys, folder, *by_points(folder), "-o", folder / "a.safetensors")
    taught(capsys, folder, *by_points(folder), "-o", folder / "b.safetensors", "--workers", 2)
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()
    assert (folder / "a.next.gpkg").exists()


def test_a_class_raster_teaches_too(folder: Path) -> None:
    labels = truth() + 4
    labels[:, 148:] = 0
    make_raster(folder / "labels.tif", labels[None].astype(np.uint8), nodata=0)
    report = api.teach(folder / "m.safetensors", folder / "scene.tif", folder / "labels.tif", suggestions=0)
    assert [entry.name for entry in report.classes] == ["class 4", "class 5", "class 6"]
    assert report.next is None
    assert report.scarce > 5, "the labels end within superpixels"
    assert sum(entry.superpixels for entry in report.classes) > 250
    assert sum(entry.references for entry in report.classes) == SIDE * 148
    assert [entry.id for entry in load_model(report.model).classes.classes] == [4, 5, 6]


def test_one_point_a_class_is_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points(1).to_file(folder / "one.gpkg")
    done = teach(capsys, folder, *by_points(folder, "one.gpkg"))
    assert done.code == 0, done.err
    assert "agreement unknown: the references lie in too few squares of 192 px" in done.out
    assert "left out: 1 outside the scene" in done.out
    assert "where to look next" in done.out


def test_references_that_teach_nothing_are_refused_with_the_reasons(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = points(1)
    frame.iloc[3:].to_file(folder / "none.gpkg")
    assert_refused(
        teach(capsys, folder, *by_points(folder, "none.gpkg")),
        78,
        "none.gpkg: has references of 1 class here; give those of two",
    )
    frame = frame.iloc[[4, 4]].assign(landcover=["a", "b"])
    frame.to_file(folder / "nodata.gpkg")
    assert_refused(
        teach(capsys, folder, *by_points(folder, "nodata.gpkg")), 65, "no reference teaches anything: 2 on nodata"
    )
    frame.assign(geometry=[shapely.Point(0, 0)] * 2).to_file(folder / "far.gpkg")
    assert_refused(teach(capsys, folder, *by_points(folder, "far.gpkg")), 65, "no reference in", "2 outside the scene")


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--reference", "p.gpkg"), 78, "name the field of its classes with --field"),
        (("--reference", "l.tif", "--field", "f"), 78, "is a raster, whose values are the classes; omit --field"),
        (("--reference", "p.gpkg", "--field", "f", "-o", "m.pt"), 73, "name it m.safetensors"),
        (("--reference", "p.gpkg", "--field", "f", "--next", "n.shp"), 73, "name it n.gpkg"),
        (("--reference", "absent.gpkg", "--field", "f"), 66, "absent.gpkg"),
        (("--reference", "p.gpkg", "--field", "landcover", "-o", "m.safetensors", "--overwrite"), 73, "is the input"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], code: int,
    words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    assert_refused(teach(capsys, folder, *more), code, words)
    assert not list(folder.glob("*taught*"))


def test_what_is_taught_does_not_depend_on_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [shapely.box(45, 45, 75, 75), shapely.LineString([(90, 20), (150, 20)]), shapely.Point(20, 100)]
    moved = [shapely.transform(s, lambda xy: np.array([TRANSFORM @ tuple(point) for point in xy])) for s in shapes]
    frame = geopandas.GeoDataFrame({"landcover": ["a", "b", "c"]}, geometry=moved, crs=UTM)
    frame.to_file(folder / "shapes.gpkg")
    found = []
    for size in (1024, 64):
        monkeypatch.setattr("geoseg.jobs.teach.BLOCK_SIZE", size)
        out = folder / f"{size}.safetensors"
        api.teach(folder / "m.safetensors", folder / "scene.tif", folder / "shapes.gpkg", "landcover", out=out)
        teaching = load_model(out).teaching
        assert teaching is not None
        found.append({name: value for name, value in teaching.tensors().items() if name.startswith("references")})
    assert len(found[0]["references.classes"]) > 15
    for name, value in found[0].items():
        assert value.equal(found[1][name]), name


def test_of_many_superpixels_some_are_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.naming.gathering.MOST", 5)
    make_raster(folder / "labels.tif", (truth()[None] + 4).astype(np.uint8), nodata=0)
    report = api.teach(folder / "m.safetensors", folder / "scene.tif", folder / "labels.tif", suggestions=0)
    assert [entry.superpixels for entry in report.classes] == [5, 5, 5]


def test_a_taught_model_is_scored_and_its_classes_are_merged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught(capsys, folder, *by_points(folder))
    model, labels = folder / "m-taught.safetensors", folder / "labels.tif"
    make_raster(labels, (np.array([3, 1, 2])[truth()][None]).astype(np.uint8), nodata=0)
    arguments = ("-q", "evaluate", model, "--data", folder / "scene.tif", "--labels", labels, "--json")
    assert json.loads(geoseg(capsys, *arguments).out)["one_to_one"]["accuracy"] > 0.95
    assert geoseg(capsys, "-q", "classes", "merge", model, "grass", "--into", "water").code == 0
    assert [(entry.name, entry.clusters) for entry in load_model(model).classes.classes] == [
        ("roof", (2,)), ("water", (1, 3)),
    ]  # fmt: skip
    again = taught(capsys, folder, *by_points(folder), model="m-taught.safetensors")
    assert [(c["name"], c["superpixels"]) for c in again["classes"]] == [("roof", 6), ("water", 12)]
    assert len(again["confusion"]) == 2
    assert geoseg(capsys, "-q", "classes", "split", model, "water").code == 0
    assert [entry.name for entry in load_model(model).classes.classes] == ["grass", "roof", "water"]


def test_the_looks_of_taught_classes_are_those_of_their_clusters(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = with_experts(make_model())
    looks = Appearance(np.full(5, 0.2), np.outer(np.arange(5), [40.0] * 3), np.full(5, 0.1), np.full(5, 0.8))
    save_model(replace(model, appearance=looks), folder / "m.safetensors")
    taught(capsys, folder, *by_points(folder))
    path = folder / "m-taught.safetensors"
    found = load_model(path)
    assert found.teaching is not None
    known = model_appearance(path, read_card(path))
    assert known is not None
    assert known.shares == pytest.approx(found.teaching.votes.sum(axis=0) / 5)
    assert known.means[1, 0] == pytest.approx(
        found.teaching.votes[:, 1] @ looks.means[:, 0] / found.teaching.votes[:, 1].sum()
    )
    colours = [entry.colour for entry in found.classes.classes]
    assert colours != [LandClass.default(i).colour for i in (1, 2, 3)]
    assert len(geoseg(capsys, "classes", "show", path).out.splitlines()) >= 4
    # Taught again, a class keeps the colour that somebody gave it.
    assert geoseg(capsys, "-q", "classes", "set", path, "roof", "--color", "#123456").code == 0
    taught(capsys, folder, *by_points(folder), model=path.name)
    again = {entry.name: entry.colour for entry in load_model(folder / "m-taught2.safetensors").classes.classes}
    assert again == {entry.name: entry.colour for entry in found.classes.classes} | {"roof": "#123456"}
