"""Work divided among processes: planned, computed in shards, taken over from the dead, and finalised."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commandline import Outcome, assert_refused, untouched
from helpers.rasters import landscape, make_raster

from geoseg.config import Shard, WorkConfig
from geoseg.files.atomic import sha256
from geoseg.files.lock import Lock
from geoseg.jobs.perform import leave, perform
from geoseg.jobs.work import WorkJob
from geoseg.runs.run import Run

SIDE = 512
MORE = ("--confidence", "sure.tif", "--polygons", "map.gpkg", "--min-area", "20px", "--block-size", SIDE)
FILES = ("map.tif", "sure.tif", "map.gpkg", "map.qml", "map.preview.png")

Geoseg = Callable[..., Outcome]


def hashes() -> dict[str, str]:
    """SHA-256 of the files of the map in the working folder; the map is removed."""
    found = {name: sha256(Path(name)) for name in FILES}
    for path in Path().glob("map.*"):
        path.unlink()
    Path("sure.tif").unlink()
    return found


def test_law_2_shards_of_which_one_is_killed_give_the_files_of_one_process(call: Geoseg) -> None:
    assert call("predict", "scene.tif", "-o", "map.tif", *MORE).code == 0
    expected = hashes()
    planned = call("plan", "scene.tif", "-o", "map.tif", *MORE, "--shards", 3)
    assert planned.code == 0, planned.err
    assert planned.out.splitlines() == [
        *(f"geoseg work map.tif.run --shard {number}/3" for number in (1, 2, 3)), "geoseg finalize map.tif.run",
    ]  # fmt: skip
    killed(*planned.out.splitlines()[0].split()[1:])
    early = call("finalize", "map.tif.run")
    assert (early.code, early.out) == (75, "")
    assert early.said[-1] == (
        "geoseg: error: map.tif.run: 5 of 6 blocks are missing (1-5); no process is at work there: geoseg work "
        "map.tif.run computes them"
    )
    assert not Path("map.tif").exists()
    for command in planned.out.splitlines():
        outcome = call(*command.split()[1:])
        assert outcome.code == 0, outcome.err
    assert hashes() == expected
    assert not Path("map.tif.run").exists()


def killed(*arguments: str) -> None:
    """Run geoseg in a process that is killed while it has claims, when its first part is there."""
    script = "import sys, time\nfrom geoseg.runs.run import Run\nkeep = Run.keep\n"
    script += "def slow(*given):\n    keep(*given)\n    time.sleep(600)\nRun.keep = slow\n"
    script += "from geoseg.cli.main import main\nmain(sys.argv[1:])\n"
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (list(Path("map.tif.run").glob("part-*.json")) and len(claims()) == 2):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    assert len(claims()) == 2, "claims outlive a process that is killed"


def claims() -> list[Path]:
    """The files of claims in the run."""
    return list(Path("map.tif.run").glob("claim-*"))


def test_a_block_that_a_living_process_has_is_left_to_it(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    lock = Lock(Path("map.tif.run/claim-000001").absolute(), name=Path("claim"))
    # What nobody else has is computed, and nothing is waited for.
    finished = [receipt.block.index for receipt in perform(Path("map.tif.run"), range(3))]
    assert finished == [0, 2]
    assert [receipt.reused for receipt in perform(Path("map.tif.run"), range(3))] == [True, True]
    leave()
    early = call("finalize", "map.tif.run")
    assert (early.code, early.out) == (75, "")
    assert f"map.tif.run: 4 of 6 blocks are missing (1, 3-5); process {os.getpid()} on " in early.said[-1]
    status = call("status", "map.tif.run")
    assert status.out.splitlines()[1].startswith(f"at work: process {os.getpid()} on ")
    restarted = call("predict", "scene.tif", "-o", "map.tif", "--restart")
    assert restarted.code == 75
    assert "computes a block there" in restarted.said[-1]
    lock.release()
    assert call("work", "map.tif.run", "--shard", "1/6", "--assist").code == 0
    assert call("finalize", "map.tif.run").code == 0


def test_status_of_a_planned_run_says_what_is_next(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    lines = call("status", "map.tif.run").out.splitlines()
    assert lines[0].startswith("map.tif.run: 0 of 6 blocks finished")
    assert lines[1:] == ["no process is at work", f"to continue, in {Path.cwd()}: geoseg work map.tif.run"]
    for name in ("part-000002.json", "part-000004.json", "part-000005.json"):
        (Path("map.tif.run") / name).write_text("{}")
    lines = call("status", "map.tif.run").out.splitlines()
    assert lines[0].startswith("map.tif.run: 3 of 6 blocks finished")
    assert lines[2] == "missing: 0-1, 3"
    assert json.loads(call("status", "map.tif.run", "--json").out)["missing"] == ["0-1", "3"]
    assert call("work", "map.tif.run").code == 0
    lines = call("status", "map.tif.run").out.splitlines()
    assert lines[1:] == ["all blocks are finished", f"to continue, in {Path.cwd()}: geoseg finalize map.tif.run"]
    told = json.loads(call("status", "map.tif.run", "--json").out)
    assert (told["finished"], told["blocks"], told["workers"], told["missing"]) == (6, 6, [], [])


def test_status_of_a_folder_of_runs(call: Geoseg) -> None:
    for name in ("b.tif", "c.tif"):
        make_raster(Path(name), landscape(90, 100))
    assert call("plan", "scene.tif", "b.tif", "c.tif", "-o", "maps", "--run", "runs", "--block-size", SIDE).code == 0
    assert call("work", "runs/b-classes.tif.run").code == 0
    lines = call("status", "runs").out.splitlines()
    assert lines[-1] == "3 runs: 1 of 8 blocks finished"
    assert [line.split(":")[0] for line in lines if " blocks finished," in line] == [
        f"runs/{name}-classes.tif.run" for name in ("b", "c", "scene")
    ]
    told = json.loads(call("status", "runs", "--json").out)
    assert [(each["finished"], each["blocks"]) for each in told] == [(1, 1), (0, 1), (0, 6)]


def test_a_worker_joins_a_run_once_for_all_its_tasks(call: Geoseg, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    joined: list[Any] = []
    join = Run.join
    monkeypatch.setattr(Run, "join", lambda place: (joined.append(place), join(place))[1])
    run = Path("map.tif.run")
    assert [len(perform(run, [index])) for index in (0, 3, 5)] == [1, 1, 1]
    assert joined == [run]
    # Another plan is another job.
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", 1024, "--restart").code == 0
    assert len(perform(run, [0])) == 1
    assert joined == [run, run]
    leave()


def test_what_was_planned_can_be_finished_by_one_process(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE, "--shards", 2).code == 0
    assert call("work", "map.tif.run", "--shard", "2/2").code == 0
    outcome = call("predict", "scene.tif", "-o", "map.tif", "--block-size", SIDE)
    assert outcome.code == 0
    assert outcome.said[-1] == "3 of 6 blocks were finished before"


def test_a_map_that_is_finished_by_another_process_meanwhile_is_no_fault(
    call: Geoseg, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    keep = Run.keep

    def gone(run: Run, *given: Any) -> None:
        if run.path.exists():
            Run.join(run.path).discard()
        keep(run, *given)

    monkeypatch.setattr(Run, "keep", gone)
    outcome = call("work", "map.tif.run")
    assert outcome.code == 0
    assert caplog.messages[-1].endswith("map.tif.run: was finished by another process meanwhile")
    assert not Path("map.tif.run").exists()


def test_superpixels_in_shards(call: Geoseg) -> None:
    arguments = ("superpixels", "scene.tif", "-o", "s.gpkg", "--size", 24, "--block-size", SIDE)
    assert call(*arguments).code == 0
    whole = sha256(Path("s.gpkg"))
    for path in Path().glob("s.gpkg*"):
        path.unlink()
    planned = call("plan", *arguments, "--shards", 2, "--run", "elsewhere.run")
    assert planned.out.splitlines()[-1] == "geoseg finalize elsewhere.run"
    for command in planned.out.splitlines():
        outcome = call(*command.split()[1:])
        assert outcome.code == 0, outcome.err
    assert outcome.out == f"{Path('s.gpkg').absolute()}\n"
    assert sha256(Path("s.gpkg")) == whole


def test_several_scenes_are_divided_together(call: Geoseg) -> None:
    for name in ("b.tif", "c.tif"):
        make_raster(Path(name), landscape(90, 100))
    planned = call("plan", "scene.tif", "b.tif", "c.tif", "-o", "maps", "--run", "runs", "--shards", 2)
    assert planned.code == 0, planned.err
    assert planned.out.splitlines()[-1] == "geoseg finalize runs"
    assert len(list(Path("runs").iterdir())) == 3
    Path("b.tif").unlink()
    first = call("work", "runs", "--shard", "1/2")
    assert (first.code, first.out) == (66, "")
    assert "1 of 3 runs could not be worked on" in first.said[-1]
    assert first.said[-2].startswith(f"runs/b-classes.tif.run: {Path('b.tif').absolute()}: ")
    assert call("work", "runs", "--shard", "2/2").code == 0
    last = call("finalize", "runs")
    assert (last.code, len(last.out.splitlines())) == (66, 2)
    assert "1 of 3 runs were not finalised" in last.said[-1]
    assert sorted(path.name for path in Path("maps").glob("*.tif")) == ["c-classes.tif", "scene-classes.tif"]
    assert [path.name for path in Path("runs").iterdir()] == ["b-classes.tif.run"]


def test_a_scene_or_a_model_that_is_another_here_is_refused(call: Geoseg, model_path: Path) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    os.utime("scene.tif", (1, 1))
    assert_refused(call("work", "map.tif.run"), 78, "map.tif.run", "a different scene")
    assert_refused(call("finalize", "map.tif.run"), 78, "map.tif.run", "a different scene")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("work", "map.tif.run"), 66, "there is no run"),
        (("finalize", "map.tif.run"), 66, "there is no run"),
        (("work", "."), 66, "has no runs in it"),
        (("work", "x.run", "--shard", "0/3"), 2, "write it as 3/16"),
        (("work", "x.run", "--shard", "4/3"), 2, "write it as 3/16"),
        (("work", "x.run", "--shard", "third"), 2, "write it as 3/16"),
        (("work", "x.run", "--assist"), 78, "without --shard"),
        (("plan", "scene.tif", "-o", "map.tif", "--shards", "0"), 78, "shards"),
        (("plan", "missing.tif", "-o", "map.tif"), 66, "missing.tif"),
        (("plan", "scene.tif", "-o", "map.tif", "--relearn"), 78, "work for one process"),
        (("plan", "scene.tif"), 2, "--out"),
    ],
)
def test_what_cannot_be_divided_is_told(
    arguments: tuple[str, ...], status: int, words: str, call: Geoseg, tmp_path: Path
) -> None:
    with untouched(tmp_path):
        assert_refused(call(*arguments), status, words)


def test_a_run_that_was_not_planned_says_so(call: Geoseg, tmp_path: Path) -> None:
    folder = Path("map.tif.run")
    folder.mkdir()
    (folder / "manifest.json").write_text('{"fingerprint": {}, "blocks": 3}')
    assert_refused(call("work", folder), 78, "was not planned for several processes")
    (folder / "manifest.json").write_text('{"fingerprint": {}, "blocks": 3, "job": {"command": "dig", "settings": {}}}')
    assert_refused(call("work", folder), 78, "use the version that planned it")
    (folder / "manifest.json").write_text('{"fingerprint": {}, "blocks": "many"}')
    assert_refused(call("work", folder), 78, "its manifest is damaged")


def test_a_run_is_where_it_is_and_not_where_its_manifest_says(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    assert call("work", "map.tif.run").code == 0
    shutil.copytree("map.tif.run", "copy.run")
    manifest = json.loads(Path("copy.run/manifest.json").read_text())
    assert manifest["command"] == f"geoseg predict scene.tif -o map.tif --block-size {SIDE}"
    manifest["job"]["settings"]["restart"] = True
    Path("copy.run/manifest.json").write_text(json.dumps(manifest))
    parts = sorted(path.name for path in Path("map.tif.run").glob("part-*"))
    assert call("finalize", "copy.run").code == 0
    assert sorted(path.name for path in Path("map.tif.run").glob("part-*")) == parts
    assert not Path("copy.run").exists()
    # The output is there now, which a process that computes blocks does not mind.
    assert call("work", "map.tif.run").code == 0
    refused = call("finalize", "map.tif.run")
    assert refused.code == 73
    assert refused.said[-1].endswith("exists already; plan it again with --overwrite, which keeps the finished blocks")


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root gives files away")
def test_a_run_of_another_user_is_neither_worked_on_nor_finalised(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    os.chown("map.tif.run", 12345, 12345)
    for command in ("work", "finalize"):
        assert_refused(call(command, "map.tif.run"), 73, "map.tif.run", "belongs to another user")


def test_an_early_finalize_does_not_change_what_continues_the_run(call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    before = Path("map.tif.run/manifest.json").read_bytes()
    assert call("finalize", "map.tif.run").code == 75
    assert Path("map.tif.run/manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [("blocks", -5), ("blocks", 0), ("blocks", True), ("blocks", 10**30), ("blocks", 1000), ("blocks", "9")],
)
def test_a_manifest_edited_by_hand_is_damaged(key: str, value: object, call: Geoseg) -> None:
    assert call("plan", "scene.tif", "-o", "map.tif", "--block-size", SIDE).code == 0
    path = Path("map.tif.run/manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert_refused(call("work", "map.tif.run", "--shard", "1/2"), 78, "its manifest is damaged")


def test_what_belongs_to_a_shard_does_not_depend_on_other_runs(call: Geoseg) -> None:
    names = [f"s{number}.tif" for number in range(5)]
    for name in names:
        make_raster(Path(name), landscape(60, 70))
    assert call("plan", *names, "-o", "maps", "--run", "runs").code == 0

    def shares(*runs: Path) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number in (1, 2):
            with WorkJob(WorkConfig(runs, Shard(number, 2))) as job:
                for index, run in enumerate(job.runs):
                    if job._shares[index]:
                        found.setdefault(run.path.name, []).append(number)
        return found

    runs = sorted(Path("runs").iterdir())
    every = shares(*runs)
    assert sorted(every) == [run.name for run in runs]
    assert {number for numbers in every.values() for number in numbers} == {1, 2}
    assert shares(*runs[1:]) == {name: numbers for name, numbers in every.items() if name != runs[0].name}
