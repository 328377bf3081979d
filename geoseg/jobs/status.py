"""geoseg status: how far an unfinished run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg.files.record import record_path
from geoseg.outputs.names import run_directory
from geoseg.runs.directory import RunStatus, status


def run_status(path: Path) -> RunStatus | None:
    """Return how far a run is; every finished block is read and compared with its checksum.

    Args:
        path: A run directory, or the output beside it.

    Returns:
        The status; None if the output at `path` is finished.

    Raises:
        InputMissingError: There is nothing at `path`.
        InputError: `path` is neither a run directory nor an output, or the manifest of the run is damaged.
    """
    run = run_directory(path)
    if not run.is_dir() and record_path(path).is_file() and path.is_file():
        return None
    return status(run if run.is_dir() and not path.is_dir() else path)


def status_json(found: RunStatus | None) -> dict[str, Any]:
    """Return a status by `run_status` as `geoseg status --json` prints it."""
    if found is None:
        return {"run": None, "state": "finished"}
    return {
        "run": str(found.path),
        "finished": found.finished,
        "blocks": found.blocks,
        "damaged": found.damaged,
        "mebibytes": round(found.bytes / (1 << 20), 1),
        "state": found.state,
        "command": found.command or None,
        "folder": found.folder,
    }
