"""A training that was interrupted, by whatever, ends in the same files as one that was not."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commandline import assert_refused, geoseg, training_with
from helpers.rasters import landscape, make_raster

from geoseg.config import TrainConfig
from geoseg.errors import GeosegError, OutputError, WriteError
from geoseg.files import atomic
from geoseg.jobs import train as training_job
from geoseg.jobs.train import TrainJob
from geoseg.learning.checkpoints import Checkpoints, folder_of
from geoseg.learning.log import TrainingLog
from geoseg.learning.step import Step
from geoseg.model.file import load_model

SETTINGS: dict[str, Any] = {"steps": 9, "batch_size": 2, "patch_size": 64, "classes": 4, "precision": "float32"}
OPTIONS = ("--steps", 9, "--batch-size", 2, "--patch-size", 64, "--classes", 4, "--precision", "float32")


RECIPE = {"checkpoint_every": 2, "mixture_superpixels": 2000}
brief_training = training_with(**RECIPE)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `geoseg train` runs is as brief as what the tests run themselves."""
    monkeypatch.setattr(training_job, "TrainJob", brief_training)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one small scene."""
    path = tmp_path_factory.mktemp("data")
    make_raster(path / "a.tif", landscape(150, 130))
    return path


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> TrainConfig:
    """A training of nine steps, which keeps every second one."""
    return TrainConfig(folder, tmp_path / "m.safetensors", **SETTINGS)


def run(config: TrainConfig, until: int = 99) -> None:
    """Train until step `until` is in the log, or to the end."""
    with brief_training(config) as training:
        for step in training.run():
            if step.step == until:
                break


def files(config: TrainConfig) -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """What a training leaves: model, picture, and log but for what depends on the clock."""
    log = [json.loads(line) for line in config.out.with_suffix(".metrics.jsonl").read_text().splitlines()]
    left = [line for line in log if line.pop("images_per_second")]
    assert sorted(path.name for path in config.out.parent.iterdir()) == ["m.metrics.jsonl", "m.png", "m.safetensors"]
    return config.out.read_bytes(), config.out.with_suffix(".png").read_bytes(), left


Files = tuple[bytes, bytes, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a training that nothing interrupted, and that kept no checkpoint."""
    config = TrainConfig(folder, tmp_path_factory.mktemp("whole") / "m.safetensors", **SETTINGS)
    run(config)
    found = files(config)
    assert [line["step"] for line in found[2]] == list(range(1, 10))
    return found


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_law_8_resumed_from_any_of_its_checkpoints(
    config: TrainConfig, whole: Files, damaged: int, caplog: pytest.LogCaptureFixture
) -> None:
    run(config, until=7)
    kept = sorted(folder_of(config.out).glob("step-*.pt"))
    assert [path.stem for path in kept] == [f"step-{step:06d}" for step in (2, 4, 6)]
    for path in kept[::-1][:damaged]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    assert not config.out.exists()
    run(replace(config, resume=True))
    assert caplog.text.count("is damaged") == damaged
    assert files(config) == whole


def test_where_no_checkpoint_is_whole_nothing_is_begun(config: TrainConfig) -> None:
    run(config, until=5)
    for path in folder_of(config.out).glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    log = config.out.with_suffix(".metrics.jsonl").read_bytes()
    with pytest.raises(GeosegError, match="are damaged; start over with --overwrite") as caught:
        run(replace(config, resume=True))
    assert caught.value.exit_code == 65
    assert config.out.with_suffix(".metrics.jsonl").read_bytes() == log
    run(replace(config, overwrite=True))
    files(config)


def test_another_training_is_not_continued(config: TrainConfig) -> None:
    run(config, until=3)
    with pytest.raises(GeosegError, match="belongs to a training with different seed") as caught:
        run(replace(config, resume=True, seed=1))
    assert caught.value.exit_code == 78
    with pytest.raises(OutputError, match="--resume continues it, --overwrite starts over"):
        run(config)


def test_an_old_model_is_intact_until_the_new_one_is_there(config: TrainConfig, whole: Files) -> None:
    config.out.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        run(replace(config, resume=True))
    run(replace(config, overwrite=True), until=3)
    assert config.out.read_bytes() == b"old"
    run(replace(config, resume=True), until=8)
    assert config.out.read_bytes() == b"old"
    run(replace(config, resume=True))
    assert files(config) == whole


def test_a_log_that_was_cut_off_in_a_line_is_exact_again(config: TrainConfig, whole: Files) -> None:
    run(config, until=5)
    log = config.out.with_suffix(".metrics.jsonl")
    log.write_bytes(log.read_bytes() + b'{"step": 6, "st')
    run(replace(config, resume=True), until=5)
    log.write_bytes(log.read_bytes()[:-30])
    run(replace(config, resume=True))
    assert files(config) == whole


class DiskFullError(OSError):
    """What the system says."""


def test_whatever_write_fails_the_training_can_be_resumed(
    config: TrainConfig, whole: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The k-th sync fails, for every k: one error, no torn file; then it goes on, to the same files."""
    sync, calls = atomic.sync, 0
    settings = config
    failed = 0

    def failing(path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == failed:
            raise DiskFullError(28, "No space left on device", str(path))
        sync(path)

    monkeypatch.setattr(atomic, "sync", failing)
    while True:
        failed, calls = failed + 1, 0
        with suppress(WriteError):
            run(settings)
        if calls < failed:
            break
        if config.out.exists():
            load_model(config.out)
        settings = replace(config, resume=True, overwrite=False)
        if config.out.exists() and not folder_of(config.out).exists():
            break
    assert failed > 5
    assert files(config) == whole


class Full:
    """A file on a full disk."""

    def __init__(self, file: Any) -> None:
        self.truncate, self.close = file.truncate, file.close

    def write(self, _: bytes) -> int:
        raise DiskFullError(28, "No space left on device")


def test_a_full_disk_is_74_and_one_line(
    config: TrainConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = TrainingLog.add

    def full(log: TrainingLog, step: Step) -> None:
        if step.step == 5:
            monkeypatch.setattr(log, "_file", Full(log._file))
        add(log, step)

    monkeypatch.setattr(TrainingLog, "add", full)
    outcome = geoseg(capsys, "-q", "train", "--data", config.data, "-o", config.out, *OPTIONS)
    assert_refused(outcome, 74, "m.metrics.jsonl", "No space left")
    assert len(list(folder_of(config.out).glob("step-*.pt"))) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_training_says_how_to_go_on(
    config: TrainConfig, whole: Files, number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    save = Checkpoints.save

    def interrupting(held: Checkpoints, step: int, *more: Any) -> None:
        save(held, step, *more)
        if step == 4:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", interrupting)
        outcome = geoseg(capsys, "train", "--data", config.data, "-o", config.out, *OPTIONS)
    assert (outcome.code, outcome.out) == (code, "")
    again = shlex.join(["geoseg", "train", "--data", str(config.data), "-o", str(config.out), *map(str, OPTIONS)])
    assert f"interrupted; {folder_of(config.out)} holds the work so far; to continue: {again} --resume" in outcome.err
    assert not (folder_of(config.out) / "lock").exists()
    outcome = geoseg(capsys, "-q", "train", "--data", config.data, "-o", config.out, *OPTIONS, "--resume")
    assert (outcome.code, outcome.out.strip()) == (0, str(config.out))
    assert files(config) == whole


@pytest.mark.parametrize("minutes", [None, 60])
def test_the_progress_of_a_resumed_training_begins_at_the_kept_step(
    config: TrainConfig, minutes: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run(replace(config, minutes=minutes), until=7)
    newest = folder_of(config.out) / "step-000006.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    more = ("--resume", "--progress", "json", *(("--minutes", minutes) if minutes else ()))
    outcome = geoseg(capsys, "train", "--data", config.data, "-o", config.out, *OPTIONS, *more)
    told = [line for line in map(json.loads, outcome.said) if line["kind"] in {"start", "step", "end"}]
    assert [(line["kind"], line["done"], line["total"]) for line in told] == [
        ("start", 4, 9), *(("step", done, 9) for done in range(5, 10)), ("end", 9, 9),
    ]  # fmt: skip
    assert told[0]["message"].endswith("; continues after step 4")


@pytest.mark.parametrize("more", [(), ("--resume",), ("--overwrite",)])
def test_a_second_training_to_the_same_model_is_75(
    config: TrainConfig, more: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with brief_training(config) as training:
        steps = training.run()
        for _ in range(3):
            next(steps)
        before = training.metrics.read_bytes()
        monkeypatch.setattr("geoseg.jobs.training_images.band_stats", lambda *_, **__: pytest.fail("it has begun"))
        outcome = geoseg(capsys, "train", "--data", config.data, "-o", config.out, *OPTIONS, *more)
        assert_refused(outcome, 75, folder_of(config.out), "at work")
        assert training.metrics.read_bytes() == before
        steps.close()


def test_predict_goes_on_with_the_model_it_was_learning(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    chosen: list[TrainConfig] = []

    def briefer(config: TrainConfig, scenes: Any = None, reason: str = "") -> TrainJob:
        chosen.append(config)
        return brief_training(replace(config, **SETTINGS), scenes)

    monkeypatch.setattr("geoseg.jobs.predictions.TrainJob", briefer)
    save = Checkpoints.save
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", lambda *given: save(*given) or os.kill(os.getpid(), signal.SIGTERM))
        assert geoseg(capsys, "predict", folder / "a.tif", "-o", "map.tif").code == 143
    assert (tmp_path / "map-model.training" / "step-000002.pt").exists()
    assert geoseg(capsys, "-q", "predict", folder / "a.tif", "-o", "map.tif").code == 0
    assert [(config.resume, config.overwrite) for config in chosen] == [(False, False), (True, False)]
    assert not (tmp_path / "map-model.training").exists()
    assert load_model(tmp_path / "map-model.safetensors").provenance["steps"] == 9


KILLED = f"""
import sys
import torch
from helpers.commandline import training_with
from geoseg.jobs import train as training_job
# As the tests in this process have it.
training_job.TrainJob = training_with(**{RECIPE})
torch.set_num_threads(1)
from geoseg.cli.main import main
print("ready", flush=True)
main(sys.argv[1:])
"""


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_law_8_killed_at_random_moments_a_training_ends_in_the_same_files(
    config: TrainConfig, whole: Files, tmp_path: Path
) -> None:
    """SIGKILL, twenty times in all, some of them while it begins and some while it publishes."""
    random = np.random.default_rng(0)
    settings = [str(value) for value in ("--data", config.data, "-o", config.out, *OPTIONS)]
    command = [sys.executable, "-c", KILLED, "-q", "train", *settings]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    kills = done = 0
    while kills < 20:
        more = ["--resume"] if folder_of(config.out).exists() else []
        with subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(timeout=float(random.uniform(0.5, 6)))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        if process.returncode == 0 or config.out.exists():
            done += 1
            load_model(config.out)
            shutil.rmtree(folder_of(config.out), ignore_errors=True)
            for leftover in tmp_path.glob(".m.*"):
                leftover.unlink()
            assert files(config) == whole
            for path in tmp_path.iterdir():
                path.unlink()
        else:
            assert process.returncode == -signal.SIGKILL
    assert done
