"""Maps whose blocks a Dask cluster computes: the files of one process, whatever happens to workers and scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.commandline import Outcome, assert_refused, untouched

import geoseg as library
from geoseg.config import PredictConfig
from geoseg.errors import RunError, SettingError
from geoseg.files.atomic import sha256
from geoseg.files.lock import holder
from geoseg.jobs import engines
from geoseg.jobs.job import Progress
from geoseg.jobs.workers import gpus_for, processes_for
from geoseg.prediction import memory
from geoseg.runs import clusters

if TYPE_CHECKING:
    from distributed import Client

SIDE = 512
SETTINGS: dict[str, Any] = {
    "confidence": "sure.tif", "polygons": "map.gpkg", "min_area": "20px", "block_size": SIDE, "overwrite": True,
}  # fmt: skip
FILES = ("map.tif", "sure.tif", "map.gpkg", "map.qml", "map.preview.png")
RUN = Path("map.tif.run")

Geoseg = Callable[..., Outcome]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of two workers on this machine."""
    with clusters.on_this_machine(2) as found:
        yield found


def hashes(names: Sequence[str] = FILES) -> dict[str, str]:
    """SHA-256 of the files in the working folder."""
    return {name: sha256(Path(name)) for name in names}


def finished(run: Path) -> int:
    """Number of finished blocks of a run."""
    return len(list(run.glob("part-[0-9]*.json")))


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread during this context; the event says that it ends."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_law_2_a_cluster_gives_the_files_of_one_process(client: Client, call: Geoseg) -> None:
    library.predict("scene.tif", "map.tif", **SETTINGS)
    expected, told = hashes(), list[Progress]()
    library.predict("scene.tif", "map.tif", client=client, progress=told.append, **SETTINGS)
    assert hashes() == expected
    assert told[0].message.splitlines()[-1].startswith("Dask cluster tls://127.0.0.1:")
    assert [event.kind for event in told] == ["start", *["step"] * 6, "end"]


@pytest.mark.soak
def test_law_2_three_killed_workers_of_a_cluster_change_no_byte(client: Client, call: Geoseg) -> None:
    """The short form, without a network, is in `tests/runs/test_dask.py`."""
    library.predict("scene.tif", "map.tif", **SETTINGS)
    expected = hashes()
    killed: list[int] = []

    def kill(ended: threading.Event) -> None:
        while len(killed) < 3 and not ended.wait(0.005):
            holders = [holder(path) for path in RUN.glob("claim-*")] if finished(RUN) > len(killed) else []
            for process in {each.process for each in holders if each is not None} - {*killed, os.getpid()}:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                break

    told: list[Progress] = []
    with beside(kill):
        library.predict("scene.tif", "map.tif", client=client, progress=told.append, **SETTINGS)
    assert len(killed) == 3
    assert hashes() == expected
    # What a worker finished before it was killed was not finished before this prediction.
    assert (told[-1].kind, told[-1].message) == ("end", "")
    assert not RUN.exists()


def test_law_6_a_killed_scheduler_loses_nothing(call: Geoseg, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("superpixels", "scene.tif", "--block-size", SIDE, "--size", 8)
    assert call(*arguments, "-o", "one.tif").code == 0
    command = (*arguments, "-o", "map.tif", "--engine", "dask", "--scheduler-file", "scheduler.json")
    with cluster_elsewhere() as processes:

        def kill(ended: threading.Event) -> None:
            while not ended.wait(0.002):
                if finished(RUN):
                    for process in reversed(processes):
                        process.send_signal(signal.SIGSTOP)
                    processes[0].kill()
                    return

        with beside(kill):
            outcome = call(*command)
    assert (outcome.code, outcome.out) == (69, "")
    assert outcome.said[-1].startswith("geoseg: error: tcp://127.0.0.1:")
    assert "the Dask scheduler is gone; finished blocks are kept" in outcome.said[-1]
    assert 1 <= (before := finished(RUN)) < 6
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    assert_refused(call(*command), 69, "no Dask scheduler answers there")
    with cluster_elsewhere():
        outcome = call(*command)
    assert outcome.code == 0, outcome.err
    assert f"{before} of 6 blocks were finished before" in outcome.said
    assert sha256(Path("map.tif")) == sha256(Path("one.tif"))


@contextlib.contextmanager
def cluster_elsewhere() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A scheduler, which writes scheduler.json, and a worker, in processes of their own."""
    Path("scheduler.json").unlink(missing_ok=True)
    common = ("--host", "127.0.0.1", "--scheduler-file", "scheduler.json")
    commands = (
        ("dask_scheduler", *common, "--port", "0", "--no-dashboard"),
        ("dask_worker", *common, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", "workers"),
    )
    processes = []
    try:
        for name, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments]
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            deadline = time.monotonic() + 60
            while not Path("scheduler.json").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_workers_of_a_command_are_started_told_and_ended(call: Geoseg) -> None:
    arguments = ("superpixels", "scene.tif", "--block-size", SIDE, "--size", 8)
    assert call(*arguments, "-o", "one.gpkg").code == 0
    outcome = call(
        *arguments, "-o", "two.gpkg", "--engine", "dask", "--workers", 1, "--threads", 2, "--progress", "json"
    )
    assert (outcome.code, outcome.out) == (0, "two.gpkg\n"), outcome.err
    events = [json.loads(line) for line in outcome.said]
    assert [event["kind"] for event in events] == ["start", *["step"] * 6, "end"]
    assert events[0]["message"].startswith("Dask cluster tls://127.0.0.1:")
    assert events[0]["message"].endswith(": 1 worker") or "1 worker, dashboard" in events[0]["message"]
    assert sha256(Path("one.gpkg")) == sha256(Path("two.gpkg"))


def test_a_worker_that_sees_another_scene_refuses_it(client: Client, call: Geoseg) -> None:
    def change(*_: object) -> str:
        # Between the look of this process and that of the workers.
        os.utime("scene.tif", (1, 1))
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines.DaskEngine, "begin", change)
        with pytest.raises(RunError, match=r"was planned with a different scene: modified;"):
            library.superpixels("scene.tif", "map.tif", block_size=SIDE, client=client)


def test_settings_of_the_engine_that_contradict_one_another_are_refused(call: Geoseg, tmp_path: Path) -> None:
    def refused(*options: object, words: str) -> None:
        for command in ("predict", "superpixels"):
            with untouched(tmp_path):
                assert_refused(call(command, "scene.tif", "-o", "map.tif", *options), 78, words)

    refused("--threads", 2, words="give --engine dask too, or --workers, the number of threads without it")
    refused("--scheduler", "tcp://10.0.0.1:8786", words="give --engine dask too")
    dask = ("--engine", "dask")
    refused(*dask, "--scheduler", "a:1", "--scheduler-file", "b", words="choose one of --scheduler and")
    refused(*dask, "--scheduler", "a:1", "--workers", 2, words="choose one of --workers and a scheduler")
    refused(*dask, "--tls-cert", "a.pem", words="give --scheduler or --scheduler-file too")
    refused(*dask, "--threads", 0, words="threads is 0")
    outcome = call("predict", "scene.tif", "-o", "map.tif", *dask, "--device", "cuda:1")
    assert_refused(outcome, 78, "CUDA_VISIBLE_DEVICES")


def test_without_dask_a_line_says_how_to_install_it(call: Geoseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda _: None)
    outcome = call("superpixels", "scene.tif", "-o", "map.tif", "--engine", "dask")
    assert_refused(outcome, 69, "pip install 'distributed>=2024.12' cryptography")


def test_a_client_that_cannot_be_used_is_refused(client: Client, call: Geoseg) -> None:
    with pytest.raises(SettingError, match="choose one of --workers and a scheduler"):
        library.superpixels("scene.tif", "map.tif", client=client, workers=2)
    with pytest.raises(SettingError, match="give --engine dask too"):
        library.superpixels("scene.tif", "map.tif", threads=2)
    for state in ({"asynchronous": True, "status": "running"}, {"asynchronous": False, "status": "closed"}):
        with pytest.raises(SettingError, match="is connected, and not asynchronous"):
            library.superpixels("scene.tif", "map.tif", client=SimpleNamespace(**state, scheduler=None))  # type: ignore[arg-type]


def test_how_many_processes_there_are_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    dask = partial(PredictConfig, (Path("scene.tif"),), Path("map.tif"), engine="dask")
    assert processes_for(PredictConfig((Path("scene.tif"),), Path("map.tif"), workers=5), 0) == 1
    assert processes_for(dask(), 0) == 12
    assert processes_for(dask(threads=5), 0) == 2
    assert processes_for(dask(threads=16), 0) == 1
    assert processes_for(dask(), 3) == 3
    assert processes_for(dask(workers=5), 3) == 5
    assert processes_for(dask(scheduler="tcp://10.0.0.1:8786"), 0) == 0
    assert [dask().threads_with(gpu) for gpu in (False, True)] == [1, None]
    assert [dask(threads=3).threads_with(gpu) for gpu in (False, True)] == [3, 3]
    inside = dask(scheduler="tls://a:1", tls_cert=Path("a"), threads=3, smooth=2).within_worker(gpu=False)
    assert inside == PredictConfig((Path("scene.tif"),), Path("map.tif"), workers=3, smooth=2)


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus_for("cpu") == ()
    assert gpus_for("auto") == gpus_for("cuda") == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-1f")
    assert gpus_for("auto") == ("3", "GPU-1f")


def test_memory_is_that_of_all_processes(call: Geoseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 4 << 30)
    command = ("predict", "scene.tif", "-o", "map.tif", "--engine", "dask")
    assert_refused(call(*command, "--workers", 500), 78, "GB of memory", "it fits with --workers ")
    # Nothing is computed here, so what there is here does not matter.
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.2)
    assert_refused(call(*command, "--scheduler", "tcp://127.0.0.1:9"), 69, "no Dask scheduler answers there")
