"""The run directory: the work on one output. Its manifest says what is computed, its parts are finished blocks.

A part counts once its record, written last, names the SHA-256 of its files; so a killed process leaves either
a whole part or none, and the next one computes what is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geoseg.errors import OutputError, RunError
from geoseg.grid import Block
from geoseg.publish import publish_bytes, sha256
from geoseg.raster import write_part

RASTER_PART, VECTOR_PART = ".tif", ".arrow"
"""Suffixes of parts: a raster, and the features of a block in Arrow's format for streams."""


class Run:
    """An open run directory.

    path: created where it is missing. fingerprint: all that decides the pixels: scene, model, settings, versions.

    Raises:
        RunError: the directory holds a run of another fingerprint.
        OutputError: the path is something else than a run directory, or cannot be created.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        manifest = path / "manifest.json"
        wanted = json.loads(json.dumps(fingerprint))
        if path.exists() and not manifest.is_file():
            # A process killed before its manifest took its place leaves no more than the temporary of it.
            if not path.is_dir() or any(not entry.name.startswith(".manifest.") for entry in path.iterdir()):
                raise OutputError(f"{path}: is in the way of the run directory; move it elsewhere")
        elif path.exists():
            self._check(_json_object(manifest), wanted)
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: the run directory cannot be created ({error.strerror})") from error
        if not manifest.exists():
            publish_bytes(manifest, json.dumps(wanted, indent=1, sort_keys=True).encode())

    def _check(self, found: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
        if found == wanted:
            return
        if found is None:
            raise RunError(f"{self.path}: its manifest is damaged or not geoseg's; delete the folder")
        differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
        raise RunError(
            f"{self.path}: holds work with another {', '.join(differing)}; "
            "finish that with its own settings, or delete the folder"
        )

    def has(self, block: Block) -> bool:
        """Return whether the part of `block` is finished and its files are what was recorded."""
        record = self._record(block)
        files = _json_object(record) if record.is_file() else None
        return files is not None and all(
            (self.path / name).is_file() and sha256(self.path / name) == digest for name, digest in files.items()
        )

    def keep(self, block: Block, layers: Mapping[str, NDArray[Any] | bytes]) -> None:
        """Write the layers of `block`, (rows, cols) or a file's content each, and then the record that makes them
        count.

        A block without any layer (all nodata) gets a record alone.
        """
        files = {}
        for layer, values in layers.items():
            if isinstance(values, bytes):
                path = self.part(block, layer, VECTOR_PART)
                publish_bytes(path, values)
            else:
                path = self.part(block, layer)
                write_part(path, values)
            files[path.name] = sha256(path)
        publish_bytes(self._record(block), json.dumps(files, sort_keys=True).encode())

    def part(self, block: Block, layer: str, suffix: str = RASTER_PART) -> Path:
        """Return the path of one layer of a part; there is no file where the block is all nodata."""
        return self.path / f"part-{block.index:06d}-{layer}{suffix}"

    def discard(self) -> None:
        """Delete the directory and what is in it."""
        shutil.rmtree(self.path)

    def _record(self, block: Block) -> Path:
        return self.path / f"part-{block.index:06d}.json"


def _json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in the file; None where it holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
