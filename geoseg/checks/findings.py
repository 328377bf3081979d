"""The result of one check, and what checks share to make it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window

MAX_LISTED = 20
"""Damaged blocks or parts that get a finding of their own; one more finding counts the rest."""


@dataclass(frozen=True)
class Finding:
    """The result of one check of one file.

    Attributes:
        file: The file or folder that was checked.
        check: Name of the check, such as 'sha256' or 'blocks'. A check may yield several findings.
        ok: Whether the file passed.
        message: What was found, in one line without the path.
    """

    file: Path
    check: str
    ok: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as `geoseg check --json` prints it."""
        return {"file": str(self.file), "check": self.check, "ok": self.ok, "what": self.message}


class FileFindings:
    """Makes the findings of one file.

    Attributes:
        file: The file or folder that is checked.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def passed(self, check: str, message: str) -> Finding:
        """Return the finding of a check that the file passed."""
        return Finding(self.file, check, True, message)

    def failed(self, check: str, problem: object) -> Finding:
        """Return the finding of a check that the file failed.

        Args:
            check: Name of the check.
            problem: A message or an exception; it becomes one line, without the path at its front.
        """
        return Finding(self.file, check, False, " ".join(str(problem).removeprefix(f"{self.file}: ").split()))

    def judge(self, check: str, problem: str | None, message: str) -> Finding:
        """Return a failed finding with `problem` if there is one, else a passed finding with `message`."""
        return self.passed(check, message) if problem is None else self.failed(check, problem)


class WrongPixels:
    """Counts wrong pixels and remembers the position (row, col) of the first one."""

    def __init__(self) -> None:
        self.count = 0
        self.first: tuple[int, int] | None = None

    def add(self, wrong: NDArray[np.bool_], window: Window) -> None:
        """Count the pixels of `window` that are True in `wrong`, (rows, cols)."""
        count = int(np.count_nonzero(wrong))
        if count and self.first is None:
            row, col = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            self.first = window.rows.start + int(row), window.cols.start + int(col)
        self.count += count

    def problem(self, what: str) -> str | None:
        """Return '3 pixels WHAT, the first at row 7, column 9'; None if no pixel is wrong."""
        if self.first is None:
            return None
        return f"{self.count} pixels {what}, the first at row {self.first[0]}, column {self.first[1]}"
