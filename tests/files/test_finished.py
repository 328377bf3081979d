"""Whether an output is finished, and how one differs that is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from geoseg.files.finished import difference

SAID: dict[str, Any] = {
    "geoseg": "1", "scene": {"name": "a.tif"}, "model_sha256": "m", "settings": {"blend": "hann", "smooth": 3},
    "device": "cpu",
}  # fmt: skip


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "a.tif").touch()
    (tmp_path / "a-classes.tif").touch()
    path = tmp_path / "a-classes.geoseg.json"
    path.write_text(json.dumps({**SAID, "polygons": 7, "files": {"a-classes.tif": ""}}))
    return path


def told(record: Path, expected: dict[str, Any] = SAID, *wanted: str) -> str | None:
    folder = record.parent
    return difference(record, expected, [folder / name for name in wanted], [folder / "a.tif"], found=("polygons",))


def test_what_is_as_expected_is_finished(record: Path) -> None:
    assert told(record, SAID, "a-classes.tif") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_sha256": "n"}, "of another model"),
        ({"scene": {"name": "b.tif"}, "model_sha256": "n"}, "of another scene"),
        ({"settings": {"blend": "crop", "rescale": True}}, "with other settings (blend, rescale, smooth)"),
        ({"geoseg": "2"}, "of another version of geoseg"),
        ({"geoseg": "2", "settings": {"blend": "hann"}}, "with other settings (smooth)"),
        ({"device": "cuda"}, "with another device"),
        ({"clusters": {}}, "with another clusters"),
    ],
)
def test_what_differs_is_told(record: Path, change: dict[str, Any], words: str) -> None:
    assert told(record, {**SAID, **change}) == words


def test_files_that_are_missing_or_newer_are_told(record: Path) -> None:
    assert told(record, SAID, "a-confidence.tif") == "without a-confidence.tif"
    later = record.stat().st_mtime_ns + 10**9
    os.utime(record.parent / "a.tif", ns=(later, later))
    assert told(record) == "and older than a.tif"
    (record.parent / "a-classes.tif").unlink()
    assert told(record) == "without a-classes.tif"
    record.write_text("[]")
    assert told(record) == "without a record that can be read"
