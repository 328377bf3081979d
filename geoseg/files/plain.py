"""Paths for libraries that take some characters for more than a name.

pyogrio parses a path as a URL: it splits it at "!", and drops what follows ";" and all control characters. It may then
write into another folder. It gets a path without such characters, which leads to the same file.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.files.system import WINDOWS, link_folder

_PARSED = re.compile(r"[!;?\x00-\x1f\x7f]|^//")


def plain_name(name: str) -> str:
    """Return a file name without characters that pyogrio takes for more; others are unchanged."""
    return _PARSED.sub("_", name)


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Yield a path without such characters to the same file, existing or not; mostly that is `path` itself.

    A file whose own name has them can only be read, not written: write to a `plain_name`.

    Raises:
        OSError: The folder of `path` cannot be opened, or no link to it can be made.
    """
    if not _PARSED.search(str(path)):
        yield path
    elif plain_name(path.name) != path.name:
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            # With the files that belong to it, such as those of a Shapefile.
            for file in path.resolve().parent.glob(f"{glob.escape(path.stem)}.*"):
                (Path(folder) / f"file{file.name[len(path.stem) :]}").symlink_to(file)
            yield Path(folder) / f"file{path.suffix}"
    else:
        with _plain_folder(path.parent) as folder_path:
            yield folder_path / path.name


@contextmanager
def _plain_folder(folder: Path) -> Iterator[Path]:
    if not WINDOWS:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            link = Path(f"/proc/self/fd/{descriptor}")
            if link.is_dir():  # Linux. Unlike a link in a temporary folder, it is gone with the process.
                yield link
                return
        finally:
            os.close(descriptor)
    with tempfile.TemporaryDirectory(prefix="geoseg-") as temporary:
        other = Path(temporary) / "folder"
        link_folder(other, folder.resolve())
        try:
            yield other
        finally:
            other.unlink()
