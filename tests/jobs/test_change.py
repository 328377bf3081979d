"""geoseg change: what became what, as a raster, tables and polygons that agree; and maps that cannot be compared."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.class_maps import make_map
from helpers.class_rasters import sieved
from helpers.commandline import Outcome, assert_refused, contents, first_band, geoseg, untouched
from helpers.rasters import TRANSFORM, landscape, make_raster
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.files.record import read_record
from geoseg.outputs.transitions import MAX_CLASSES, Transitions

NAMES = ('Grass "wet" & <dry>', "Building 🏠", "נחל \u202eab", "=x" * 150)
CLASSES = ClassMap(tuple(LandClass(i, name, LandClass.default(i).colour) for i, name in enumerate(NAMES, 1)))
RANDOM = np.random.default_rng(0)
OLD = np.repeat(np.repeat(RANDOM.integers(0, 5, (9, 13)), 7, axis=0), 7, axis=1)
NEW = np.where(RANDOM.random(OLD.shape) < 0.1, RANDOM.integers(0, 5, OLD.shape), OLD)
PIXEL = 0.25
"""Area of a pixel in m²."""

Change = Callable[..., Outcome]


@pytest.fixture
def change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Change:
    """Compare old.tif with new.tif."""

    def run(*more: object) -> Outcome:
        maps = (tmp_path / "old.tif", tmp_path / "new.tif")
        return geoseg(capsys, "--progress", "none", "change", *maps, "-o", tmp_path / "c.tif", *more)

    return run


def two(folder: Path, old: NDArray[Any] = OLD, new: NDArray[Any] = NEW, **of_new: Any) -> None:
    make_map(folder / "old.tif", old, CLASSES)
    make_map(folder / "new.tif", new, **({"classes": CLASSES} | of_new))


def transitions(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """The ids that the documentation promises."""
    return np.where((old > 0) & (new > 0), (old - 1) * 4 + new, 0)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_raster_tables_and_polygons_say_the_same(
    tmp_path: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    two(tmp_path)
    done = change("--polygons", tmp_path / "c.gpkg", "--sld", "--json")
    assert done.code == 0, done.err
    expected = transitions(OLD, NEW)
    np.testing.assert_array_equal(first_band(tmp_path / "c.tif"), expected)
    counts = {int(v): int(n) for v, n in zip(*np.unique(expected, return_counts=True), strict=True) if v}
    pairs = {v: divmod(v - 1, 4) for v in counts}
    changed = {v: n for v, n in counts.items() if pairs[v][0] != pairs[v][1]}
    said = json.loads(done.out)
    assert (said["pixels"], said["changed"]) == (sum(counts.values()), sum(changed.values()))
    assert {each["id"]: each["pixels"] for each in said["transitions"]} == counts
    for each in rows(tmp_path / "c.areas.csv"):
        before, after = pairs[int(each["class_id"])]
        assert (each["from"], each["to"], each["changed"] == "yes") == (NAMES[before], NAMES[after], before != after)
        assert float(each["ha"]) == pytest.approx(counts[int(each["class_id"])] * PIXEL / 1e4)
    matrix = rows(tmp_path / "c.matrix.csv")
    for unit, scale in (("px", 1.0), ("ha", PIXEL / 1e4)):
        for row in (each for each in matrix if each["unit"] == unit and each["from_id"]):
            for number, name in enumerate(NAMES):
                amount = counts.get((int(row["from_id"]) - 1) * 4 + number + 1, 0) * scale
                assert float(row[f"to {name}"]) == pytest.approx(amount)
        (total,) = (float(each["total"]) for each in matrix if (each["unit"], each["from"]) == (unit, "total"))
        assert total == pytest.approx(sum(counts.values()) * scale)
    polygons = geopandas.read_file(tmp_path / "c.gpkg", layer="classes")
    areas = polygons.geometry.area.groupby(polygons["class_id"]).sum() / PIXEL
    assert areas.round().astype(int).to_dict() == changed
    # The names as the raster has them too, in the palette's order.
    assert set(polygons["class"]) == {f"{NAMES[pairs[v][0]]} -> {NAMES[pairs[v][1]]}" for v in changed}
    assert (polygons["class"] == polygons["from_class"] + " -> " + polygons["to_class"]).all()
    findings = json.loads(geoseg(capsys, "check", tmp_path / "c.tif", "--json").out)
    assert [each for each in findings if not each["ok"]] == []
    record = read_record(tmp_path / "c.geoseg.json")
    assert record.content["model_sha256"] == "a" * 64
    names = {"c.tif", "c.tif.aux.xml", "c.qml", "c.sld", "c.matrix.csv", "c.areas.csv", "c.gpkg", "c.gpkg.sld"}
    assert {path.name for path in record.files} == names
    assert set(contents(tmp_path)) >= {*names, "c.geoseg.json"}
    assert not [name for name in contents(tmp_path) if name.startswith(".")]


def test_small_regions_go_from_raster_tables_and_polygons_alike(tmp_path: Path, change: Change) -> None:
    old, new = OLD[:16, :24], NEW[:16, :24]
    two(tmp_path, old, new)
    assert change("--polygons", tmp_path / "c.gpkg", "--min-area", "6px").code == 0
    expected = sieved(transitions(old, new), 6)
    assert not np.array_equal(expected, transitions(old, new))
    np.testing.assert_array_equal(first_band(tmp_path / "c.tif"), expected)
    counts = dict(zip(*np.unique(expected[expected > 0], return_counts=True), strict=True))
    assert {int(each["class_id"]): int(each["pixels"]) for each in rows(tmp_path / "c.areas.csv")} == counts
    polygons = geopandas.read_file(tmp_path / "c.gpkg", layer="classes")
    found = (polygons.geometry.area.groupby(polygons["class_id"]).sum() / PIXEL).round().to_dict()
    assert found == {value: count for value, count in counts.items() if (value - 1) % 5}


@pytest.mark.parametrize(("down", "right"), [(3, 5), (-4, 2), (520, -9)])
def test_what_both_cover_is_compared(down: int, right: int, tmp_path: Path, change: Change) -> None:
    tall = np.repeat(OLD, 10, axis=0)
    later = np.roll(tall, 3, axis=1)
    two(tmp_path, tall, later, transform=TRANSFORM @ Affine.translation(right, down))
    assert change().code == 0
    old = tall[max(down, 0) : tall.shape[0] + min(down, 0), max(right, 0) : tall.shape[1] + min(right, 0)]
    new = later[max(-down, 0) : tall.shape[0] - max(down, 0), max(-right, 0) : tall.shape[1] - max(right, 0)]
    np.testing.assert_array_equal(first_band(tmp_path / "c.tif"), transitions(old, new))
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.transform == TRANSFORM @ Affine.translation(max(right, 0), max(down, 0))
        assert file.overviews(1) or file.shape[0] <= 512


def test_pixels_off_by_a_part_of_one_need_snap_or_a_warp(
    tmp_path: Path, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    two(tmp_path, transform=TRANSFORM @ Affine.translation(-0.6, 0.4))
    with untouched(tmp_path):
        refused = change()
    assert_refused(refused, 65, "new.tif", "0.40 of a pixel", "--snap", "gdalwarp -r near -te ")
    # The target of the command is the old map.
    found = re.search(r"-te (\S+) (\S+) (\S+) (\S+) -ts (\d+) (\d+) ", refused.err)
    assert found is not None
    with rasterio.open(tmp_path / "old.tif") as file:
        assert tuple(map(float, found.groups()[:4])) == tuple(file.bounds)
        assert (int(found[5]), int(found[6])) == (file.width, file.height)
    assert change("--snap").code == 0
    assert [message for message in caplog.messages if "0.40 of a pixel" in message]
    np.testing.assert_array_equal(first_band(tmp_path / "c.tif"), transitions(OLD[:, :-1], NEW[:, 1:]))


@pytest.mark.parametrize(
    ("of_new", "words"),
    [
        ({"transform": TRANSFORM @ Affine.scale(1.01)}, ("gdalwarp -r near -te",)),
        ({"crs": "EPSG:32632"}, ("UTM zone 32N", "-t_srs EPSG:32633")),
        ({"crs": None}, ("--assume-crs",)),
        ({"transform": TRANSFORM @ Affine.translation(1000, 0)}, ("does not overlap",)),
    ],
)
def test_other_pixels_are_refused(of_new: dict[str, Any], words: Any, tmp_path: Path, change: Change) -> None:
    two(tmp_path, **of_new)
    with untouched(tmp_path):
        assert_refused(change("--snap"), 65, tmp_path / "new.tif", *words)


DEFAULT = ClassMap.default(4)
RENAMED = ClassMap((replace(CLASSES.classes[0], name="Meadow"), *CLASSES.classes[1:]))


@pytest.mark.parametrize(
    ("one", "other", "models", "words"),
    [
        (DEFAULT, DEFAULT, "ab", ("model aaaa", "model bbbb", "with one model", "--model")),
        (CLASSES, RENAMED, "ab", ("with one model",)),
        (CLASSES, RENAMED, "aa", ("'Meadow'", "geoseg classes")),
        (CLASSES, ClassMap(CLASSES.classes[:3]), "aa", ("does not have the classes", "geoseg classes apply")),
        (CLASSES, CLASSES, "ab", ()),
        (DEFAULT, DEFAULT, "aa", ()),
    ],
)
def test_maps_are_compared_if_their_ids_mean_the_same(
    one: ClassMap, other: ClassMap, models: str, words: tuple[str, ...], tmp_path: Path, change: Change
) -> None:
    make_map(tmp_path / "old.tif", np.minimum(OLD, 3), one, models[0] * 64)
    make_map(tmp_path / "new.tif", np.minimum(NEW, 3), other, models[1] * 64)
    if not words:
        assert change().code == 0
        assert (read_record(tmp_path / "c.geoseg.json").content["model_sha256"] is None) == (models == "ab")
        return
    with untouched(tmp_path):
        assert_refused(change(), 65, *words)


def test_a_map_by_the_model_before_and_after_it_was_edited(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], change: Change
) -> None:
    scene, model = make_raster(tmp_path / "s.tif", landscape(60, 70)), tmp_path / "m.safetensors"
    shutil.copy(model_path, model)
    predict = ("-q", "predict", scene, "-m", model, "-o")
    assert geoseg(capsys, *predict, tmp_path / "old.tif").code == 0
    assert geoseg(capsys, "classes", "set", model, "2", "Water").code == 0
    assert geoseg(capsys, *predict, tmp_path / "new.tif").code == 0
    assert_refused(change(), 65, "'Water'", "geoseg classes apply")
    assert geoseg(capsys, "classes", "apply", model, tmp_path / "old.tif").code == 0
    done = change("--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["changed"] == 0


def test_other_settings_are_told(tmp_path: Path, change: Change, caplog: pytest.LogCaptureFixture) -> None:
    make_map(tmp_path / "old.tif", OLD, CLASSES, smooth=3, match="moments")
    make_map(tmp_path / "new.tif", NEW, CLASSES, smooth=3)
    assert change().code == 0
    assert [message for message in caplog.messages if "the same --match as" in message]


def legend(path: Path, names: dict[int, str]) -> None:
    """A table of names beside a raster, as GDAL has it."""
    categories = "".join(f"<Category>{names.get(value, '')}</Category>" for value in range(max(names) + 1))
    band = f'<PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand>'
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")


def test_rasters_of_other_programs_need_names(tmp_path: Path, change: Change) -> None:
    values = np.array([0, 11, 21, 95, 255], np.uint8)
    for name, ids in (("old", OLD), ("new", NEW)):
        make_raster(tmp_path / f"{name}.tif", values[ids][None], nodata=0)
    assert_refused(change(), 65, "old.tif", "names none of its classes")
    names = {11: "water", 21: "town", 95: "marsh"}
    for name in ("old", "new"):
        legend(tmp_path / f"{name}.tif", names)
    assert_refused(change(), 65, "has pixels of class 255", "--nodata")
    for name in ("old", "new"):
        legend(tmp_path / f"{name}.tif", names | {255: "unsure"})
    assert change().code == 0
    np.testing.assert_array_equal(first_band(tmp_path / "c.tif"), transitions(OLD, NEW))
    assert {each["from"] for each in rows(tmp_path / "c.areas.csv")} == {*names.values(), "unsure"}


def test_ids_need_16_bits_above_15_classes() -> None:
    for count, dtype in ((15, np.uint8), (16, np.uint16)):
        made = Transitions(ClassMap.default(count).classes)
        old, new = np.array([[0, 1, 1, count, count]], np.uint16), np.array([[1, 0, 1, 1, count]], np.uint16)
        ids = made.of(old, new)
        assert ids.dtype == dtype
        assert ids.tolist() == [[0, 0, 1, (count - 1) * count + 1, count * count]]
        assert [entry.id for pair in map(made.pair, ids[0, 2:].tolist()) for entry in pair] == [
            1,
            1,
            count,
            1,
            count,
            count,
        ]
        assert len(made.class_map) == count**2


def test_more_than_255_classes_are_refused(tmp_path: Path, change: Change) -> None:
    assert MAX_CLASSES**2 <= np.iinfo(np.uint16).max - 1 < (MAX_CLASSES + 1) ** 2
    make_map(tmp_path / "old.tif", OLD, ClassMap.default(256))
    shutil.copy(tmp_path / "old.tif", tmp_path / "new.tif")
    with untouched(tmp_path):
        assert_refused(change(), 65, "256 classes", "merge some")


def test_names_that_look_like_transitions_stay_apart() -> None:
    names = ("a", "a -> b", "b", "b -> b")
    found = Transitions(tuple(LandClass(i, name, "#000000") for i, name in enumerate(names, 1))).class_map
    assert len({entry.name for entry in found.classes}) == 16


def test_old_files_survive_a_refusal_and_are_replaced_on_request(
    tmp_path: Path, change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    two(tmp_path)
    assert change().code == 0
    with untouched(tmp_path):
        assert_refused(change(), 73, tmp_path / "c.tif", "--overwrite")
        assert_refused(change("--overwrite", "--polygons", tmp_path / "new.tif"), 73)
    before = contents(tmp_path)
    assert change("--overwrite").code == 0
    assert contents(tmp_path) == before
    assert change("--overwrite", "--polygons", tmp_path / "c.gpkg").code == 0
    assert change("--overwrite").code == 0
    assert f"these files are of the old one, remove them: {tmp_path / 'c.gpkg'}" in caplog.text


def test_neither_torch_nor_a_model_is_loaded(tmp_path: Path) -> None:
    two(tmp_path)
    files = [str(tmp_path / name) for name in ("old.tif", "new.tif", "c.tif", "c.gpkg")]
    script = (
        "import sys, geoseg; old, new, out, polygons = sys.argv[1:]; geoseg.change(old, new, out, polygons=polygons); "
        "assert not {'torch', 'sklearn', 'geoseg.model.file'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, *files], check=True)
