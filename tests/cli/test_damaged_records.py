"""A damaged record beside a map: passed over with a warning by every command that reads it, and a fault for `check`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers.commandline import geoseg
from helpers.rasters import make_raster

from geoseg.raster.folders import find_rasters

CLASSES = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) % 3 + 1
ENTRY = {"id": 1, "name": "water", "colour": "#0000ff"}

DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("not json"),
    "nested": lambda path: path.write_bytes(b"[" * 200_000),
    "infinite": lambda path: path.write_text(
        json.dumps({"files": {"map.tif": ""}, "classes": [{**ENTRY, "id": float("inf")}]})
    ),
    "another kind": lambda path: path.write_text(json.dumps({"files": {"map.tif": ""}, "raster": "y"})),
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A class raster that says that geoseg wrote it."""
    provenance = json.dumps({"geoseg": "0", "settings": {}})
    path = make_raster(tmp_path / "map.tif", CLASSES, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE=provenance)
        file.set_band_description(1, "classes")
    return path


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_command_passes_it_over_alike(
    kind: str, classes: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    record = classes.with_suffix(".geoseg.json")
    DAMAGE[kind](record)
    labels = make_raster(classes.with_name("labels.tif"), CLASSES)
    commands: list[tuple[object, ...]] = [
        ("info", classes), ("evaluate", classes, "--labels", labels),
        ("polygonize", classes, "-o", classes.with_name("p.fgb")), ("check", labels),
    ]  # fmt: skip
    for command in commands:
        caplog.clear()
        assert geoseg(capsys, *command).code == 0, command
        told = [each.getMessage() for each in caplog.records if "geoseg.json" in each.getMessage()]
        assert told, command
        assert set(told) == {told[0]}
        assert told[0].startswith(f"passed over: {record}: is damaged"), command
    caplog.clear()
    assert classes in find_rasters(classes.parent)
    assert f"passed over: {record}: is damaged" in caplog.text
    outcome = geoseg(capsys, "check", record)
    assert outcome.code == 65
    assert "WRONG" in outcome.out


def test_check_does_not_wait_for_a_pipe_that_a_record_names(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("p.gpkg", "p.tif"):
        os.mkfifo(classes.with_name(name))
    record = classes.with_suffix(".geoseg.json")
    record.write_text(json.dumps({"files": {"p.gpkg": "", "p.tif": ""}, "polygons": 1}))
    outcome = geoseg(capsys, "check", record)
    assert outcome.code == 65
    assert outcome.out.count("is not a regular file") == 2


def test_provenance_that_is_nested_without_end(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rasterio.open(classes, "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE="[" * 200_000)
    for command in ("info", "check"):
        assert geoseg(capsys, command, classes).code == 65
