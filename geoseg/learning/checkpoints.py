"""The checkpoints of a training: what it is resumed from, in a folder beside the model that is not there yet.

    model.training/lock               this training is at work (`geoseg.files.lock`)
    model.training/step-000025.pt     all that decides the steps to come, as torch keeps it
    model.training/step-000025.json   its format and SHA-256, written after it: without this one it does not count

The last three are kept: a flipped bit goes unnoticed by torch, and with its hash it costs 25 steps instead of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import InputError, OutputError, RunError
from geoseg.files.atomic import publish_bytes
from geoseg.files.lock import Lock

log = logging.getLogger(__name__)

FORMAT = "geoseg-checkpoint/1"
KEPT = 3

_ANEW = "begin anew with --overwrite"


def folder_of(model: Path) -> Path:
    """Return the folder of the training that will write `model`."""
    return model.with_suffix(".training")


def interrupted(model: Path) -> bool:
    """Return whether there is a checkpoint of a training that will write `model`."""
    return bool(records(folder_of(model)))


def records(folder: Path) -> list[Path]:
    """Return the records of the checkpoints in `folder`, the oldest first."""
    return sorted(folder.glob("step-*.json"))


def verify(record: Path) -> str | None:
    """Return what is wrong with the checkpoint of `record`, None where it is whole."""
    try:
        _verified(record)
    except _DamagedError as error:
        return f"is damaged ({error})"
    except InputError as error:
        return str(error).removeprefix(f"{record}: ")
    return None


class Checkpoints:
    """The checkpoints of the training that will write `model`, held by this process alone until `close`.

    Raises:
        LockedError: another process trains this model. OutputError: the folder cannot be made.
    """

    def __init__(self, model: Path) -> None:
        self.path = folder_of(model)
        self._old = model.with_suffix(".checkpoint")
        self._closed = False
        try:
            self._lock = Lock(self.path / "lock")
        except FileExistsError as error:
            raise OutputError(f"{self.path}: is in the way of the checkpoints; move it elsewhere") from error
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be created ({error.strerror or error})") from error
        for leftover in self.path.glob(".*.tmp*"):
            with contextlib.suppress(OSError):
                leftover.unlink()

    @property
    def there(self) -> bool:
        """Whether there is a checkpoint, of whatever version of geoseg."""
        return bool(records(self.path)) or self._old.is_file()

    def keep(self, step: int, fingerprint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Keep `state` as that after `step`, and no more than two of those before it.

        Raises:
            WriteError: the file system failed; what was kept before is intact.
            LockedError: another process has taken over.
        """
        self.check()
        buffer = io.BytesIO()
        torch.save({"fingerprint": json.dumps(fingerprint), "trainer": state}, buffer)
        data, record = buffer.getvalue(), self.path / f"step-{step:06d}.json"
        publish_bytes(record.with_suffix(".pt"), data)
        said = {"format": FORMAT, "step": step, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        publish_bytes(record, json.dumps(said, sort_keys=True).encode())
        kept = records(self.path)[-KEPT:]
        self._remove({path for each in kept for path in (each, each.with_suffix(".pt"))})

    def check(self) -> None:
        """Raise LockedError if another process has taken over."""
        self._lock.check()

    def newest(self, fingerprint: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Return the newest state that is whole; a warning names those that are damaged.

        names: of all that a state has.

        Raises:
            RunError: it is that of another fingerprint; the message says in what.
            InputError: all are damaged, or kept by another version of geoseg.
        """
        kept = records(self.path)[::-1]
        if not kept and self._old.is_file():
            raise InputError(f"{self._old}: was kept by an older geoseg, which alone can go on from it; or {_ANEW}")
        for record, before in zip(kept, [*kept[1:], None], strict=True):
            try:
                found, state = _verified(record)
            except _DamagedError as error:
                then = f"going on from {before.stem}" if before else "there is none before it"
                log.warning("%s: is damaged (%s); %s", record.with_suffix(".pt"), error, then)
                continue
            differing = [key for key in fingerprint if found.get(key) != json.loads(json.dumps(fingerprint[key]))]
            if differing:
                raise RunError(
                    f"{self.path}: was training with another {', '.join(differing)}; use the same settings and data, "
                    f"or {_ANEW}"
                )
            if state.keys() != set(names):
                raise _foreign(record, "holds other things than it needs to go on")
            return state
        raise InputError(f"{self.path}: none of its {len(kept)} checkpoints is whole; {_ANEW}")

    def clear(self) -> None:
        """Remove all checkpoints, those of an older version too."""
        self._remove(set())
        self._old.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder, once; it goes if it holds nothing."""
        if self._closed:
            return
        self._closed = True
        self._lock.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _remove(self, kept: Collection[Path]) -> None:
        """Remove the checkpoints but for the files `kept`; records go first, for they make the others count."""
        for path in sorted(self.path.glob("step-*"), key=lambda path: path.suffix != ".json"):
            if path not in kept:
                path.unlink(missing_ok=True)


class _DamagedError(Exception):
    """Not what was kept."""


def _verified(record: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fingerprint and state of a checkpoint whose bytes are those that were kept."""
    said = _read(record)
    if said.get("format") != FORMAT:
        raise _foreign(record, f"has the format {said.get('format')!r}, not {FORMAT!r}")
    try:
        data = record.with_suffix(".pt").read_bytes()
    except OSError as error:
        raise _DamagedError(error.strerror or error) from error
    if hashlib.sha256(data).hexdigest() != said.get("sha256"):
        raise _DamagedError("it does not match its checksum")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return dict(json.loads(content["fingerprint"])), dict(content["trainer"])
    except Exception as error:
        raise _DamagedError(type(error).__name__) from error


def _read(record: Path) -> dict[str, Any]:
    try:
        said = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _DamagedError(f"{record.name} cannot be read") from error
    if not isinstance(said, dict):
        raise _DamagedError(f"{record.name} is no record")
    return said


def _foreign(record: Path, what: str) -> InputError:
    return InputError(f"{record}: {what}; finish it with the geoseg that began it, or {_ANEW}")
