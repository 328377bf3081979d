"""Commands of many scenes: what they are given, what becomes of each, and how the command ends."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commandline import Outcome, assert_refused, contents, geoseg, untouched
from helpers.rasters import landscape, make_raster

from geoseg.files.lock import OutputLocks
from geoseg.jobs.scene_results import SceneResult

Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the scenes n/a.tif and s/a.tif, and n/bad.tif, which is none."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("n/a.tif", "s/a.tif")):
        (tmp_path / "scenes" / name).parent.mkdir(parents=True)
        make_raster(tmp_path / "scenes" / name, landscape(40, 50, seed=seed))
    (tmp_path / "scenes" / "n" / "bad.tif").write_bytes(b"II*")
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function: `geoseg` in that folder."""
    return lambda *arguments: geoseg(capsys, *arguments)


def statuses(content: dict[str, Any]) -> list[str]:
    return [scene["status"] for scene in content["scenes"]]


def test_a_tree_of_maps_by_a_pattern_as_json_and_again(folder: Path, run: Run, model_path: Path) -> None:
    arguments = (
        "predict",
        "scenes/**/*.tif",
        "-m",
        model_path,
        "-o",
        "maps",
        "--tree",
        "--confidence",
        "maps",
        "--json",
    )
    outcome = run(*arguments)
    assert outcome.code == 65
    content = json.loads(outcome.out)
    assert statuses(content) == ["done", "failed", "done"]
    assert (content["exit_code"], content["pixels"], content["error"]) == (65, 4000, None)
    first, bad, _ = content["scenes"]
    assert set(first) == set(SceneResult.__dataclass_fields__)
    names = ("a-classes.tif", "a-confidence.tif", "a-classes.geoseg.json")
    assert first["outputs"] == [f"maps/n/{name}" for name in names]
    assert all(Path(path).is_file() for path in first["outputs"])
    assert first["classes"]
    assert set(first["classes"]) <= {f"class {number}" for number in range(1, 6)}
    assert (bad["exit_code"], bad["classes"], bad["pixels"]) == (65, None, None)
    assert "scenes/n/bad.tif: is text" in bad["error"]
    (folder / "scenes" / "n" / "bad.tif").unlink()
    # What was finished stays as it is, and what came to be is done.
    make_raster(folder / "scenes" / "s" / "late.tif", landscape(40, 50))
    before = contents(folder / "maps")
    again = run(*arguments)
    assert again.code == 0, again.err
    assert statuses(json.loads(again.out)) == ["done before", "done before", "done"]
    assert before.items() <= contents(folder / "maps").items()
    every = run(*arguments, "--overwrite")
    assert statuses(json.loads(every.out)) == ["done"] * 3


def test_a_folder_of_one_scene_is_continued_too_but_a_given_file_is_not(
    folder: Path, run: Run, model_path: Path
) -> None:
    assert run("predict", "scenes/s", "-m", model_path, "-o", "maps").code == 0
    with untouched(folder):
        again = run("predict", "scenes/s", "-m", model_path, "-o", "maps")
        assert (again.code, again.out) == (0, "maps/a-classes.tif\n")
        refused = run("predict", "scenes/s", "-m", model_path, "-o", "maps/a-classes.tif")
        assert_refused(refused, 73, "exists already")


def test_superpixels_of_a_list_into_a_folder(folder: Path, run: Run) -> None:
    (folder / "list.txt").write_text("# two\nscenes/n/a.tif\nscenes/n/bad.tif\n\nscenes/s/a.tif\n")
    with untouched(folder):
        clash = run("superpixels", "@list.txt", "-o", "cut", "--format", "tif")
        assert_refused(clash, 73, "scenes/n/a.tif and scenes/s/a.tif would both", "a-superpixels.tif", "--tree")
        assert_refused(run("superpixels", "@list.txt", "-o", "c.tif"), 73, "for 3 scenes, --out must be a folder")
        given = run("superpixels", "scenes/n/a.tif", "-o", "c.tif", "--format", "gpkg")
        assert_refused(given, 78, "format is gpkg", "c.tif")
    arguments = ("superpixels", "@list.txt", "-o", "cut", "--format", "tif", "--tree", "--size", 9)
    outcome = run(*arguments)
    assert outcome.code == 65
    assert outcome.out.split() == ["cut/n/a-superpixels.tif", "cut/s/a-superpixels.tif"]
    table = [line.split()[:2] for line in outcome.said if line.startswith("scenes/")][:3]
    assert table == [["scenes/n/a.tif", "done"], ["scenes/n/bad.tif", "failed"], ["scenes/s/a.tif", "done"]]
    with untouched(folder):
        again = run(*arguments)
        assert [line for line in again.said if line.startswith("3 scenes")] == ["3 scenes: 2 done before, 1 failed"]
        assert again.out == outcome.out
        other = run(*arguments, "--iterations", 2)
        assert other.said[-4].startswith("scenes/n/a.tif: cut/n/a-superpixels.tif: exists already, with other settings")
    assert not any(path.suffix == ".run" for path in (folder / "cut").rglob("*"))


def test_polygons_of_a_folder_of_maps(folder: Path, run: Run, model_path: Path) -> None:
    mapped = run("predict", "scenes", "-m", model_path, "-o", "maps", "--tree", "--confidence", "maps")
    assert mapped.code == 65
    arguments = ("polygonize", "maps", "-o", "shapes", "--tree", "--areas", "tables", "--format", "fgb", "--json")
    with untouched(folder):
        refused = run("polygonize", "maps", "-o", "shapes", "--tree", "--confidence", "maps/n/a-confidence.tif")
        assert_refused(refused, 73, "for 2 rasters, --confidence must be a folder")
    outcome = run(*arguments, "--confidence", "maps")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert [scene["outputs"] for scene in content["scenes"]] == [
        [f"shapes/{place}/a-polygons.fgb", f"tables/{place}/a-areas.csv", f"shapes/{place}/a-polygons.fgb.geoseg.json"]
        for place in "ns"
    ]
    assert all(Path(path).is_file() for scene in content["scenes"] for path in scene["outputs"])
    with untouched(folder):
        assert statuses(json.loads(run(*arguments, "--confidence", "maps").out)) == ["done before"] * 2
        for other in (["--field", "id"], ["--min-area", "3px"]):
            outcome = run(*arguments, "--confidence", "maps", *other)
            assert outcome.code == 73
            assert statuses(json.loads(outcome.out)) == ["failed"] * 2


def test_polygons_without_the_confidence_of_one(folder: Path, run: Run, model_path: Path) -> None:
    run("predict", "scenes", "-m", model_path, "-o", "maps", "--tree", "--confidence", "maps")
    (folder / "maps" / "s" / "a-confidence.tif").unlink()
    outcome = run("polygonize", "maps", "-o", "shapes", "--tree", "--confidence", "maps")
    assert outcome.code == 66
    assert "maps/s/a-confidence.tif: no such file" in outcome.said[-2]
    assert [path.name for path in sorted((folder / "shapes").rglob("*.gpkg"))] == ["a-polygons.gpkg"]
    assert not (folder / "shapes" / "s").exists(), "a folder was made for nothing"


def test_an_output_that_another_process_has_in_hand_is_waited_for(folder: Path, run: Run, model_path: Path) -> None:
    (folder / "scenes" / "n" / "bad.tif").unlink()
    (folder / "maps" / "n").mkdir(parents=True)
    locks = OutputLocks(folder / "maps" / "n" / "a-classes.tif")

    def release() -> None:
        for _ in range(400):
            if (folder / "maps" / "s" / "a-classes.geoseg.json").exists():
                break
            time.sleep(0.05)
        locks.release()

    other = threading.Thread(target=release)
    other.start()
    outcome = run("predict", "scenes", "-m", model_path, "-o", "maps", "--tree")
    other.join()
    assert outcome.code == 0, outcome.err
    assert outcome.out.split() == ["maps/s/a-classes.tif", "maps/n/a-classes.tif"]


def test_json_of_a_command_that_an_error_of_all_ends(
    folder: Path, run: Run, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.jobs.blocks.check_space", full_disk)
    outcome = run("predict", "scenes", "-m", model_path, "-o", "maps", "--tree", "--json")
    assert outcome.code == 74
    content = json.loads(outcome.out)
    assert statuses(content) == ["failed", "not done", "not done"]
    assert (content["exit_code"], content["error"]) == (74, "the disk is full")


def test_json_of_a_command_that_a_signal_ends(
    folder: Path, run: Run, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.jobs.blocks.check_space", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    outcome = run("predict", "scenes", "-m", model_path, "-o", "maps", "--tree", "--json")
    content = json.loads(outcome.out)
    assert (outcome.code, content["exit_code"], content["error"]) == (143, 143, "interrupted")
    assert statuses(content) == ["not done"] * 3


def full_disk(*_: object) -> None:
    from geoseg.errors import WriteError

    raise WriteError("the disk is full")


def test_progress_for_programs_and_silence(folder: Path, run: Run, model_path: Path) -> None:
    arguments = ("predict", "scenes", "-m", model_path, "-o", "maps", "--tree")
    told = [json.loads(line) for line in run("--progress", "json", *arguments).said]
    assert told[-2] == {"kind": "scenes", "done": 2, "done_before": 0, "failed": 1, "not_done": 0}
    assert told[-1]["kind"] == "error"
    assert len(run("-q", *arguments).said) == 2


def test_a_list_on_standard_input_is_planned_scene_by_scene(folder: Path, run: Run, model_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"scenes/n/a.tif\nscenes/s/a.tif\n")
    os.close(writer)
    saved = os.dup(0)
    os.dup2(reader, 0)
    try:
        outcome = run("plan", "superpixels", "-", "-o", "cut", "--tree", "--size", 9)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reader)
    assert outcome.code == 0, outcome.err
    runs = [f"cut/{place}/a-superpixels.gpkg.run" for place in "ns"]
    assert outcome.out.splitlines()[-1] == f"geoseg finalize {' '.join(runs)}"
    assert run("work", *runs).code == 0
    assert run("finalize", *runs).code == 0
    assert (folder / "cut" / "s" / "a-superpixels.gpkg").is_file()
