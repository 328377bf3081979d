"""What a training is resumed from: whole or not at all, by one process at a time."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.errors import InputError, LockedError, OutputError, RunError, WriteError
from geoseg.files.atomic import sha256
from geoseg.learning import checkpoints
from geoseg.learning.checkpoints import FORMAT, KEPT, Checkpoints, folder_of, has_checkpoint, verify

FINGERPRINT = {"recipe": {"steps": 100}, "seed": 0, "weights": [1, 2]}


def state(step: int) -> dict[str, Any]:
    return {"step": step, "network": {"weight": torch.full((4,), float(step))}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Where the model will be."""
    return tmp_path / "m.safetensors"


@pytest.fixture
def held(model: Path) -> Iterator[Checkpoints]:
    """The checkpoints of a training of 125 steps."""
    kept = Checkpoints(model)
    for step in range(25, 126, 25):
        kept.save(step, FINGERPRINT, state(step))
    yield kept
    kept.close()


def newest(held: Checkpoints) -> int:
    found = held.newest(FINGERPRINT, ["step", "network"])
    assert torch.equal(found["network"]["weight"], state(found["step"])["network"]["weight"])
    return int(found["step"])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_the_last_three_are_kept_with_their_hashes(held: Checkpoints, model: Path) -> None:
    names = [f"step-{step:06d}" for step in (75, 100, 125)]
    assert len(names) == KEPT
    folder = folder_of(model)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["lock", *(name + suffix for name in names for suffix in (".json", ".pt"))]
    )
    for name in names:
        said = json.loads((folder / f"{name}.json").read_bytes())
        path = folder / f"{name}.pt"
        assert said == {
            "format": FORMAT, "step": int(name[5:]), "bytes": path.stat().st_size, "sha256": sha256(path)
        }  # fmt: skip
        assert verify(folder / f"{name}.json") is None
    assert newest(held) == 125
    assert has_checkpoint(model)
    assert held.exist


def spoil(folder: Path, name: str, how: str) -> None:
    record, path = folder / f"{name}.json", folder / f"{name}.pt"
    match how:
        case "flipped":
            flip(path, path.stat().st_size // 2)
        case "truncated":
            path.write_bytes(path.read_bytes()[:-1])
        case "gone":
            path.unlink()
        case "record empty":
            record.write_bytes(b"")
        case "record of zeros":
            record.write_bytes(bytes(80))
        case "record of a list":
            record.write_bytes(b"[]")
        case "record flipped":
            flip(record, record.read_bytes().index(b'"sha256": "') + 20)


HOW = ("flipped", "truncated", "gone", "record empty", "record of zeros", "record of a list", "record flipped")


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    held: Checkpoints, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(held.path, "step-000125", how)
    assert newest(held) == 100
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{held.path / 'step-000125.pt'}: is damaged" in caplog.text
    assert "resuming from step-000100" in caplog.text
    assert "is damaged" in str(verify(held.path / "step-000125.json"))


@pytest.mark.parametrize("how", HOW)
def test_where_all_are_damaged_the_way_out_is_told(held: Checkpoints, how: str) -> None:
    for step in (75, 100, 125):
        spoil(held.path, f"step-{step:06d}", how)
    with pytest.raises(InputError, match=r"all 3 checkpoints are damaged; .*--overwrite") as caught:
        newest(held)
    assert "\n" not in str(caught.value)


def test_every_byte_of_a_checkpoint_counts(model: Path) -> None:
    held = Checkpoints(model)
    held.save(25, FINGERPRINT, state(25))
    record, path = held.path / "step-000025.json", held.path / "step-000025.pt"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        flip(path, place)
        assert verify(record) == "is damaged (it does not match its checksum)"
        path.write_bytes(whole)
    assert verify(record) is None
    held.close()


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_code_in_a_checkpoint_is_never_run(held: Checkpoints, tmp_path: Path, kind: str) -> None:
    record, mark = held.path / "step-000125.json", tmp_path / "mark"
    path = record.with_suffix(".pt")
    with path.open("wb") as file:
        (pickle.dump if kind == "pickle" else torch.save)({"trainer": Payload(mark)}, file)
    record.write_text(json.dumps({"format": FORMAT, "sha256": sha256(path)}))
    assert newest(held) == 100
    assert not mark.exists()


def test_another_fingerprint_is_refused_by_what_differs(held: Checkpoints) -> None:
    with pytest.raises(RunError, match=r"different recipe, seed; .*--overwrite"):
        held.newest({"recipe": {"steps": 99}, "seed": 1, "weights": (1, 2)}, ["step", "network"])


@pytest.mark.parametrize("found", ["geoseg-checkpoint/1", None])
def test_another_format_is_refused_by_name(held: Checkpoints, found: Any) -> None:
    record = held.path / "step-000125.json"
    record.write_text(json.dumps(json.loads(record.read_bytes()) | {"format": found}))
    with pytest.raises(InputError, match=rf"step-000125.json: has the format {found!r}, not '{FORMAT}'.*--overwrite"):
        newest(held)


def test_a_state_of_other_things_is_refused(held: Checkpoints) -> None:
    for names in (["step"], ["step", "network", "averages"]):
        with pytest.raises(InputError, match=r"step-000125.json: does not hold the state .*--overwrite"):
            held.newest(FINGERPRINT, names)


def test_a_checkpoint_of_the_older_layout_is_refused_by_name(model: Path) -> None:
    old = model.with_suffix(".checkpoint")
    old.write_bytes(b"anything")
    held = Checkpoints(model)
    assert held.exist
    assert not has_checkpoint(model)
    with pytest.raises(InputError, match=r"m.checkpoint: was written by an older geoseg.*--overwrite"):
        newest(held)
    held.clear()
    assert not old.exists()
    assert not held.exist
    held.close()


def test_one_training_at_a_time(held: Checkpoints, model: Path) -> None:
    with pytest.raises(LockedError, match="at work"):
        Checkpoints(model)
    held.close()
    again = Checkpoints(model)
    assert newest(again) == 125
    again.close()


def test_a_training_that_was_taken_over_keeps_nothing_more(held: Checkpoints) -> None:
    held._lock._lost = True
    before = sorted(held.path.iterdir())
    with pytest.raises(LockedError, match="took over"):
        held.save(150, FINGERPRINT, state(150))
    assert sorted(held.path.iterdir()) == before
    held._lock._lost = False


def test_the_folder_goes_when_it_holds_nothing(model: Path) -> None:
    held = Checkpoints(model)
    assert folder_of(model).is_dir()
    held.save(25, FINGERPRINT, state(25))
    held.clear()
    held.close()
    assert not folder_of(model).exists()


def test_what_a_killed_process_left_is_cleaned(held: Checkpoints, model: Path) -> None:
    held.close()
    (held.path / ".step-000125.elsewhere.99.tmp.pt").touch()
    (held.path / "step-000150.pt").touch()
    again = Checkpoints(model)
    assert not list(held.path.glob(".*"))
    assert newest(again) == 125
    again.save(175, FINGERPRINT, state(175))
    assert not (held.path / "step-000150.pt").exists()
    again.close()


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_what_was_kept(held: Checkpoints, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = Path.write_bytes, iter(range(1, 9))

    def full(path: Path, data: bytes) -> int:
        if next(calls) == failing:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WriteError, match="No space left"):
            held.save(150, FINGERPRINT, state(150))
    assert newest(held) == 125
    assert not list(held.path.glob(".*"))
    held.save(150, FINGERPRINT, state(150))
    assert newest(held) == 150


def test_a_record_never_speaks_of_another_file(held: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step is kept again, a process killed between its two files leaves the step before it."""
    publish = checkpoints.publish_bytes

    def killed(path: Path, data: bytes, own: bool) -> None:
        publish(path, data, own)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "publish_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        held.save(125, FINGERPRINT, state(126))
    assert newest(held) == 100


@pytest.mark.parametrize("mode", [0o500, None])
def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path, mode: int | None) -> None:
    model = tmp_path / "folder" / "m.safetensors"
    model.parent.mkdir()
    if mode is None:
        folder_of(model).touch()
    elif os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    else:
        model.parent.chmod(mode)
    with pytest.raises(OutputError, match=r"m\.training: "):
        Checkpoints(model)
