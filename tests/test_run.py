"""The run directory: whose it is, and which of its parts count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commandline import untouched
from numpy.typing import NDArray

from geoseg.errors import OutputError, RunError, WriteError
from geoseg.grid import Block, Window
from geoseg.publish import sha256
from geoseg.run import Run

FINGERPRINT = {"scene": {"bytes": 7}, "model": "abc", "settings": {"extent": (0, 0, 5, 7)}}
BLOCK = Block(3, Window.of(0, 0, 40, 50))


def layers(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Two layers of a part."""
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 9, (40, 50), dtype=np.uint8) for name in ("classes", "confidence")}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with one finished part."""
    made = Run(tmp_path / "map.tif.run", FINGERPRINT)
    made.keep(BLOCK, layers())
    return made


def test_a_part_is_kept_and_found_again(run: Run) -> None:
    again = Run(run.path, FINGERPRINT)
    assert again.has(BLOCK)
    assert not again.has(Block(4, BLOCK.window))
    for name, values in layers().items():
        with rasterio.open(again.part(BLOCK, name)) as file:
            np.testing.assert_array_equal(file.read(1), values)
    names = {"manifest.json", "part-000003.json", "part-000003-classes.tif", "part-000003-confidence.tif"}
    assert {path.name for path in run.path.iterdir()} == names


def test_a_part_without_a_layer_counts(run: Run) -> None:
    empty = Block(4, BLOCK.window)
    run.keep(empty, {})
    assert run.has(empty)
    assert not run.part(empty, "classes").exists()


@pytest.mark.parametrize("key", FINGERPRINT)
def test_a_foreign_run_is_refused_by_what_differs(key: str, run: Run) -> None:
    with untouched(run.path), pytest.raises(RunError, match=f"another {key}; .*delete the folder"):
        Run(run.path, FINGERPRINT | {key: "different"})


def test_a_run_of_a_version_that_knew_more_or_less_is_foreign(run: Run) -> None:
    with pytest.raises(RunError, match="another device;"):
        Run(run.path, FINGERPRINT | {"device": "cpu"})
    with pytest.raises(RunError, match="another model, settings;"):
        Run(run.path, {"scene": FINGERPRINT["scene"]})


@pytest.mark.parametrize("text", ["", "[]", "null", '{"scene"', "\0\0\0"])
def test_a_manifest_that_is_none_is_refused(text: str, run: Run) -> None:
    (run.path / "manifest.json").write_text(text)
    with untouched(run.path), pytest.raises(RunError, match="delete the folder"):
        Run(run.path, FINGERPRINT)


def test_a_folder_of_somebody_else_is_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "map.tif.run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with untouched(tmp_path), pytest.raises(OutputError, match="is in the way"):
        Run(folder, FINGERPRINT)
    with untouched(tmp_path), pytest.raises(OutputError, match="is in the way"):
        Run(folder / "thesis.txt", FINGERPRINT)
    with untouched(tmp_path), pytest.raises(OutputError, match="cannot be created"):
        Run(tmp_path / "no" / "map.tif.run", FINGERPRINT)


@pytest.mark.parametrize("left", [(), (".manifest.host.17.tmp.json",)], ids=["empty", "manifest half written"])
def test_a_process_killed_before_its_manifest_is_no_hindrance(left: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "map.tif.run"
    folder.mkdir()
    for name in left:
        (folder / name).write_text('{"sce')
    assert json.loads((Run(folder, FINGERPRINT).path / "manifest.json").read_text())["model"] == "abc"


@pytest.mark.parametrize("layer", ["classes", "confidence"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing", "exchanged"])
def test_a_part_that_is_not_what_was_recorded_is_not_reused(layer: str, damage: str, run: Run) -> None:
    path = run.part(BLOCK, layer)
    whole = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        run.keep(Block(4, BLOCK.window), layers(seed=1))
        path.write_bytes(run.part(Block(4, BLOCK.window), layer).read_bytes())
    assert not run.has(BLOCK)
    run.keep(BLOCK, layers())
    assert run.has(BLOCK)
    assert path.read_bytes() == whole


def test_a_part_without_its_record_is_not_reused(run: Run) -> None:
    (run.path / "part-000003.json").unlink()
    assert not run.has(BLOCK)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"part-000003-classes.tif"'])
def test_a_record_that_is_none_does_not_count(text: str, run: Run) -> None:
    (run.path / "part-000003.json").write_text(text)
    assert not run.has(BLOCK)


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "map.tif.run", FINGERPRINT)
    written = []

    def failing(path: Path, values: NDArray[Any]) -> None:
        if written:
            raise WriteError(f"{path}: the disk is full")
        path.write_bytes(b"first layer")
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr("geoseg.run.write_part", failing)
        with pytest.raises(WriteError, match="the disk is full"):
            run.keep(BLOCK, layers())
    assert written
    assert not run.has(BLOCK)
    run.keep(BLOCK, layers())
    record = json.loads((run.path / "part-000003.json").read_text())
    assert record == {path.name: sha256(path) for path in run.path.glob("part-*.tif")}


def test_a_run_is_discarded_whole(run: Run) -> None:
    run.discard()
    assert not run.path.exists()
