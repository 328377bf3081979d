"""The checkpoints that a training is resumed from, in a folder next to the model that it will write.

    model.training/lock               held while the training runs (`geoseg.files.lock`)
    model.training/step-000025.pt     the complete state after a step, written by torch.save
    model.training/step-000025.json   its format and SHA-256; a checkpoint without this record does not count. If a
                                      launcher started the training, which launch it was (`geoseg.launch`)

The latest three are kept. torch.load does not notice a flipped bit; the hash does, and the training then resumes from
the checkpoint before.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import InputError, OutputError, RunError
from geoseg.files.atomic import publish_bytes
from geoseg.files.lock import Lock
from geoseg.files.own import is_plain, read_plain

log = logging.getLogger(__name__)

FORMAT = "geoseg-checkpoint/3"
KEPT = 3
"""Number of checkpoints that are kept."""

_START_OVER = "start over with --overwrite"


def folder_of(model: Path) -> Path:
    """Return the checkpoint folder of the training that will write `model`."""
    return model.with_suffix(".training")


def has_checkpoint(model: Path) -> bool:
    """Return whether there is a checkpoint of an interrupted training that will write `model`."""
    return bool(records(folder_of(model)))


def launch_of(model: Path) -> str | None:
    """Return the launch that the newest checkpoint of an interrupted training is of; None if there is none."""
    for record in reversed(records(folder_of(model))):
        with contextlib.suppress(_DamagedError):
            launch = _read_record(record).get("launch")
            return launch if isinstance(launch, str) else None
    return None


def records(folder: Path) -> list[Path]:
    """Return the paths of the checkpoint records in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*.json") if is_plain(path))


def verify(record: Path) -> str | None:
    """Return what is wrong with the checkpoint of `record`, or None if it is intact."""
    try:
        _load(record)
    except _DamagedError as error:
        return f"is damaged ({error})"
    except InputError as error:
        return str(error).removeprefix(f"{record}: ")
    return None


class Checkpoints:
    """The checkpoint folder of one training, locked by this process until `close`.

    Args:
        model: The model file that the training will write.
        launch: The launch that the training belongs to, if a launcher started it.

    Raises:
        LockedError: Another process is training this model.
        OutputError: The folder cannot be created, or belongs to another user.
    """

    def __init__(self, model: Path, launch: str | None = None) -> None:
        self.path = folder_of(model)
        self._launch = launch
        self._legacy_file = model.with_suffix(".checkpoint")
        self._closed = False
        try:
            self._lock = Lock(self.path / "lock")
        except OutputError:
            raise
        except FileExistsError as error:
            raise OutputError(
                f"{self.path}: is a file where the folder of checkpoints has to be; move it elsewhere"
            ) from error
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be created ({error.strerror or error})") from error
        for leftover in self.path.glob(".*.tmp*"):
            with contextlib.suppress(OSError):
                leftover.unlink()

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint, written by any version of geoseg."""
        return bool(records(self.path)) or self._legacy_file.is_file()

    def save(self, step: int, fingerprint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Save the state after `step`, and remove all but the latest `KEPT` checkpoints.

        Args:
            step: Number of completed steps.
            fingerprint: JSON values that a training must have in common with this one to continue it.
            state: The state of the trainer, by name.

        Raises:
            WriteError: The file system failed; earlier checkpoints are intact.
            LockedError: Another process has taken over.
        """
        self.check()
        buffer = io.BytesIO()
        torch.save({"fingerprint": json.dumps(fingerprint), "trainer": state}, buffer)
        data, record = buffer.getvalue(), self.path / f"step-{step:06d}.json"
        publish_bytes(record.with_suffix(".pt"), data, own=True)
        digest = hashlib.sha256(data).hexdigest()
        content: dict[str, Any] = {"format": FORMAT, "step": step, "bytes": len(data), "sha256": digest}
        if self._launch is not None:
            content["launch"] = self._launch
        publish_bytes(record, json.dumps(content, sort_keys=True).encode(), own=True)
        latest = records(self.path)[-KEPT:]
        self._remove_except({path for each in latest for path in (each, each.with_suffix(".pt"))})

    def check(self) -> None:
        """Raise LockedError if another process has taken over."""
        self._lock.check()

    def newest(self, fingerprint: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Return the state of the newest intact checkpoint, and log a warning for each damaged one.

        Args:
            fingerprint: Of the training that wants to continue.
            names: The names that a complete state has.

        Raises:
            RunError: The checkpoint has another fingerprint; the message names the entries that differ.
            InputError: All checkpoints are damaged, or were written by another version of geoseg.
        """
        newest_first = records(self.path)[::-1]
        if not newest_first and self._legacy_file.is_file():
            raise InputError(
                f"{self._legacy_file}: was written by an older geoseg; finish the training with that version, or "
                f"{_START_OVER}"
            )
        for record, before in zip(newest_first, [*newest_first[1:], None], strict=True):
            try:
                found, state = _load(record)
            except _DamagedError as error:
                then = f"resuming from {before.stem}" if before else "there is no earlier one"
                log.warning("%s: is damaged (%s); %s", record.with_suffix(".pt"), error, then)
                continue
            differing = [key for key in fingerprint if found.get(key) != json.loads(json.dumps(fingerprint[key]))]
            if differing:
                raise RunError(
                    f"{self.path}: belongs to a training with different {', '.join(differing)}; use the same settings "
                    f"and data, or {_START_OVER}"
                )
            if state.keys() != set(names):
                raise _other_version(record, "does not hold the state that this geoseg needs")
            return state
        raise InputError(f"{self.path}: all {len(newest_first)} checkpoints are damaged; {_START_OVER}")

    def clear(self) -> None:
        """Remove all checkpoints, including that of an older version."""
        self._remove_except(set())
        self._legacy_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock, and remove the folder if it is empty. Later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        self._lock.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _remove_except(self, kept: Collection[Path]) -> None:
        """Remove all checkpoint files except `kept`; records first, because a checkpoint without one does not count."""
        for path in sorted(self.path.glob("step-*"), key=lambda path: path.suffix != ".json"):
            if path not in kept:
                path.unlink(missing_ok=True)


class _DamagedError(Exception):
    """The file is not what was saved."""


def _load(record: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fingerprint and state of a checkpoint after verifying its hash."""
    content = _read_record(record)
    if content.get("format") != FORMAT:
        raise _other_version(record, f"has the format {content.get('format')!r}, not {FORMAT!r}")
    try:
        data = read_plain(record.with_suffix(".pt"), math.inf)
    except OSError as error:
        raise _DamagedError(error.strerror or error) from error
    if hashlib.sha256(data).hexdigest() != content.get("sha256"):
        raise _DamagedError("it does not match its checksum")
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return dict(json.loads(loaded["fingerprint"])), dict(loaded["trainer"])
    except Exception as error:
        raise _DamagedError(type(error).__name__) from error


def _read_record(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_plain(record))
    except (OSError, ValueError, RecursionError) as error:
        raise _DamagedError(f"{record.name} cannot be read") from error
    if not isinstance(content, dict):
        raise _DamagedError(f"{record.name} is not a record")
    return content


def _other_version(record: Path, problem: str) -> InputError:
    return InputError(f"{record}: {problem}; finish the training with the geoseg that began it, or {_START_OVER}")
