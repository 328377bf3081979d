"""What workers of a cluster compute in tests of the engine: blocks without pixels, which leave a mark in a folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from geoseg.errors import InputError
from geoseg.grid import Block, Window
from geoseg.runs.local import Receipt


def perform(run: str, indices: Sequence[int]) -> list[Receipt]:
    """Leave a mark `INDEX-*` for each block, and do what a file of the folder says.

    `poison-7` kills the process at block 7, `bad-7` raises an InputError there, `odd-7` another error, `busy-7` leaves
    it to another process as long as the file is there, and `seconds` holds the time that a block takes.
    """
    folder, receipts = Path(run), []
    duration = folder / "seconds"
    for index in indices:
        (folder / f"{index:05d}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if (folder / f"poison-{index}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (folder / f"bad-{index}").exists():
            raise InputError(f"scene.tif: block {index} cannot be decoded; repair it")
        if (folder / f"odd-{index}").exists():
            raise ZeroDivisionError(f"block {index}")
        if (folder / f"busy-{index}").exists():
            (folder / f"busy-{index}").unlink()
            continue
        if duration.exists():
            time.sleep(float(duration.read_text()))
        receipts.append(receipt(index))
    return receipts


def receipt(index: int) -> Receipt:
    """The receipt of a block of 512 x 512 pixels."""
    return Receipt(Block(index, Window.of(0, 512 * index, 512, 512)), 512 * 512, 1, {"network": 0.5})


def marks(folder: Path) -> list[int]:
    """Indices of the blocks that were begun, one for each time."""
    return sorted(int(path.name[:5]) for path in folder.glob("[0-9]*-*-*"))


def processes(folder: Path) -> set[int]:
    """Ids of the processes that began blocks."""
    return {int(path.name.split("-")[1]) for path in folder.glob("[0-9]*-*-*")}


def version_of_another(run: str, indices: Sequence[int]) -> list[Receipt]:
    """A function whose answer does not matter."""
    raise AssertionError((run, indices))
