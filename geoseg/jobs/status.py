"""geoseg status: how far an unfinished run or training is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, SettingError
from geoseg.files.bucket import is_bucket
from geoseg.files.lock import holder
from geoseg.files.record import record_path
from geoseg.jobs.plan import runs_in
from geoseg.location import Location, Remote
from geoseg.outputs.delivery import Delivery
from geoseg.outputs.names import RUN, run_directory
from geoseg.runs.status import RunStatus, WorkStatus, status
from geoseg.runs.store import open_store


@dataclass(frozen=True, kw_only=True)
class TrainingStatus(WorkStatus):
    """How far an unfinished training is.

    Attributes:
        step: The step of the newest intact checkpoint, from which the training continues; None if there is none.
        checkpoints: Number of intact checkpoints.
        damaged: Number of damaged ones.
    """

    step: int | None
    checkpoints: int
    damaged: int


def run_status(path: Location) -> RunStatus | TrainingStatus | None:
    """Return how far a run or a training is; every finished block, or checkpoint, is compared with its checksum.

    Args:
        path: A run directory, the folder of an interrupted training, or the output or model beside it.

    Returns:
        The status; None if the output or model at `path` is finished.

    Raises:
        InputMissingError: There is nothing at `path`.
        InputError: `path` is none of these, or the manifest of the run is damaged.
    """
    if isinstance(path, Remote):
        return _remote_status(path)
    training = path.with_suffix(".training") if path.suffix == ".safetensors" else path
    if training.suffix == ".training" and training.is_dir():
        return _training_status(training)
    if path.suffix == ".safetensors" and path.is_file():
        return None
    if not path.name:
        return status(path)  # "." and "/", which no output can be
    run = run_directory(path)
    if not open_store(run).exists() and record_path(path).is_file() and path.is_file():
        return None
    return status(run if run.is_dir() and not path.is_dir() else path)


def statuses(path: Location) -> list[RunStatus | TrainingStatus | None]:
    """Return the status of `run_status`; of a folder of runs, that of each.

    Raises:
        InputMissingError, InputError: As for `run_status`.
    """
    if isinstance(path, Path) and path.is_dir() and not open_store(path).exists() and (runs := runs_in(path)):
        return [status(run) for run in runs]
    return [run_status(path)]


def _remote_status(location: Remote) -> RunStatus | None:
    """The status of a run or an output in a cloud store; the run of an output may be on this machine."""
    if not is_bucket(location):
        raise SettingError(f"{location}: neither runs nor outputs are there; they may be at s3://, gs:// or az://")
    beside = Remote(f"{location.url}{RUN}")
    try:
        return status(beside if open_store(beside).exists() else location)
    except InputError:
        output = Path(location.url)
        delivery = Delivery([output])
        made = run_directory(delivery.local(output))
        if open_store(made).exists():
            return status(made)
        if delivery.is_there(output):
            return None
        raise


def _training_status(folder: Path) -> TrainingStatus:
    # torch, which reads checkpoints, takes longer to import than the rest of this command.
    from geoseg.learning.checkpoints import records, verify

    found = records(folder)
    intact = [record for record in found if verify(record) is None]
    step = int(intact[-1].stem.removeprefix("step-")) if intact else None
    size = sum(entry.stat().st_size for entry in folder.iterdir() if entry.is_file())
    return TrainingStatus(
        path=folder, bytes=size, holder=holder(folder / "lock"),
        step=step, checkpoints=len(intact), damaged=len(found) - len(intact),
    )  # fmt: skip


def status_json(found: RunStatus | TrainingStatus | None) -> dict[str, Any]:
    """Return a status by `run_status` as `geoseg status --json` prints it."""
    if found is None:
        return {"run": None, "state": "finished"}
    size = round(found.bytes / (1 << 20), 1)
    if isinstance(found, TrainingStatus):
        return {
            "training": str(found.path),
            "step": found.step,
            "checkpoints": found.checkpoints,
            "damaged": found.damaged,
            "mebibytes": size,
            "state": found.state,
        }
    return {
        "run": str(found.path),
        "finished": found.finished,
        "blocks": found.blocks,
        "damaged": found.damaged,
        "mebibytes": size,
        "state": found.state,
        "missing": list(found.missing),
        "command": found.command or None,
        "folder": found.folder,
        "workers": [{"host": each.host, "process": each.process} for each in found.workers],
    }
