"""geoseg report: a page beside its map, published whole, made without the network's library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.commandline import geoseg
from helpers.maps import NASTY, make_map, page_data, quilt
from helpers.rasters import make_raster

import geoseg as library
from geoseg.classes import ClassMap


def test_a_report_lies_beside_its_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = make_map(tmp_path, quilt(200, 260, 5), NASTY)
    outcome = geoseg(capsys, "report", path)
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'map.report.html'}\n"), outcome.err
    page = (tmp_path / "map.report.html").read_text("utf-8")
    data = page_data(page)
    assert data["file"] == "map.classes.json"
    assert [entry.name for entry in ClassMap.from_json(data["classes"]).classes] == list(NASTY)
    assert sorted(data["map"]["ids"]) == [1, 2, 3, 4, 5]
    assert data["map"]["metres"] == pytest.approx(0.5)
    assert '<span class="hidden">confidence </span>80 %' in page, "the raster of confidence is found"
    assert "Land cover of scene" in page
    assert "ab" * 32 in page
    again = geoseg(capsys, "report", path)
    assert again.code == 73
    assert "exists already; --overwrite replaces it" in again.err
    assert geoseg(capsys, "report", path, "--overwrite", "--title", "<Here>").code == 0
    assert "<title>&lt;Here&gt;</title>" in (tmp_path / "map.report.html").read_text("utf-8")


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    path, _ = make_map(tmp_path, quilt(64, 80, 3), "abc", confidence=False)
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules))\n"
        f"from geoseg.cli.main import main; main(['-q', 'report', {str(path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "map.report.html"), "False"]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--out", "page.pdf"], 73, "a report is HTML; name it page.html"),
        (["--title", " "], 78, "title is empty"),
        (["--scene", "none.tif"], 66, "none.tif"),
        (["--bands", "7"], 65, "7"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    make_map(tmp_path, quilt(40, 50, 3), "abc")
    monkeypatch.chdir(tmp_path)
    outcome = geoseg(capsys, "report", "map.tif", *more)
    assert outcome.code == code
    assert message in outcome.err
    assert not list(tmp_path.glob("*.html"))


def test_a_raster_of_another_program_needs_its_scene(tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "s.tif", np.full((1, 50, 60), 7.5, np.float32))
    raster = make_raster(tmp_path / "m.tif", np.arange(3000, dtype=np.int16).reshape(1, 50, 60) // 1500)
    with pytest.raises(library.InputMissingError, match="give it with --scene"):
        library.report(raster)
    told: list[str] = []
    result = library.report(raster, scene=scene, progress=lambda event: told.append(event.kind))
    assert [entry.name for entry in result.legend] == ["class 0", "class 1"], (
        "0 is a class where nothing says otherwise"
    )
    assert told[0] == "start"
    assert told[-1] == "end"
    data = page_data(result.path.read_text("utf-8"))
    assert data["map"]["ids"] == [0, 1]


def test_the_page_lies_in_the_package() -> None:
    from importlib.resources import files

    root = Path(__file__).resolve().parents[2]
    names = {path.name for path in (root / "geoseg" / "naming" / "assets").iterdir()}
    assert {"page.html", "page.css", "page.js"} <= names
    assert names == {entry.name for entry in files("geoseg.naming").joinpath("assets").iterdir()}
    assert '"geoseg.naming" = ["assets/*"]' in (root / "pyproject.toml").read_text()
