"""geoseg check: what is whole passes, and whatever is not is told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.commandline import assert_refused, first_band, geoseg, untouched
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

from geoseg.checks.findings import Finding
from geoseg.classes import ClassMap, LandClass
from geoseg.files.atomic import sha256
from geoseg.jobs.check import check_file
from geoseg.learning.checkpoints import Checkpoints
from geoseg.model.file import save_model

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    """A scene with a hole in it, its map with everything, polygons of that, and its superpixels."""
    from geoseg.cli.main import main

    folder = tmp_path_factory.mktemp("made")
    pixels = landscape(300, 700)
    pixels[:, 100:130, 200:260] = 0
    make_raster(folder / "scene.tif", pixels, nodata=0)

    def run(*arguments: object) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["-q", *map(str, arguments)])
        assert ended.value.code == 0

    predict = ("predict", folder / "scene.tif", "-m", model_path, "-o")
    run(*predict, folder / "map.tif", "--confidence", folder / "conf.tif", "--polygons", folder / "map.gpkg", "--sld")
    run("polygonize", folder / "map.tif", "-o", folder / "p.fgb")
    run("superpixels", folder / "scene.tif", "-o", folder / "ids.tif", "--size", 8)
    run("superpixels", folder / "scene.tif", "-o", folder / "cells.gpkg", "--size", 8)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these files."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def found(path: Path, scene: Path | None = None) -> list[Finding]:
    with untouched(path if path.is_dir() else path.parent):
        return list(check_file(path, scene))


def wrong(path: Path, scene: Path | None = None) -> dict[str, set[str]]:
    """File -> the checks that found something wrong with it."""
    told: dict[str, set[str]] = {}
    for finding in found(path, scene):
        assert "\n" not in finding.message
        if not finding.ok:
            told.setdefault(finding.file.name, set()).add(finding.check)
    return told


def rehash(record: Path) -> None:
    """Make the record name the files as they are now: only what is in them can tell."""
    said = json.loads(record.read_bytes())
    said["files"] = {name: sha256(record.parent / name) for name in said["files"] if (record.parent / name).exists()}
    record.write_text(json.dumps(said))


@pytest.mark.parametrize("name", ["map.tif", "conf.tif", "map.gpkg", "map.geoseg.json", "map.qml", "p.fgb", "ids.tif"])
def test_what_geoseg_wrote_is_whole(made: Path, name: str) -> None:
    scene = made / "scene.tif" if name != "p.fgb" else None
    findings = found(made / name, scene)
    assert [finding for finding in findings if not finding.ok] == []
    checks = {(finding.file.name, finding.check) for finding in findings}
    if name.startswith(("map", "conf")):
        assert {
            *(("map.tif", each) for each in ("sha256", "layout", "blocks", "ids", "class map", "nodata", "provenance")),
            *(("conf.tif", each) for each in ("sha256", "layout", "blocks", "confidence", "provenance")),
            *(("map.gpkg", each) for each in (
                "sha256", "features", "geometries", "class ids", "class names", "areas", "database", "style"
            )),
            *((each, "sha256") for each in ("map.qml", "map.sld", "map.preview.png", "map.tif.aux.xml")),
            ("scene.tif", "blocks"),
        } <= checks  # fmt: skip
    elif name == "p.fgb":
        assert {("p.fgb", each) for each in ("features", "geometries", "class ids", "class names", "areas")} <= checks
    else:
        assert {("ids.tif", each) for each in ("sha256", "layout", "blocks", "ids", "nodata", "provenance")} <= checks


NAMES = ("no", "x" * 300, "ä" * 127 + "b", " lead", "tr\u00a0\u2028ail ")
"""Names that one format or another does not hold as they are."""


def test_names_that_a_format_cannot_hold_are_told_once_and_never_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    classes = ClassMap(tuple(replace(LandClass.default(i), name=name) for i, name in enumerate(NAMES, 1)))
    assert classes.classes[3].name == "lead"
    save_model(replace(make_model(), classes=classes), tmp_path / "m.safetensors")
    scene, out = make_raster(tmp_path / "s.tif", landscape(64, 128)), tmp_path / "map.tif"
    assert geoseg(capsys, "-q", "predict", scene, "-m", tmp_path / "m.safetensors", "-o", out).code == 0
    assert wrong(out, scene) == {}
    for suffix in (".shp", ".gpkg", ".parquet"):
        caplog.clear()
        outcome = geoseg(capsys, "polygonize", out, "-o", tmp_path / f"p{suffix}")
        assert (outcome.code, "Warning" in outcome.err) == (0, False)
        told = [message for message in caplog.messages if "Shapefile" in message]
        assert len(told) == (suffix == ".shp")
        assert all("'xxxxx" in line and "and 1 more" in line and "254 bytes" in line for line in told)
        assert wrong(tmp_path / f"p{suffix}") == {}
    said(tmp_path / "map.geoseg.json", lambda record: record["classes"][0].update(name="bare"))
    assert wrong(tmp_path / "p.shp") == {"p.shp": {"class names"}}


def test_files_are_read_again_as_they_were_read(
    made: Path, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the page and the nodata value of the command that made the result."""
    scene = make_raster(tmp_path / "s.tif", landscape(64, 128))
    value = int(first_band(scene)[5, 5])
    options = ("--nodata", value, "-m", model_path)
    assert geoseg(capsys, "-q", "predict", scene, *options, "-o", tmp_path / "m.tif").code == 0
    assert (first_band(tmp_path / "m.tif") == 0).any()
    assert wrong(tmp_path / "m.tif", scene) == {}
    assert geoseg(capsys, "-q", "polygonize", made / "map.tif", "--nodata", 3, "-o", made / "n.fgb").code == 0
    assert wrong(made / "n.fgb") == {}
    (made / "map.vrt").write_text(
        "<VRTDataset rasterXSize='700' rasterYSize='300'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        "<SourceFilename relativeToVRT='1'>map.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    assert geoseg(capsys, "-q", "polygonize", made / "map.vrt", "--allow-vrt", "-o", made / "v.fgb").code == 0
    assert wrong(made / "v.fgb") == {}
    assert any("is a VRT" in each.message for each in found(made / "v.fgb"))
    for path in [*made.glob("n.*"), *made.glob("v.*"), made / "map.vrt"]:
        path.unlink()


def test_superpixels_as_polygons_are_whole(made: Path) -> None:
    findings = found(made / "cells.gpkg")
    assert all(finding.ok for finding in findings)
    assert {"sha256", "features", "geometries", "ids"} <= {finding.check for finding in findings}


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the pixels of a raster in place."""
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        band = file.read(1)
        change(band)
        file.write(band, 1)


def fill(value: int, row: int = 20, col: int = 30) -> Callable[[Any], None]:
    def change(band: Any) -> None:
        band[row, col] = value

    return change


def said(record: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(record.read_bytes())
    change(content)
    record.write_text(json.dumps(content))


def sql(path: Path, *statements: str) -> None:
    """Change a GeoPackage; its index is not told of it."""
    with closing(sqlite3.connect(path)) as file, file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        for statement in statements:
            file.execute(statement)


def bow_tie(path: Path) -> None:
    """Make the first square of a layer cross itself."""
    import shapely

    with closing(sqlite3.connect(path)) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        fid, blob = file.execute("SELECT fid, geom FROM classes LIMIT 1").fetchone()
        head = 8 + {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}[blob[3] >> 1 & 7]
        crossed = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)])
        file.execute("UPDATE classes SET geom = ? WHERE fid = ?", (blob[:head] + shapely.to_wkb(crossed), fid))
        file.commit()


def flip(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0x55
    path.write_bytes(data)


def uncog(path: Path) -> None:
    """Write the same raster as a plain GeoTIFF."""
    beside = path.with_name(path.name + ".aux.xml")
    kept = beside.read_bytes()
    with rasterio.open(path) as file:
        pixels, profile, colours = file.read(), file.profile, file.colormap(1)
        tags, names = file.tags(), file.descriptions
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        file.write_colormap(1, colours)
        file.update_tags(**tags)
        file.set_band_description(1, names[0])
    beside.write_bytes(kept)


def other_colour(path: Path) -> None:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.write_colormap(1, file.colormap(1) | {2: (1, 2, 3, 255)})


def rename(path: Path) -> None:
    path.write_text(path.read_text().replace("<Category>class 3<", "<Category>swamp<"))


# File, what is done to it, and which checks of which files then find something wrong, once hashes are right again.
SPOILT: dict[str, tuple[str, Change, dict[str, set[str]]]] = {
    "an id of no class": ("map.tif", lambda p: edit(p, fill(9)), {"map.tif": {"ids"}, "map.gpkg": {"areas"}}),
    "a hole": (
        "map.tif", lambda p: edit(p, fill(0)),
        {"map.tif": {"nodata"}, "conf.tif": {"confidence"}, "map.gpkg": {"areas"}},
    ),
    "a class where there is none": (
        "map.tif", lambda p: edit(p, fill(1, 110, 210)),
        {"map.tif": {"nodata"}, "conf.tif": {"confidence"}, "map.gpkg": {"areas"}},
    ),
    "another class": ("map.tif", lambda p: edit(p, lambda band: np.copyto(band, band % 5 + 1, where=band > 0)),
                      {"map.gpkg": {"areas"}}),
    "no confidence": ("conf.tif", lambda p: edit(p, fill(0)), {"conf.tif": {"confidence"}}),
    "a plain GeoTIFF": ("map.tif", uncog, {"map.tif": {"layout"}}),
    "another colour": ("map.tif", other_colour, {"map.tif": {"class map"}}),
    "another name": ("map.tif.aux.xml", rename, {"map.tif": {"class map"}}),
    "no names": ("map.tif.aux.xml", lambda p: p.write_text("<PAMDataset/>"), {"map.tif": {"class map"}}),
    "a feature less": (
        "map.gpkg", lambda p: sql(p, "DELETE FROM classes WHERE fid = 3"),
        {"map.gpkg": {"areas", "features"}},
    ),
    "a feature twice": (
        "map.gpkg",
        lambda p: sql(p, "INSERT INTO classes (geom, class_id, class) SELECT geom, class_id, class FROM classes "
                         "WHERE fid = 3"),
        {"map.gpkg": {"areas", "features"}},
    ),
    "a bow tie": ("map.gpkg", bow_tie, {"map.gpkg": {"geometries", "areas"}}),
    "a class there is not": (
        "map.gpkg", lambda p: sql(p, "UPDATE classes SET class_id = 77 WHERE fid = 3"),
        {"map.gpkg": {"class ids", "areas"}},
    ),
    "another class name": (
        "map.gpkg", lambda p: sql(p, "UPDATE classes SET class = 'x' WHERE fid = 3"), {"map.gpkg": {"class names"}},
    ),
    "no style": ("map.gpkg", lambda p: sql(p, "DELETE FROM layer_styles"), {"map.gpkg": {"style"}}),
    "no database": ("map.gpkg", lambda p: p.write_bytes(p.read_bytes()[:100]), {"map.gpkg": {"polygons"}}),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_wrong_is_told_whatever_the_hashes_say(folder: Path, what: str) -> None:
    name, change, expected = SPOILT[what]
    change(folder / name)
    record = folder / "map.geoseg.json"
    told = wrong(record, folder / "scene.tif")
    assert "sha256" in told[name]
    rehash(record)
    told = wrong(record, folder / "scene.tif")
    if what != "a plain GeoTIFF":
        # Whether a change breaks the layout is a matter of how well the changed blocks compress.
        told = {each: checks - {"layout"} for each, checks in told.items() if checks != {"layout"}}
    assert told == expected


def test_every_file_of_the_record_is_hashed(folder: Path) -> None:
    record = folder / "map.geoseg.json"
    for name in json.loads(record.read_bytes())["files"]:
        whole = (folder / name).read_bytes()
        flip(folder / name, 0.9)
        assert "sha256" in wrong(record)[name]
        (folder / name).unlink()
        assert wrong(record)[name] == {"sha256"}
        (folder / name).write_bytes(whole)
    assert wrong(record) == {}


def test_all_that_is_wrong_is_told(folder: Path) -> None:
    flip(folder / "map.qml", 0.5)
    (folder / "map.sld").unlink()
    edit(folder / "map.tif", fill(9))
    sql(folder / "map.gpkg", "DELETE FROM layer_styles")
    assert {name for name, checks in wrong(folder / "map.tif").items() if "sha256" in checks} == {
        "map.qml", "map.sld", "map.tif", "map.gpkg"
    }  # fmt: skip
    assert "ids" in wrong(folder / "map.tif")["map.tif"]
    assert "style" in wrong(folder / "map.tif")["map.gpkg"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: r["classes"][2].update(name="swamp"), {"map.tif": {"class map"}, "map.gpkg": {"class names"}}),
        (lambda r: r["classes"][2].update(colour="#010203"), {"map.tif": {"class map"}}),
        (lambda r: r["settings"].update(blend="crop"), {"map.tif": {"provenance"}, "conf.tif": {"provenance"}}),
        (lambda r: r.pop("classes"), None),
        (lambda r: r.update(files={}), {"map.geoseg.json": {"record"}}),
        (lambda r: r.update(files=[1]), {"map.geoseg.json": {"record"}}),
        (lambda r: r.update(classes=[{"id": "x"}]), None),
        (lambda r: r["settings"].update(extent="whole"), None),
        (lambda r: r["settings"].update(bands=["red"]), None),
        (lambda r: r.update(scene=7), None),
        (lambda r: r.update(settings=[]), None),
    ],
)
def test_a_record_that_was_changed(folder: Path, change: Change, expected: Any) -> None:
    record = folder / "map.geoseg.json"
    said(record, change)  # type: ignore[arg-type]
    told = wrong(record, folder / "scene.tif")
    assert told == expected if expected is not None else told


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"{", b"[]", b'{"files": 3}', b"[" * 100_000])
def test_a_record_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "map.geoseg.json").write_bytes(content)
    assert wrong(folder / "map.geoseg.json") == {"map.geoseg.json": {"record"}}
    # Nothing names the map any more, which says of itself that it is one.
    assert wrong(folder / "map.tif") == {"map.tif": {"record"}}


@pytest.mark.parametrize("blocks", [(0,), (5,), (11,), (0, 3, 7), range(12)])
def test_blocks_that_do_not_decode_are_told_by_their_place(folder: Path, blocks: Sequence[int]) -> None:
    path = folder / "big.tif"
    pixels = landscape(600, 900)
    make_raster(path, pixels, compress="deflate")
    assert wrong(path) == {}
    (told,) = [each.message for each in found(path) if each.check == "valid pixels"]
    assert told == "540000 of 540000 pixels are valid (100.0 %)"
    data = bytearray(path.read_bytes())
    with rasterio.open(path) as file:
        down, across = (-(-length // side) for length, side in zip(file.shape, file.block_shapes[0], strict=True))
        places = [(x, y) for y in range(down) for x in range(across)]
        offsets = [int(file.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=1)) for x, y in places]
    for block in blocks:
        data[offsets[block] : offsets[block] + 50] = b"\xff" * 50
    path.write_bytes(data)
    expected = []
    with rasterio.open(path) as file:
        for _, block in file.block_windows(1):
            try:
                file.read(window=block)
            except rasterio.errors.RasterioError:
                (top, bottom), (left, right) = block.toranges()
                expected.append(f"the block of rows {top}-{bottom}, columns {left}-{right} cannot be decoded")
    assert len(expected) == len(blocks)
    assert sorted(each.message for each in found(path) if not each.ok) == sorted(expected)


def test_the_share_of_valid_pixels_is_told(made: Path) -> None:
    (told,) = [each.message for each in found(made / "scene.tif") if each.check == "valid pixels"]
    assert told.startswith(f"{300 * 700 - 30 * 60} of {300 * 700} pixels are valid")


def test_another_scene_is_not_that_of_the_map(folder: Path) -> None:
    other = make_raster(folder / "other.tif", landscape(300, 700, seed=5))
    assert wrong(folder / "map.tif", other) == {"map.tif": {"scene"}}
    assert wrong(folder / "ids.tif", other) == {"ids.tif": {"scene"}}


@pytest.mark.parametrize("name", ["ids.tif"])
def test_superpixels_are_held_against_their_scene(folder: Path, name: str) -> None:
    edit(folder / name, fill(0))
    rehash(folder / "ids.geoseg.json")
    assert wrong(folder / name, folder / "scene.tif")[name] - {"layout"} == {"nodata"}
    edit(folder / name, lambda band: band.fill(0))
    rehash(folder / "ids.geoseg.json")
    assert wrong(folder / name, folder / "scene.tif")[name] - {"layout"} == {"nodata"}


def test_superpixels_that_were_lost_are_told(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "cells.gpkg")) as file, file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute("DELETE FROM superpixels WHERE fid = 2")
        file.execute("UPDATE superpixels SET id = 0 WHERE fid = 3")
    rehash(folder / "cells.gpkg.geoseg.json")
    assert wrong(folder / "cells.gpkg") == {"cells.gpkg": {"features", "ids"}}


def test_a_part_of_a_scene_is_held_against_that_part(
    made: Path, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shapely.geometry import box

    scene = made / "scene.tif"
    bounds = (400_040, 5_799_900, 400_250, 5_799_980)
    predict = ("-q", "predict", scene, "-m", model_path)
    assert geoseg(capsys, *predict, "-o", tmp_path / "part.tif", "--bounds", *bounds).code == 0
    assert wrong(tmp_path / "part.tif", scene) == {}
    import geopandas

    geopandas.GeoDataFrame(geometry=[box(*bounds)], crs="EPSG:32633").to_file(tmp_path / "aoi.gpkg")
    assert geoseg(capsys, *predict, "-o", tmp_path / "inside.tif", "--aoi", tmp_path / "aoi.gpkg").code == 0
    assert wrong(tmp_path / "inside.tif", scene) == {}
    edit(tmp_path / "inside.tif", fill(1, 110, 210))
    assert "nodata" in wrong(tmp_path / "inside.tif", scene)["inside.tif"]


def test_a_run_directory_is_checked_part_by_part(
    made: Path, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.tif"
    arguments = ("-m", model_path, "-o", out, "--block-size", 512, "--keep-run")
    assert geoseg(capsys, "-q", "predict", made / "scene.tif", *arguments).code == 0
    run = tmp_path / "map.tif.run"
    assert wrong(run) == {}
    assert any("2 parts are intact; 0 of 2 are missing" in each.message for each in found(run))
    flip(run / "part-000001-classes.tif", 0.5)
    assert wrong(run) == {run.name: {"parts"}}
    (run / "part-000001.json").unlink()
    assert wrong(run) == {}
    assert any("1 parts are intact; 1 of 2 are missing" in each.message for each in found(run))
    (run / "manifest.json").write_bytes(b"{")
    assert wrong(run) == {run.name: {"manifest"}}


def test_the_folder_of_a_training_is_checked_checkpoint_by_checkpoint(tmp_path: Path) -> None:
    held = Checkpoints(tmp_path / "m.safetensors")
    for step in (1, 2):
        held.save(step, {}, {"step": step})
    assert any("is at work" in each.message for each in found(held.path))
    held.close()
    assert wrong(held.path) == {}
    flip(held.path / "step-000001.pt", 0.5)
    (told,) = [each.message for each in found(held.path) if not each.ok]
    assert told.startswith("step-000001 is damaged")


def test_a_model_is_whole_or_not(tmp_path: Path, model_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_path.read_bytes())
    assert any(each.message == sha256(path) for each in found(path))
    assert wrong(path) == {}
    flip(path, 0.5)
    assert wrong(path) == {"m.safetensors": {"model"}}


def test_polygons_without_a_record_are_held_against_themselves(folder: Path) -> None:
    (folder / "map.geoseg.json").unlink()
    assert wrong(folder / "map.gpkg") == {}
    bow_tie(folder / "map.gpkg")
    assert wrong(folder / "map.gpkg") == {"map.gpkg": {"geometries"}}
    flip(folder / "p.fgb", 0.0)
    (folder / "p.fgb.geoseg.json").unlink()
    assert wrong(folder / "p.fgb") == {"p.fgb": {"features"}}


def test_a_confidence_in_another_folder_is_told_of_its_map(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (folder / "conf.tif").rename(tmp_path / "else" / "conf.tif")
    record = folder / "map.geoseg.json"
    said(record, lambda r: r["files"].update({"../else/conf.tif": r["files"].pop("conf.tif")}))
    assert wrong(record) == {}
    assert ("conf.tif", "confidence") in {(each.file.name, each.check) for each in found(record)}
    assert wrong(tmp_path / "else" / "conf.tif") == {}
    assert "check the map" in found(tmp_path / "else" / "conf.tif")[0].message


def test_one_line_a_check_and_65_where_anything_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = geoseg(capsys, "check", folder / "map.tif", "--scene", folder / "scene.tif")
    assert (whole.code, whole.err) == (0, "")
    assert all(line.startswith("ok     ") for line in whole.out.splitlines())
    flip(folder / "map.qml", 0.5)
    spoilt = geoseg(capsys, "check", folder / "scene.tif", folder / "map.tif", folder / "ids.tif")
    assert (spoilt.code, spoilt.err) == (65, "")
    told = [line for line in spoilt.out.splitlines() if not line.startswith("ok     ")]
    assert told == [f"WRONG  {folder / 'map.qml'}: is not the file that the record names: the SHA-256 differs"]
    assert spoilt.out.count("ids.tif") > 3


def test_json_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(folder / "map.qml", 0.5)
    outcome = geoseg(capsys, "check", folder / "map.tif", "--json")
    assert outcome.code == 65
    assert json.loads(outcome.out) == [finding.to_json() for finding in check_file(folder / "map.tif")]


def test_what_cannot_be_checked(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(folder / "fifo.tif")
    (folder / "text.tif").write_text("nothing")
    for name, code, told in (
        ("absent.tif", 66, "no such file"),
        ("fifo.tif", 65, "not a regular file"),
        ("text.tif", 65, "is text"),
        (".", 65, "is neither a run directory nor"),
    ):
        assert_refused(geoseg(capsys, "check", folder / name), code, told)
    assert_refused(geoseg(capsys, "check", folder / "scene.tif", "--scene", folder / "scene.tif"), 78, "--scene")
    both = geoseg(capsys, "check", folder / "map.tif", folder / "ids.tif", "--scene", folder / "scene.tif")
    assert_refused(both, 78, "scene goes with one result")
    assert_refused(geoseg(capsys, "check", folder / "map.tif", "--scene", folder / "none.tif"), 66, "none.tif")


def test_torch_is_imported_for_models_only(made: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from geoseg.jobs.check import check_file\n"
        "assert all(each.ok for each in check_file(Path(sys.argv[1])))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(made / "scene.tif")], check=True, timeout=60)
