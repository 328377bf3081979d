"""Whether outputs exist already, as the work that is asked for would make them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, InputMissingError
from geoseg.files.record import Record, read_record

_WORDS = {
    "geoseg": "of another version of geoseg", "scene": "of another scene", "raster": "of another raster",
    "model_sha256": "of another model", "classes": "with other classes",
}  # fmt: skip
"""Entry of a record -> what to say where it is not the expected one."""


def difference(
    record: Path, expected: Mapping[str, Any], wanted: Iterable[Path], sources: Iterable[Path],
    found: Collection[str] = (),
) -> str | None:  # fmt: skip
    """Return how an output differs from what is to be made; None if it is finished: all of it there, and no older.

    Args:
        record: The record of the output.
        expected: What it has to say, as JSON values, without `files` and `found`.
        wanted: Files that the output must have, among others.
        sources: The files that it is made from.
        found: Entries that are known only once the work is done.

    Returns:
        Words that follow the name of the output: "of another model".
    """
    try:
        old = read_record(record)
        said = {name: value for name, value in old.content.items() if name not in ("files", *found)}
        return _other_words(said, json.loads(json.dumps(expected))) or _other_files(old, wanted, sources)
    except (InputError, InputMissingError, OSError):
        # Somebody may be removing it.
        return "without a record that can be read"


def _other_words(said: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """How what a record says differs from what it has to say."""
    names = [name for name in {**expected, **said} if said.get(name) != expected.get(name)]
    if not names:
        return None
    told = next((words for name, words in _WORDS.items() if name in names and name != "geoseg"), None)
    if told is None and "settings" in names:
        old, new = (content.get("settings") or {} for content in (said, expected))
        others = sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
        told = f"with other settings ({', '.join(others)})"
    return told or _WORDS.get(names[0], f"with another {names[0]}")


def _other_files(old: Record, wanted: Iterable[Path], sources: Iterable[Path]) -> str | None:
    """How the files of an output differ from those that it has to have."""
    recorded = {os.path.normpath(path) for path in old.files}
    missing = [path for path in wanted if os.path.normpath(path) not in recorded]
    missing += [path for path in old.files if not path.is_file()]
    if missing:
        return f"without {missing[0].name}"
    made = old.path.stat().st_mtime_ns
    newer = [path for path in sources if path.stat().st_mtime_ns > made]
    return f"and older than {newer[0].name}" if newer else None
