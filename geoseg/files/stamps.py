"""Whether input files are still what they were when they were opened: by their size and time of modification.

Inode numbers would tell more, but not every file system keeps them for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from geoseg.errors import InputError


class Stamp(NamedTuple):
    """A file at one time.

    Attributes:
        bytes: Its size.
        modified: Time of its last modification in ns.
    """

    bytes: int
    modified: int


@dataclass(frozen=True)
class Stamps:
    """Files at the time when they were opened.

    Attributes:
        files: Path -> stamp; None where there was no file.
    """

    files: Mapping[Path, Stamp | None]

    @classmethod
    def of(cls, files: Iterable[Path]) -> Stamps:
        """Return the stamps that the files have now."""
        return cls({path: _stamp(path) for path in dict.fromkeys(files)})

    def check(self, name: object, remedy: str) -> None:
        """Raise InputError if a file has changed since.

        Args:
            name: What the message calls the input that the files belong to.
            remedy: What to do when the files are complete.
        """
        for path, then in self.files.items():
            now = _stamp(path)
            if now != then:
                file = "" if Path(str(name)).name == path.name else f"{path.name} "
                raise InputError(f"{name}: changed while it was read ({file}{_change(then, now)}); {remedy}")


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _change(then: Stamp | None, now: Stamp | None) -> str:
    if now is None:
        return "is no longer there"
    when = datetime.fromtimestamp(now.modified / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    sizes = f", {then.bytes} bytes before, {now.bytes} now" if then is not None and then.bytes != now.bytes else ""
    return f"was modified at {when}{sizes}"
