"""The inputs that break raster programs, by their rows in the table of docs/reliability.md: what must be refused is
refused in one line before anything is written, what must work gives a map with the scene's own georeference.

Scenes and models are made here; the model is untrained, for its classes do not matter.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import Outcome, assert_map_of, assert_refused, contents, first_band, geoseg, untouched
from helpers.models import make_model
from helpers.rasters import TRANSFORM, landscape, make_raster
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.config import Opening
from geoseg.model.file import save_model
from geoseg.raster.opening import open_raster

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

Predict = Callable[..., Outcome]


@pytest.fixture
def predict(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: predict a scene with the small model, to map.tif unless said otherwise."""

    def run(scene: Path, *more: object, out: Path | None = None) -> Outcome:
        return geoseg(capsys, "predict", scene, "-m", model_path, "-o", out or tmp_path / "map.tif", *more)

    return run


@pytest.fixture
def refused(tmp_path: Path, predict: Predict, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Return a function: predicting this path ends with this code and these words, and nothing is written."""

    def run(path: Path, code: int, *words: object, **how: Any) -> None:
        with untouched(tmp_path):
            outcome = predict(path, *how.pop("more", ()), **how)
        assert_refused(outcome, code, *words)
        assert not caplog.messages

    return run


@pytest.fixture
def mapped(tmp_path: Path, predict: Predict) -> Callable[..., NDArray[Any]]:
    """Return a function: the scene is mapped, valid exactly where told, and the scene's folder holds no more than the
    outputs; it returns the classes."""

    def run(scene: Path, valid: NDArray[np.bool_] | None = None, *more: object) -> NDArray[Any]:
        before = contents(tmp_path)
        outcome = predict(scene, *more)
        assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'map.tif'}\n"), outcome.err
        after = contents(tmp_path)
        outputs = {"map.tif", "map.tif.aux.xml", "map.qml", "map.preview.png", "map.geoseg.json"}
        assert outputs <= set(after)
        for found in (before, after):
            for name in outputs:
                found.pop(name, None)
        assert after == before
        if valid is None:
            with rasterio.open(scene) as file:
                valid = np.ones(file.shape, dtype=bool)
        return assert_map_of(tmp_path / "map.tif", scene, valid)

    return run


def test_row_01_missing_path(tmp_path: Path, refused: Callable[..., None]) -> None:
    refused(tmp_path / "nowhere.tif", 66, tmp_path / "nowhere.tif", "no such file")
    refused(tmp_path / "no" / "where.tif", 66, tmp_path / "no" / "where.tif", "no such file")
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "gone.tif")
    refused(tmp_path / "dangling.tif", 66, tmp_path / "dangling.tif", "no such file")


def test_row_01_every_other_input_that_is_missing(
    tmp_path: Path, scene_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing"
    out = ("-o", tmp_path / "map.tif")
    for arguments in (
        ("predict", scene_path, *out, "-m", missing),
        ("predict", scene_path, *out, "-m", model_path, "--aoi", missing),
        ("train", "--data", missing, *out),
        ("info", missing),
    ):
        with untouched(tmp_path):
            outcome = geoseg(capsys, *arguments)
        assert_refused(outcome, 66, missing)


def test_row_02_directory_where_a_file_is_needed(
    tmp_path: Path, scene_path: Path, refused: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    refused(folder, 65, folder, "contains no imagery")
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, "-o", tmp_path / "map.tif", "-m", folder)
    assert_refused(outcome, 65, folder, "is a folder; a file is needed")


SEVERAL = """
import json, sys
from geoseg.cli.main import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_row_03_fifo_is_refused_at_once(tmp_path: Path, scene_path: Path, model_path: Path) -> None:
    pipe = str(tmp_path / "pipe.tif")
    os.mkfifo(pipe)
    out = ["-o", str(tmp_path / "map.tif")]
    commands = [
        ["predict", pipe, "-m", str(model_path), *out],
        ["predict", str(scene_path), "-m", pipe, *out],
        ["predict", str(scene_path), "-m", str(model_path), "--aoi", pipe, *out],
        ["train", "--data", pipe, *out],
        ["info", pipe],
    ]
    with untouched(tmp_path):
        # In a process of its own: were the pipe opened, it would wait for ever.
        command = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["65"] * len(commands)
    told = "is not a regular file (a pipe, socket or device); save it to a file first"
    assert done.stderr.splitlines() == [f"geoseg: error: {pipe}: {told}"] * len(commands)


def test_row_03_device(refused: Callable[..., None]) -> None:
    refused(Path(os.devnull), 65, os.devnull, "is not a regular file", "save it to a file first")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="an open file has no path on this system")
def test_row_03_standard_input_that_is_a_pipe(refused: Callable[..., None]) -> None:
    # Standard input is such a file, by the name /dev/stdin.
    end, other = os.pipe()
    try:
        refused(Path(f"/dev/fd/{end}"), 65, f"/dev/fd/{end}", "is not a regular file", "save it to a file first")
    finally:
        os.close(end)
        os.close(other)


def test_row_04_empty_file(tmp_path: Path, refused: Callable[..., None]) -> None:
    empty = tmp_path / "empty.tif"
    empty.touch()
    refused(empty, 65, empty, "is empty", "download")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"Access denied\n", "is text"),
        (b"\n  <!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
        (b"\xef\xbb\xbf<html>", "is an HTML page"),
        (b"PK\x03\x04\x00\x00\x08\x00", "is a ZIP archive"),
    ],
)
def test_row_05_text_or_html_named_tif(body: bytes, what: str, tmp_path: Path, refused: Callable[..., None]) -> None:
    page = tmp_path / "page.tif"
    page.write_bytes(body)
    refused(page, 65, page, what)


@pytest.mark.parametrize("magic", [b"II*\x00", b"MM\x00*", b"II+\x00", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_row_06_header_only_or_random_body(magic: bytes, tmp_path: Path, refused: Callable[..., None]) -> None:
    path = tmp_path / "header.tif"
    path.write_bytes(magic)
    refused(path, 65, path, "cannot be read as a raster")
    random = np.random.default_rng(6)
    for _ in range(3):
        path.write_bytes(magic + random.bytes(5000))
        refused(path, 65, path)


def test_row_22_one_strip(
    tmp_path: Path, mapped: Callable[..., NDArray[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = landscape(150, 170)
    tiled = mapped(make_raster(tmp_path / "tiled.tif", pixels))
    layout = {"tiled": False, "blockysize": 150, "blockxsize": 170, "compress": "deflate", "interleave": "pixel"}
    scene = make_raster(tmp_path / "strip.tif", pixels, **layout)
    with rasterio.open(scene) as file:
        assert set(file.block_shapes) == {(150, 170)}
    np.testing.assert_array_equal(mapped(scene, None, "--overwrite"), tiled)
    assert not caplog.messages
    open_raster(scene, Opening(), slow_block_bytes=3 * 150 * 170 - 1).file.close()
    assert len(caplog.messages) == 1
    assert str(scene) in caplog.messages[0]
    assert "gdal_translate" in caplog.messages[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 5)])
def test_row_23_a_line_of_pixels(shape: tuple[int, int], tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    mapped(make_raster(tmp_path / "line.tif", landscape(*shape)))


@pytest.mark.parametrize("tag", [256, 257])
def test_row_24_no_width_or_no_height(tag: int, tmp_path: Path, refused: Callable[..., None]) -> None:
    path = make_raster(tmp_path / "flat.tif", landscape(40, 40))
    _set_tag(path, tag, 0)
    refused(path, 65, path)


@pytest.mark.parametrize(
    "transform", [Affine(0, 0, 4e5, 0, 0, 5e6), Affine(0.5, 0, 4e5, 0, 0, 5e6), Affine(1, 2, 4e5, 2, 4, 5e6)]
)
def test_row_25_pixels_without_a_size(transform: Affine, tmp_path: Path, refused: Callable[..., None]) -> None:
    path = make_raster(tmp_path / "point.tif", landscape(40, 40), transform=transform)
    refused(path, 65, path, "degenerate geotransform")


ROTATED = Affine(0.31, 0.17, 400_000.1, 0.17, -0.31, 5_800_000.7)
SHEARED = Affine(0.5, 0.23, 400_000.3, 0, -0.7, 5_800_000.9)
SOUTH_UP = Affine(0.3, 0, 400_000.1, 0, 0.3, 5_800_000.7)


@pytest.mark.parametrize("transform", [ROTATED, SHEARED], ids=["rotated", "sheared"])
@pytest.mark.parametrize("meaning", ["Area", "Point"])
def test_row_26_rotated_and_sheared_are_kept(
    transform: Affine, meaning: str, tmp_path: Path, mapped: Callable[..., NDArray[Any]]
) -> None:
    scene = make_raster(tmp_path / "turned.tif", landscape(90, 110), transform=transform)
    with rasterio.open(scene, "r+") as file:
        file.update_tags(AREA_OR_POINT=meaning)
    mapped(scene)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.transform == transform
        assert file.tags()["AREA_OR_POINT"] == meaning


def test_row_27_south_up_is_kept(tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    pixels = landscape(90, 110)
    upward = mapped(make_raster(tmp_path / "south.tif", pixels, transform=SOUTH_UP))
    downward = mapped(make_raster(tmp_path / "north.tif", pixels), None, "--overwrite")
    np.testing.assert_array_equal(upward, downward)


def test_row_28_no_crs(
    tmp_path: Path, mapped: Callable[..., NDArray[Any]], predict: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_raster(tmp_path / "nowhere.tif", landscape(90, 110), crs=None)
    mapped(scene)
    assert [str(scene) in message and "--assume-crs" in message for message in caplog.messages] == [True]
    caplog.clear()
    assert predict(scene, "--assume-crs", "EPSG:25832", "--overwrite").code == 0
    assert not caplog.messages
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs.to_epsg() == 25832
        assert file.transform == TRANSFORM


def test_row_28_pixel_space_in_a_process_of_its_own(tmp_path: Path, model_path: Path) -> None:
    scene = make_raster(tmp_path / "plain.tif", landscape(60, 70), crs=None, transform=Affine.identity())
    out = tmp_path / "map.tif"
    command = [sys.executable, "-m", "geoseg", "predict", scene, "-m", model_path, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    notice, progress = done.stderr.splitlines()
    assert notice == f"{scene}: has no CRS, and neither has what is made from it (--assume-crs sets one)"
    assert progress.startswith("block 1/1: ")
    assert_map_of(out, scene, np.ones((60, 70), dtype=bool))


def test_row_28_an_assumed_crs_that_is_none(tmp_path: Path, refused: Callable[..., None]) -> None:
    scene = make_raster(tmp_path / "nowhere.tif", landscape(60, 70), crs=None)
    refused(scene, 78, "--assume-crs", "'EPSG:none'", more=("--assume-crs", "EPSG:none"))


def test_row_32_one_band_for_a_model_of_three(
    tmp_path: Path, refused: Callable[..., None], predict: Predict, mapped: Callable[..., NDArray[Any]]
) -> None:
    grey = make_raster(tmp_path / "grey.tif", landscape(90, 110, bands=1))
    refused(grey, 65, grey, "1 band (gray)", "the model expects 3 (red, green, blue)", "has too few")
    mapped(grey, None, "--bands", "1,1,1")


def test_row_33_many_bands_are_never_guessed(
    tmp_path: Path, refused: Callable[..., None], mapped: Callable[..., NDArray[Any]]
) -> None:
    pixels = landscape(90, 110, bands=13)
    scene = make_raster(tmp_path / "many.tif", pixels)
    refused(scene, 65, scene, "has 13 bands", "band 13", "--bands, by number or name")
    refused(scene, 65, scene, "bands 1 to 13", "no band 14", more=("--bands", "4,3,14"))
    refused(scene, 65, scene, "2 bands", "the model expects 3", "--bands", more=("--bands", "4,3"))
    chosen = mapped(scene, None, "--bands", "4,3,2")
    same = mapped(make_raster(tmp_path / "three.tif", pixels[[3, 2, 1]]), None, "--overwrite")
    np.testing.assert_array_equal(chosen, same)


def test_row_36_palette(tmp_path: Path, mapped: Callable[..., NDArray[Any]], caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(36)
    colours = random.integers(1, 256, size=(256, 3), dtype=np.uint8)
    indices = np.kron(random.integers(0, 256, size=(10, 12), dtype=np.uint8), np.ones((9, 9), dtype=np.uint8))
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633", "transform": TRANSFORM}
    scene = tmp_path / "palette.tif"
    with rasterio.open(scene, "w", height=90, width=108, **profile) as file:
        file.write(indices, 1)
        file.write_colormap(1, {i: (*map(int, colour), 255) for i, colour in enumerate(colours)})
    classes = mapped(scene)
    assert [str(scene) in message and "palette" in message for message in caplog.messages] == [True]
    expanded = make_raster(tmp_path / "expanded.tif", np.moveaxis(colours[indices], -1, 0).copy())
    np.testing.assert_array_equal(classes, mapped(expanded, None, "--overwrite"))


def _hole(rows: int, cols: int) -> NDArray[np.bool_]:
    """Valid but for a corner, a slit and a single pixel."""
    valid = np.ones((rows, cols), dtype=bool)
    valid[:40, :30] = False
    valid[60:62] = False
    valid[-1, -1] = False
    return valid


def test_row_37_alpha(tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    valid = _hole(120, 130)
    alpha = np.where(valid, 255, 0).astype(np.uint8)
    alpha[100:110, 100:110] = 1  # nearly transparent is not invalid
    pixels = np.concatenate([landscape(120, 130), alpha[None]])
    scene = make_raster(tmp_path / "alpha.tif", pixels, colorinterp=(*RGB, ColorInterp.alpha))
    mapped(scene, valid)


@pytest.mark.parametrize("internal", [True, False], ids=["internal mask", "msk file"])
def test_row_37_mask(internal: bool, tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    valid = _hole(120, 130)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        scene = make_raster(tmp_path / "masked.tif", landscape(120, 130), mask=valid)
    assert (tmp_path / "masked.tif.msk").exists() is not internal
    mapped(scene, valid)


def test_row_38_nodata_in_some_bands(tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    pixels = landscape(120, 130)
    valid = _hole(120, 130)
    red, blue = valid.copy(), valid.copy()
    red[:40], blue[60:] = True, True
    pixels[0][~red] = 0
    pixels[2][~blue] = 0
    mapped(make_raster(tmp_path / "some.tif", pixels, nodata=0), red & blue)


@pytest.mark.parametrize("nodata", [None, -9999.0, np.nan])
def test_row_38_nan_and_infinity(nodata: float | None, tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    pixels = landscape(120, 130).astype(np.float32)
    valid = np.ones((120, 130), dtype=bool)
    for band, (value, rows) in enumerate([(np.nan, slice(10, 20)), (np.inf, slice(30, 31)), (-np.inf, slice(70, 75))]):
        pixels[band, rows, 20:50] = value
        valid[rows, 20:50] = False
    pixels[1, 100:, 100:] = -9999
    if nodata == -9999:
        valid[100:, 100:] = False
    model = tmp_path / "float.safetensors"
    save_model(replace(make_model(), dtype="float32"), model)
    mapped(make_raster(tmp_path / "float.tif", pixels, nodata=nodata), valid, "-m", model)


def test_row_38_a_block_without_a_valid_pixel_skips_the_network(tmp_path: Path, predict: Predict) -> None:
    pixels = landscape(100, 1100)
    pixels[:, :, 512:1024] = 0
    scene = make_raster(tmp_path / "gap.tif", pixels, nodata=0)
    outcome = predict(scene, "--block-size", "512")
    assert outcome.code == 0
    assert [" 0 windows," in line for line in outcome.said] == [False, True, False]
    assert_map_of(tmp_path / "map.tif", scene, (pixels > 0).all(axis=0))


def test_row_38_no_valid_pixel_at_all(tmp_path: Path, mapped: Callable[..., NDArray[Any]]) -> None:
    scene = make_raster(tmp_path / "void.tif", np.zeros((3, 70, 80), np.uint8), nodata=0)
    assert not mapped(scene, np.zeros((70, 80), dtype=bool)).any()


def test_row_40_output_is_the_input(tmp_path: Path, scene_path: Path, refused: Callable[..., None]) -> None:
    symlink, hardlink = tmp_path / "symlink.tif", tmp_path / "hardlink.tif"
    symlink.symlink_to(scene_path)
    os.link(scene_path, hardlink)
    for out in (scene_path, symlink, hardlink):
        refused(scene_path, 73, out, "is the input itself", "choose another output", out=out)
        refused(scene_path, 73, out, "is the input itself", out=out, more=("--overwrite",))
    refused(symlink, 73, hardlink, "is the input itself", out=hardlink, more=("--overwrite",))
    refused(scene_path, 73, hardlink, "is the input itself", more=("--overwrite", "--confidence", hardlink))


def test_row_40_output_is_another_input(
    tmp_path: Path, scene_path: Path, refused: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "my.safetensors"
    model.write_bytes(b"precious")
    refused(scene_path, 73, model, "is the input itself", out=model, more=("-m", model, "--overwrite"))
    # The map of the first scene would take the place of the second.
    other = make_raster(tmp_path / "scene-classes.tif", landscape(50, 60))
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene_path, other, "-o", tmp_path, "-m", model, "--overwrite")
    assert_refused(outcome, 73, other, "is the input itself")


def test_row_40_output_is_a_folder(tmp_path: Path, scene_path: Path, refused: Callable[..., None]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    refused(scene_path, 73, folder, "is a folder", more=("--confidence", folder))
    # A folder as --out takes a file named after the scene, which may be a folder too.
    (folder / "scene-classes.tif").mkdir()
    refused(scene_path, 73, folder / "scene-classes.tif", "is a folder; give the path of a file", out=folder)


def test_row_40_folder_missing(tmp_path: Path, scene_path: Path, refused: Callable[..., None]) -> None:
    for out in (tmp_path / "no" / "map.tif", scene_path / "map.tif"):
        refused(scene_path, 73, out, f"its folder {out.parent} does not exist", "create it first", out=out)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_row_40_folder_read_only(tmp_path: Path, scene_path: Path, refused: Callable[..., None]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    refused(scene_path, 73, folder / "map.tif", "is not writable", out=folder / "map.tif")


def test_row_40_folder_that_refuses_access(
    tmp_path: Path, scene_path: Path, refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    refused(scene_path, 73, tmp_path / "map.tif", f"its folder {tmp_path} is not writable")


def test_row_40_name_too_long(tmp_path: Path, scene_path: Path, refused: Callable[..., None]) -> None:
    # The file itself could be made, but not the temporary file it is written to.
    out = tmp_path / f"{'m' * 240}.tif"
    refused(scene_path, 73, out, "its name is too long; choose a shorter one", out=out)


def test_row_40_output_exists(tmp_path: Path, scene_path: Path, refused: Callable[..., None], predict: Predict) -> None:
    out, confidence = tmp_path / "map.tif", tmp_path / "confidence.tif"
    out.write_bytes(b"precious")
    refused(scene_path, 73, out, "exists already", "--overwrite")
    confidence.write_bytes(b"precious")
    refused(scene_path, 73, confidence, "exists", out=tmp_path / "new.tif", more=("--confidence", confidence))
    assert predict(scene_path, "--confidence", confidence, "--overwrite").code == 0
    assert first_band(out).shape == first_band(confidence).shape == (300, 420)


def test_row_40_existing_output_stays_until_the_new_one_is_whole(
    tmp_path: Path, scene_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "map.tif"
    out.write_bytes(b"precious")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("geoseg.raster.cog_layout.Blocks.write", full)
        outcome = predict(scene_path, "--overwrite")
    assert_refused(Outcome(outcome.code, outcome.out, outcome.said[-1]), 74, out, "No space left on device")
    assert out.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "map.tif.run", "scene.tif"]
    outcome = predict(scene_path, "--overwrite")
    assert outcome.code == 0
    assert "1 of 1 blocks were finished before" in outcome.err
    assert first_band(out).shape == (300, 420)


def test_row_40_foreign_run_directory(
    tmp_path: Path, scene_path: Path, refused: Callable[..., None], predict: Predict
) -> None:
    run = tmp_path / "map.tif.run"
    assert predict(scene_path, "--keep-run", "--overwrite").code == 0
    (tmp_path / "map.tif").unlink()
    refused(scene_path, 78, run, "different settings", "--restart", more=("--blend", "crop"))
    other = make_raster(tmp_path / "other.tif", landscape(80, 90, seed=1))
    refused(other, 78, run, "a different scene", "--restart")
    (run / "manifest.json").write_text("[]")
    refused(scene_path, 78, run, "damaged", "--restart")
    (run / "manifest.json").unlink()
    refused(scene_path, 73, run, "is in the way", "move it elsewhere")


def _set_tag(path: Path, tag: int, value: int) -> None:
    """Change a SHORT or LONG tag of a little-endian classic TIFF."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            struct.pack_into("<I", data, entry + 8, value)
            path.write_bytes(data)
            return
    raise AssertionError(f"no tag {tag}")
