"""Odd paths of inputs and outputs, and odd characters in what is printed."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.commandline import assert_refused, contents, geoseg, untouched
from helpers.rasters import landscape, make_raster

from geoseg.cli.escapes import printable
from geoseg.cli.streams import announce
from geoseg.cli.terminal import LineFormatter

NOT_UTF8 = os.fsdecode(b"caf\xe9")
ODD = ["NEW! a;b\n\tq?", "a.zip!"]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A class raster of four squares."""
    return make_raster(
        tmp_path / "c.tif", np.kron([[1, 2], [3, 1]], np.ones((10, 12))).astype(np.uint8)[None], nodata=0
    )


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".shp", ".geojson"])
def test_polygons_in_folders_of_any_name(
    suffix: str, tmp_path: Path, classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ODD:
        folder = tmp_path / name
        folder.mkdir()
        out = folder / f"out{suffix}"
        assert geoseg(capsys, "-q", "polygonize", classes, "-o", out).code == 0, name
        assert out.stat().st_size
        assert not [path for path in contents(folder) if ".tmp" in path]
        outcome = geoseg(capsys, "check", out)
        assert (outcome.code, len(outcome.out.splitlines())) == (0, outcome.out.count("ok ")), outcome


@pytest.mark.parametrize("suffix", [".gpkg", ".shp"])
def test_polygons_of_any_name(suffix: str, tmp_path: Path, classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a;b!c?", "!"):
        out = tmp_path / f"{name}{suffix}"
        assert geoseg(capsys, "-q", "polygonize", classes, "-o", out).code == 0, name
        assert geoseg(capsys, "check", out).code == 0
    assert not [path for path in contents(tmp_path) if ".tmp" in path]


@pytest.mark.parametrize("name", ["classes.tif", "polygons.gpkg", "model.safetensors"])
def test_outputs_that_cannot_be(
    name: str, tmp_path: Path, classes: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_raster(tmp_path / "s.tif", landscape(40, 50))
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing/file")
    commands = {
        "classes.tif": [("predict", scene, "-m", model_path, "-o"), ("superpixels", scene, "-o")],
        "polygons.gpkg": [("polygonize", classes, "-o"), ("superpixels", scene, "-o")],
        "model.safetensors": [("train", "--data", scene, "-o")],
    }[name]
    odd = tmp_path / NOT_UTF8
    odd.mkdir()
    for command in commands:
        with untouched(tmp_path):
            for out, words in (
                (f"{NOT_UTF8}-{name}", "is not UTF-8"),
                (odd / name, "is not UTF-8"),
                (f"new\nline-{name}", r"new\nline"),
                (f"\x1b[31m{name}", "control characters"),
                ("loop", "leads back to itself"),
                ("nowhere", "missing, which does not exist"),
                ("", "--out: is empty"),
            ):
                target = tmp_path / out if out else ""
                assert_refused(geoseg(capsys, *command, target), 73, words)


def test_inputs_that_cannot_be(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_raster(tmp_path / "s.tif", landscape(40, 50))
    odd = tmp_path / f"{NOT_UTF8}.tif"
    odd.write_bytes(scene.read_bytes())
    model = tmp_path / f"{NOT_UTF8}.safetensors"
    model.write_bytes(model_path.read_bytes())
    folder = tmp_path / NOT_UTF8
    folder.mkdir()
    (folder / "s.tif").write_bytes(scene.read_bytes())
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    out = ("-o", tmp_path / "out.tif")
    commands = [
        ("info", odd), ("info", folder / "s.tif"), ("info", model), ("check", odd), ("check", model),
        ("superpixels", odd, *out), ("predict", odd, "-m", model_path, *out), ("predict", scene, "-m", model, *out),
        ("predict", scene, "-m", model_path, "--aoi", odd, *out), ("polygonize", odd, "-o", tmp_path / "out.gpkg"),
        ("evaluate", odd, "--labels", scene), ("evaluate", model, "--labels", scene, "--data", scene),
        ("train", "--data", odd, "-o", tmp_path / "m.safetensors"),
        ("train", "--data", folder, "-o", tmp_path / "m.safetensors"),
    ]  # fmt: skip
    with untouched(tmp_path):
        for command in commands:
            outcome = geoseg(capsys, *command)
            assert outcome.code == 65, (command, outcome)
            assert r"caf\xe9" in outcome.out + outcome.err
            assert "not UTF-8" in outcome.out + outcome.err
        assert_refused(geoseg(capsys, "info", tmp_path / "loop.tif"), 65, "cannot be reached")
        for command in (("info", ""), ("superpixels", "", *out), ("predict", scene, "-m", "", *out)):
            assert_refused(geoseg(capsys, *command), 65, "is empty")


def test_nothing_commands_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b]0;b\x07\n\x9b\u202e\udce9é\u2028") == r"a\x1b]0;b\x07\n\x9b\u202e\xe9é\u2028"
    assert_refused(geoseg(capsys, "info", tmp_path / "\x1b[31mred\nline.tif"), 66, r"\x1b[31mred\nline.tif: no such")
    record = logging.makeLogRecord({"msg": "%s: odd", "args": ("\x1b[2J",)})
    assert LineFormatter("%(message)s").format(record) == r"\x1b[2J: odd"


@pytest.mark.parametrize(("terminal", "line"), [(True, "a\\x1bb\n"), (False, "a\x1bb\n")])
def test_the_path_of_an_output_is_escaped_for_a_terminal_and_exact_for_a_program(
    terminal: bool, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    announce(Path("a\x1bb"))
    assert capsys.readouterr().out == line


def test_info_shows_what_a_raster_says_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provenance = json.dumps({"geoseg": "1", "layer": "classes", "scene": "\x1b]0;owned\x07\nred"})
    make_raster(tmp_path / "c.tif", np.ones((1, 20, 20), np.uint8))
    with rasterio.open(tmp_path / "c.tif", "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE=provenance)
        file.set_band_description(1, "band\x1b[31m")
    outcome = geoseg(capsys, "info", tmp_path / "c.tif")
    assert outcome.code == 0
    assert "\x1b" not in outcome.out
    assert "\x07" not in outcome.out
