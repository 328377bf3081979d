"""Runs from the command line: one at a time, begun anew on request, looked at while they are unfinished, and ended by
a signal whatever they are at."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.commandline import Outcome, assert_refused, contents, geoseg, untouched
from helpers.rasters import landscape, make_raster

from geoseg.files.lock import Lock
from geoseg.jobs.status import run_status, status_json
from geoseg.learning.checkpoints import Checkpoints
from geoseg.runs.run import Run

Predict = Callable[..., Outcome]


@pytest.fixture
def predict(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: predict a row of three blocks to map.tif."""
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 512 * 3))

    def run(*more: object) -> Outcome:
        arguments = ("predict", scene, "-m", model_path, "-o", tmp_path / "map.tif", "--block-size", 512)
        return geoseg(capsys, *arguments, *more)

    return run


@pytest.fixture
def unfinished(tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which two blocks are finished."""
    keep = Run.keep

    def failing(run: Run, block: Any, layers: Any) -> None:
        if block.index == 2:
            raise MemoryError
        keep(run, block, layers)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "keep", failing)
        assert predict().code == 71
    return tmp_path / "map.tif.run"


def test_a_second_process_is_told_to_wait(unfinished: Path, tmp_path: Path, predict: Predict) -> None:
    lock = Lock(unfinished / "lock")
    with untouched(tmp_path):
        assert_refused(predict(), 75, unfinished, f"process {os.getpid()} on ", "is at work there")
        assert_refused(predict("--restart"), 75, unfinished)
    lock.release()
    outcome = predict()
    assert outcome.code == 0
    assert outcome.said[-1] == "2 of 3 blocks were finished before"


def test_restart_begins_anew_whatever_was_there(unfinished: Path, tmp_path: Path, predict: Predict) -> None:
    assert_refused(predict("--blend", "crop"), 78, unfinished, "different settings", "--restart")
    outcome = predict("--blend", "crop", "--restart", "--keep-run")
    assert outcome.code == 0
    assert "finished before" not in outcome.err
    assert len(list(unfinished.glob("part-*.json"))) == 3
    assert (tmp_path / "map.geoseg.json").exists()


def test_a_finished_run_of_another_process_is_not_overwritten(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finishes after the output was found free, and before the work begins."""
    taking = Run.__init__

    def late(run: Run, *arguments: Any, **more: Any) -> None:
        (tmp_path / "map.tif").write_bytes(b"precious")
        taking(run, *arguments, **more)

    monkeypatch.setattr(Run, "__init__", late)
    assert_refused(predict(), 73, "map.tif", "exists already")
    assert {name: data for name, data in contents(tmp_path).items() if name != "scene.tif"} == {"map.tif": b"precious"}


def test_no_space_is_told_before_the_work(tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.files.atomic.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with untouched(tmp_path):
        assert_refused(predict(), 74, "0 MiB free, about 1 MiB needed")
    plan = predict("--dry-run")
    assert (plan.code, json.loads(plan.out)["blocks"]) == (0, 3)


def test_status_of_an_unfinished_run(
    unfinished: Path, tmp_path: Path, model_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = tmp_path / "scene.tif", tmp_path / "map.tif"
    command = shlex.join(["geoseg", "predict", *map(str, (scene, "-m", model_path, "-o", out, "--block-size", 512))])
    with untouched(tmp_path):
        by_run, by_output = geoseg(capsys, "status", unfinished), geoseg(capsys, "status", out)
    assert by_run == by_output
    assert by_run.out.splitlines() == [
        f"{unfinished}: 2 of 3 blocks finished, {_mebibytes(unfinished)} MiB",
        "stopped",
        f"to continue, in {Path.cwd()}: {command}",
    ]
    lock = Lock(unfinished / "lock")
    told = json.loads(geoseg(capsys, "status", unfinished, "--json").out)
    lock.release()
    by_python = status_json(run_status(out))
    assert by_python == {**told, "state": "stopped"}
    assert told["state"].startswith(f"at work: process {os.getpid()} on ")
    assert (told["finished"], told["blocks"], told["damaged"], told["command"]) == (2, 3, 0, command)
    assert predict().code == 0
    assert geoseg(capsys, "status", out).out == f"{out}: is finished\n"
    finished = {"run": None, "state": "finished"}
    assert json.loads(geoseg(capsys, "status", out, "--json").out) == status_json(run_status(out)) == finished
    assert_refused(geoseg(capsys, "status", unfinished), 66, unfinished, "neither a run nor a finished output")
    assert_refused(geoseg(capsys, "status", tmp_path), 65, tmp_path, "is not a run directory")


def _mebibytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.iterdir()) / (1 << 20), 1)


STUCK = """
import ctypes, signal, sys
from geoseg.cli.main import main
from geoseg.raster.cog_layout import Blocks

def stuck(blocks, path, tags):
    open(path, "wb").write(b"half")
    print("stuck", flush=True)
    # Like a call into a library, this does not come back, and no handler of Python's runs: a mutex is locked twice.
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    library.pthread_mutex_init(mutex, None)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

Blocks.write = stuck
# Whoever started the tests in the background made the signal ignored, for them and their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[2:], grace_seconds=float(sys.argv[1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "status", "grace", "times"), [(signal.SIGINT, 130, 600, 2), (signal.SIGTERM, 143, 0.1, 1)]
)
def test_a_call_that_does_not_come_back_is_ended_in_time_or_at_a_second_signal(
    number: signal.Signals, status: int, grace: float, times: int, tmp_path: Path, model_path: Path, predict: Predict
) -> None:
    scene, out = make_raster(tmp_path / "scene.tif", landscape(64, 512 * 3)), tmp_path / "map.tif"
    arguments = ["predict", scene, "-m", model_path, "-o", out, "--block-size", "512"]
    command = [sys.executable, "-c", STUCK, str(grace), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        assert len(list(tmp_path.glob(".*.tmp*"))) == 1
        time.sleep(1)  # until the mutex is asked for
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.1)  # or two would be one
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    again = shlex.join(["geoseg", *map(str, arguments)])
    assert [line for line in said.splitlines() if line][
        -1
    ] == f"interrupted; {out}.run holds the finished blocks; to continue: {again}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".map.tif.lock", "map.tif.run", "scene.tif"]
    outcome = predict()
    assert outcome.code == 0
    assert outcome.said[-1] == "3 of 3 blocks were finished before"
    assert not (tmp_path / "map.tif.run").exists()


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_tells_of_an_old_map_goes_with_it(tmp_path: Path, predict: Predict) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = [
        "map.tif.msk", "map.tif.ovr", "map.sld", "map.legend.png", "map.stac.json", "sure.tif.aux.xml", "sure.qml",
        "map.gpkg-wal", "map.gpkg.sld", f".map.{socket.gethostname()}.{ended.pid}.tmp.tif",
        f".sure.{socket.gethostname()}.{ended.pid}.tmp.tif.ovr.tmp",
    ]  # fmt: skip
    for name in ("map.tif", "map.qml", "map.geoseg.json", *stale):
        (tmp_path / name).write_bytes(b"old")
    outcome = predict("--overwrite", "--confidence", tmp_path / "sure.tif", "--polygons", tmp_path / "map.gpkg")
    assert outcome.code == 0
    assert sorted(contents(tmp_path)) == sorted(
        [
            "scene.tif",
            "map.tif",
            "map.tif.aux.xml",
            "map.qml",
            "map.preview.png",
            "map.geoseg.json",
            "map.gpkg",
            "sure.tif",
            "sure.qml",
        ]
    )
    assert not [name for name, data in contents(tmp_path).items() if data == b"old"]


def test_an_old_map_keeps_all_that_belongs_to_it_until_the_new_one_is_whole(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict("--sld", "--legend").code == 0

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoseg.outputs.map.save_png", full)
    before = contents(tmp_path)
    outcome = predict("--overwrite", "--blend", "crop")
    assert outcome.code == 74
    assert outcome.said[-1].startswith("geoseg: error: ")
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in set(after) - set(before)} == {"map.tif.run"}


@pytest.mark.parametrize(
    "arguments", [("-q", "info", "{}"), ("info", "-q", "{}"), ("info", "{}", "--quiet"), ("info", "{}", "-qv")]
)
def test_options_of_the_group_are_taken_wherever_they_stand(
    arguments: tuple[str, ...], scene_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = geoseg(capsys, *(argument.format(scene_path) for argument in arguments))
    assert (outcome.code, outcome.err) == (0, "")


def test_what_looks_like_an_option_of_the_group_behind_two_dashes_is_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_raster(tmp_path / "-q", landscape(64, 80))
    outcome = geoseg(capsys, "info", "--json", "--", "-q")
    assert (outcome.code, json.loads(outcome.out)["kind"]) == (0, "scene")


def test_a_missing_crs_is_told_once(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(64, 80), crs=None)
    arguments = ("-m", model_path, "-o", tmp_path / "map.tif", "--polygons", tmp_path / "map.gpkg")
    assert geoseg(capsys, "predict", scene, *arguments).code == 0
    assert [str(scene) in message for message in caplog.messages if "CRS" in message] == [True]


def test_a_scene_that_is_not_there_is_told_before_a_model_is_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with untouched(tmp_path):
        assert_refused(geoseg(capsys, "predict", "none.tif", "-o", "map.tif"), 66, "none.tif", "no such file")


def test_status_of_an_interrupted_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.safetensors"
    kept = Checkpoints(model)
    for step in (25, 50):
        kept.save(step, {}, {"step": step})
    (kept.path / "step-000050.pt").write_bytes(b"flipped")
    working = geoseg(capsys, "status", model)
    assert working.out.splitlines()[1].startswith(f"at work: process {os.getpid()} on ")
    kept.close()
    with untouched(tmp_path):
        by_model, by_folder = geoseg(capsys, "status", model), geoseg(capsys, "status", kept.path)
    assert by_model == by_folder
    assert by_model.out.splitlines() == [
        f"{kept.path}: 25 steps kept, 1 checkpoint intact, 1 damaged, {_mebibytes(kept.path)} MiB",
        "stopped",
        "to continue: the command that began it (geoseg train with --resume, or geoseg predict)",
    ]
    told = json.loads(geoseg(capsys, "status", model, "--json").out)
    assert told == status_json(run_status(model))
    assert (told["step"], told["checkpoints"], told["damaged"]) == (25, 1, 1)
    (kept.path / "step-000025.pt").write_bytes(b"flipped")
    assert "no intact checkpoint" in geoseg(capsys, "status", model).out
    assert_refused(geoseg(capsys, "status", tmp_path / "other.safetensors"), 66, "other.safetensors")


def test_status_of_a_model(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg(capsys, "status", model_path).out == f"{model_path}: is finished\n"


def test_status_of_the_working_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(geoseg(capsys, "status", "."), 65, "is not a run directory")
    with Run(tmp_path, {}, blocks=3):
        pass
    assert geoseg(capsys, "status", ".").out.startswith(".: 0 of 3 blocks finished")
