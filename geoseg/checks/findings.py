"""What a check found: one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GeosegError
from geoseg.grid import Window

MOST = 20
"""Places that are told of one kind of fault."""


@dataclass(frozen=True)
class Finding:
    """One check of one file: its name, whether the file is as it should be, and what was found."""

    file: Path
    check: str
    fine: bool
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"file": str(self.file), "check": self.check, "ok": self.fine, "what": self.what}


class Report:
    """Findings about one file, as they are made."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def fine(self, check: str, what: str) -> Finding:
        """Return the finding that all is well."""
        return Finding(self.file, check, True, what)

    def wrong(self, check: str, what: object) -> Finding:
        """Return the finding that something is wrong; the name of the file is taken off its front."""
        return Finding(self.file, check, False, " ".join(str(what).removeprefix(f"{self.file}: ").split()))

    def either(self, check: str, problem: str | None, what: str) -> Finding:
        """Return `problem` where there is one, else that all is well."""
        return self.fine(check, what) if problem is None else self.wrong(check, problem)

    @contextmanager
    def catching(self, check: str, found: Callable[[Finding], object]) -> Iterator[None]:
        """Within this context an error of geoseg's, or of the system's, is a finding."""
        try:
            yield
        except (GeosegError, OSError) as error:
            found(self.wrong(check, error))


class Pixels:
    """Pixels that are not as they should be: how many, and (row, col) of the first."""

    def __init__(self) -> None:
        self.count = 0
        self.first: tuple[int, int] | None = None

    def see(self, wrong: NDArray[np.bool_], window: Window) -> None:
        """Take in the pixels (rows, cols) of `window`."""
        count = int(np.count_nonzero(wrong))
        if count and self.first is None:
            row, col = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            self.first = window.rows.start + int(row), window.cols.start + int(col)
        self.count += count

    def told(self, what: str) -> str | None:
        """Return a sentence about them, None where there are none."""
        if self.first is None:
            return None
        return f"{self.count} pixels {what}, the first at row {self.first[0]}, column {self.first[1]}"
