"""The run directory: whose it is, and which of its parts count."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.commandline import untouched
from numpy.typing import NDArray

import geoseg.runs.folder
from geoseg.errors import InputError, InputMissingError, LockedError, OutputError, RunError, WriteError
from geoseg.files.atomic import sha256
from geoseg.grid import Block, Window
from geoseg.runs.run import Run
from geoseg.runs.status import status

FINGERPRINT = {"scene": {"bytes": 7}, "model": "abc", "settings": {"extent": (0, 0, 5, 7)}}
BLOCK = Block(3, Window.of(0, 0, 40, 50))


def layers(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Two layers of a part."""
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 9, (40, 50), dtype=np.uint8) for name in ("classes", "confidence")}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with one finished part."""
    with Run(tmp_path / "map.tif.run", FINGERPRINT) as made:
        made.keep(BLOCK, layers())
    return made


def test_a_part_is_kept_and_found_again(run: Run) -> None:
    with Run(run.path, FINGERPRINT) as again:
        assert again.has(BLOCK)
        assert not again.has(Block(4, BLOCK.window))
        for name, values in layers().items():
            with rasterio.open(again.part(BLOCK, name)) as file:
                np.testing.assert_array_equal(file.read(1), values)
        assert not again.new
    names = {"manifest.json", "part-000003.json", "part-000003-classes.tif", "part-000003-confidence.tif"}
    assert {path.name for path in run.path.iterdir()} == names


def test_a_part_without_a_layer_counts(run: Run) -> None:
    empty = Block(4, BLOCK.window)
    run.keep(empty, {})
    assert run.has(empty)
    assert not run.part(empty, "classes").exists()


@pytest.mark.parametrize("key", FINGERPRINT)
def test_a_foreign_run_is_refused_by_what_differs(key: str, run: Run) -> None:
    with untouched(run.path), pytest.raises(RunError, match=f"different {key}[;:] .*--restart"):
        Run(run.path, FINGERPRINT | {key: "different"})


def test_a_run_of_a_version_that_knew_more_or_less_is_foreign(run: Run) -> None:
    with pytest.raises(RunError, match="a different device;"):
        Run(run.path, FINGERPRINT | {"device": "cpu"})
    with pytest.raises(RunError, match="a different model; different settings;"):
        Run(run.path, {"scene": FINGERPRINT["scene"]})


@pytest.mark.parametrize("text", ["", "[]", "null", '{"scene"', "\0\0\0"])
def test_a_manifest_that_is_none_is_refused(text: str, run: Run) -> None:
    (run.path / "manifest.json").write_text(text)
    with untouched(run.path), pytest.raises(RunError, match="damaged or not geoseg's; --restart"):
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
        Run(tmp_path / "no" / "no" / "map.tif.run", FINGERPRINT)


@pytest.mark.parametrize(
    "left", [(), ("lock", ".manifest.host.17.tmp.json", ".clock.host.17.9.tmp")], ids=["empty", "half begun"]
)
def test_a_process_killed_before_its_manifest_is_no_hindrance(left: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "map.tif.run"
    folder.mkdir()
    for name in left:
        (folder / name).write_text('{"sce')
    with Run(folder, FINGERPRINT) as run:
        assert json.loads((run.path / "manifest.json").read_text())["fingerprint"]["model"] == "abc"
        assert run.new


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
    with Run(tmp_path / "map.tif.run", FINGERPRINT) as run:
        written: list[Path] = []

    def failing(path: Path, values: NDArray[Any]) -> None:
        if written:
            raise WriteError(f"{path}: the disk is full")
        path.write_bytes(b"first layer")
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr("geoseg.raster.cog.write_part", failing)
        with pytest.raises(WriteError, match="the disk is full"):
            run.keep(BLOCK, layers())
    assert written
    assert not run.has(BLOCK)
    run.keep(BLOCK, layers())
    record = json.loads((run.path / "part-000003.json").read_text())
    assert record == {path.name: sha256(path) for path in run.path.glob("part-*.tif")}


def test_a_run_is_discarded_whole(tmp_path: Path) -> None:
    with Run(tmp_path / "map.tif.run", FINGERPRINT) as run:
        run.keep(BLOCK, layers())
        run.discard()
    assert list(tmp_path.iterdir()) == []


def test_nobody_finds_half_of_a_discarded_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, remove = tmp_path / "map.tif.run", geoseg.runs.folder.remove_folder

    def removing(folder: Path) -> None:
        assert folder != path
        Run(path, FINGERPRINT).close()
        remove(folder)

    monkeypatch.setattr(geoseg.runs.folder, "remove_folder", removing)
    with Run(path, FINGERPRINT) as run:
        run.keep(BLOCK, layers())
        run.discard()
    assert {entry.name for entry in path.iterdir()} == {"manifest.json"}


def test_one_process_at_a_time(run: Run) -> None:
    with Run(run.path, FINGERPRINT), pytest.raises(LockedError, match=f"{run.path}: process {os.getpid()} on "):
        Run(run.path, FINGERPRINT)
    with Run(run.path, FINGERPRINT) as again:
        assert again.has(BLOCK)


def test_a_run_that_was_taken_over_keeps_nothing_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(run.path, FINGERPRINT) as again:
        monkeypatch.setattr(again._lock, "_lost", True)
        with untouched(run.path), pytest.raises(LockedError, match="took over"):
            again.keep(Block(4, BLOCK.window), layers())


def test_a_run_that_is_refused_is_free_afterwards(run: Run) -> None:
    with pytest.raises(RunError):
        Run(run.path, FINGERPRINT | {"model": "other"})
    Run(run.path, FINGERPRINT).close()


def test_restart_forgets_what_is_there(run: Run) -> None:
    other = FINGERPRINT | {"model": "other"}
    with Run(run.path, other, restart=True) as again:
        assert again.new
        assert not again.has(BLOCK)
        assert {path.name for path in run.path.iterdir()} == {"manifest.json", "lock"}
    Run(run.path, other).close()


def test_restart_does_not_empty_a_folder_of_somebody_else(tmp_path: Path) -> None:
    folder = tmp_path / "map.tif.run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with untouched(tmp_path), pytest.raises(OutputError, match="is in the way"):
        Run(folder, FINGERPRINT, restart=True)


def test_what_is_refused_at_the_beginning_leaves_a_run_only_where_one_was(tmp_path: Path, run: Run) -> None:
    def refuse(path: Path) -> None:
        with Run(path, FINGERPRINT) as begun, begun.discarded_if_refused():
            raise OutputError("exists already")

    for path in (tmp_path / "other.run", run.path):
        with untouched(tmp_path), pytest.raises(OutputError, match="exists already"):
            refuse(path)


def test_status_gives_blocks_and_the_latest_command(run: Run) -> None:
    Run(run.path, FINGERPRINT, blocks=9, command="first").close()
    Run(run.path, FINGERPRINT, blocks=9, command="second").close()
    found = status(run.path)
    assert (found.finished, found.damaged, found.blocks) == (1, 0, 9)
    assert (found.command, found.folder) == ("second", str(Path.cwd()))
    assert (found.working, found.state) == (False, "stopped")
    assert found.bytes == sum(path.stat().st_size for path in run.path.iterdir())


def test_status_of_a_run_at_work_of_one_that_died_and_of_damage(run: Run) -> None:
    with Run(run.path, FINGERPRINT):
        found = status(run.path)
        assert found.working
        assert found.state.startswith(f"at work: process {os.getpid()} on {socket.gethostname()}, last heartbeat ")
    (run.path / "lock").write_text(json.dumps({"host": socket.gethostname(), "pid": ended()}))
    assert status(run.path).state.endswith("has ended without finishing")
    assert not status(run.path).working
    run.part(BLOCK, "classes").write_bytes(b"")
    found = status(run.path)
    assert (found.finished, found.damaged) == (0, 1)


def test_status_of_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="neither a run nor a finished output"):
        status(tmp_path / "missing.run")
    with pytest.raises(InputError, match="is not a run directory"):
        status(tmp_path)


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_temporaries_of_processes_that_ended_are_removed(run: Run) -> None:
    host = socket.gethostname()
    dead = run.path / f".part-000004-classes.{host}.{ended()}.tmp.tif"
    alive = run.path / f".part-000005-classes.{host}.{os.getpid()}.tmp.tif"
    elsewhere = run.path / f".part-000006-classes.elsewhere.{ended()}.tmp.tif"
    for path in (dead, alive, elsewhere):
        path.write_bytes(b"half")
    Run(run.path, FINGERPRINT).close()
    assert [path.exists() for path in (dead, alive, elsewhere)] == [False, True, True]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A path of a run directory that is a link to a folder on another disk."""
    (tmp_path / "scratch").mkdir()
    path = tmp_path / "linked.run"
    path.symlink_to("scratch")
    return path


def test_a_run_directory_may_be_a_link(linked: Path) -> None:
    scratch = linked.resolve()
    with Run(linked, FINGERPRINT) as run:
        run.keep(BLOCK, {"classes": np.ones((8, 8), np.uint8)})
        assert (scratch / "manifest.json").exists()
    with Run(linked, FINGERPRINT) as run:
        assert run.has(BLOCK)
        assert not run.new
        run.discard()
    assert linked.is_symlink()
    assert list(scratch.iterdir()) == []
    with pytest.raises(InputError, match="is not a run directory"):
        status(linked)
    Run(linked, FINGERPRINT).close()


def test_a_run_half_discarded_behind_a_link_is_a_run(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(linked, FINGERPRINT)
    run.keep(BLOCK, {"classes": np.ones((8, 8), np.uint8)})
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            run.discard()
    run.close()
    with Run(linked, FINGERPRINT) as again:
        assert not again.new
        assert not again.has(BLOCK)
        again.discard()
    assert list(linked.iterdir()) == []


def test_a_link_to_a_folder_of_something_else_is_in_the_way(linked: Path) -> None:
    (linked / "thesis.txt").write_text("precious")
    with untouched(linked.parent), pytest.raises(OutputError, match="is in the way"):
        Run(linked, FINGERPRINT, restart=True)


def test_restart_deletes_only_files_of_a_run(run: Run) -> None:
    (run.path / "notes.txt").write_text("precious")
    Run(run.path, FINGERPRINT, restart=True).close()
    assert sorted(path.name for path in run.path.iterdir()) == ["manifest.json", "notes.txt"]


@pytest.mark.parametrize("name", ["part-000003.json", "part-000003-classes.tif", "lock"])
def test_links_planted_in_a_run_directory_are_replaced(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    folder = tmp_path / "planted.run"
    Run(folder, FINGERPRINT).close()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    with Run(folder, FINGERPRINT) as run:
        assert not run.has(BLOCK)
        run.keep(BLOCK, {"classes": np.ones((8, 8), np.uint8)})
        assert run.has(BLOCK)
    assert victim.read_text() == "precious"


def test_a_manifest_that_is_a_link_is_none(run: Run, tmp_path: Path) -> None:
    (run.path / "manifest.json").rename(tmp_path / "elsewhere.json")
    (run.path / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    with untouched(tmp_path), pytest.raises(OutputError, match="is in the way"):
        Run(run.path, FINGERPRINT)


def test_a_part_elsewhere_does_not_count(run: Run) -> None:
    record = run.path / f"part-{BLOCK.index:06d}.json"
    files = json.loads(record.read_text())
    record.write_text(json.dumps({f"../{run.path.name}/{name}": digest for name, digest in files.items()}))
    assert not run.has(BLOCK)
