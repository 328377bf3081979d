"""How progress is shown: bar, lines, JSON, nothing; and what a program reads when something goes wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.commandline import Outcome, geoseg
from helpers.rasters import landscape, make_raster

from geoseg.jobs.superpixels import SuperpixelsJob
from geoseg.runs.run import Run

FIELDS = ["stage", "kind", "done", "total", "unit", "seconds", "message"]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A scene of three blocks of 512 px."""
    return make_raster(tmp_path / "wide.tif", landscape(64, 1400))


def superpixels(capsys: pytest.CaptureFixture[str], scene: Path, *options: object) -> Outcome:
    return geoseg(capsys, "superpixels", scene, "-o", scene.with_name("ids.tif"), "--block-size", 512, *options)


def objects(outcome: Outcome) -> list[dict[str, Any]]:
    """Every line of standard error, each a JSON object."""
    return [json.loads(line) for line in outcome.said]


def test_json_is_one_object_a_line(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = superpixels(capsys, wide, "--progress", "json")
    assert (outcome.code, outcome.out) == (0, f"{wide.with_name('ids.tif')}\n")
    found = objects(outcome)
    assert [list(each) for each in found] == [FIELDS] * 5
    assert [(each["kind"], each["done"]) for each in found] == [
        ("start", 0), ("step", 1), ("step", 2), ("step", 3), ("end", 3),
    ]  # fmt: skip
    assert {(each["stage"], each["total"], each["unit"]) for each in found} == {("superpixels", 3, "block")}


def test_an_error_is_an_object_too(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide.with_name("ids.tif").touch()
    outcome = superpixels(capsys, wide, "--progress=json")
    assert (outcome.code, outcome.out) == (73, "")
    (error,) = objects(outcome)
    assert (error["kind"], error["status"], error["details"]) == ("error", 73, [])
    assert "exists already" in error["message"]


def test_details_of_an_error_are_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(b"no raster")
    outcome = geoseg(capsys, "--progress", "json", "train", "--data", tmp_path, "-o", tmp_path / "m.safetensors")
    assert outcome.code == 65
    assert [len(each["details"]) for each in objects(outcome)] == [2]


def test_warnings_are_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 80), crs=None)
    # As in a process of its own, where nobody has set up logging before.
    monkeypatch.setattr(logging.root, "handlers", [])
    outcome = geoseg(capsys, "--progress", "json", "superpixels", scene, "-o", tmp_path / "ids.tif")
    assert [each["message"] for each in objects(outcome) if each["kind"] == "warning"] == [
        f"{scene}: has no CRS, and neither has what is made from it (--assume-crs sets one)"
    ]


@pytest.mark.parametrize("display", ["json", "plain", "none"])
def test_an_interruption_says_what_is_kept(
    wide: Path, display: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Run.keep
    monkeypatch.setattr(Run, "keep", lambda *given: keep(*given) or os.kill(os.getpid(), signal.SIGTERM))
    outcome = superpixels(capsys, wide, "--progress", display)
    assert outcome.code == 143
    kept = f"{wide.with_name('ids.tif.run')} holds the finished blocks; to continue: geoseg superpixels {wide}"
    if display == "none":
        assert outcome.err == ""
    elif display == "plain":
        assert outcome.said[-1].startswith(f"interrupted; {kept}")
    else:
        last = objects(outcome)[-1]
        assert (last["kind"], last["stage"]) == ("interrupted", "superpixels")
        assert last["message"].startswith(kept)


@pytest.mark.parametrize("moment", ["__init__", "_publish"])
def test_an_interruption_inside_a_c_extension_is_one_as_well(
    moment: str, wide: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba's dispatcher turns a KeyboardInterrupt into a SystemError."""

    def clash(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    monkeypatch.setattr(SuperpixelsJob, moment, clash)
    outcome = superpixels(capsys, wide, "--progress", "plain")
    assert (outcome.code, outcome.out) == (143, "")
    assert outcome.said[-1].startswith("interrupted" if moment == "__init__" else "interrupted; ")
    assert "error" not in outcome.err


def test_lines_where_there_is_no_terminal(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    auto = superpixels(capsys, wide)
    assert [line.split(":")[0] for line in auto.said] == ["block 1/3", "block 2/3", "block 3/3"]
    assert superpixels(capsys, wide, "--overwrite", "--progress", "none").err == ""
    assert superpixels(capsys, wide, "--overwrite", "--quiet", "--progress", "json").err == ""


def test_many_steps_are_about_twenty_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = make_raster(tmp_path / "classes.tif", landscape(16_000, 16)[:1] // 64)
    outcome = geoseg(capsys, "polygonize", classes, "-o", tmp_path / "polygons.fgb")
    steps = [line for line in outcome.said if line.startswith("step")]
    assert 15 <= len(steps) <= 25
    assert steps[-1].startswith("step 63/63: ")


def test_a_bar_where_it_is_asked_for(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = superpixels(capsys, wide, "--progress", "bar")
    assert "3/3" in outcome.err
    assert "\r" in outcome.err
    assert outcome.out == f"{wide.with_name('ids.tif')}\n"


def test_what_is_no_display_is_wrong_usage(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = superpixels(capsys, wide, "--progress", "xml")
    assert outcome.code == 2
    assert "'xml' is not one of 'auto', 'bar', 'plain', 'json', 'none'" in outcome.err
