"""The plugin as a distribution: the zip for QGIS, its metadata, and rules that keep it safe in every QGIS."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from geoseg_qgis.runner import MINIMUM_VERSION

from geoseg.version import __version__

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "qgis" / "geoseg_qgis"
MODULES = sorted(PLUGIN.rglob("*.py"))
WITHOUT_QGIS = ("process", "runner", "environment")
MAX_LINES = 350


def names(path: Path) -> list[str]:
    """What a module imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    made = [
        subprocess.run(
            [sys.executable, ROOT / "qgis" / "package.py", tmp_path / name], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("a", "b")
    ]
    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes(), "the same sources make the same bytes"
    return Path(made[0])


def test_the_zip_has_the_layout_that_qgis_wants(archive: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        entries = found.namelist()
        metadata = configparser.ConfigParser()
        metadata.read_string(found.read("geoseg_qgis/metadata.txt").decode())
    assert {entry.split("/")[0] for entry in entries} == {"geoseg_qgis"}
    assert {f"geoseg_qgis/{name}" for name in ("__init__.py", "metadata.txt", "LICENSE", "icon.svg")} <= set(entries)
    assert {f"geoseg_qgis/{path.relative_to(PLUGIN).as_posix()}" for path in MODULES} <= set(entries)
    assert not [entry for entry in entries if "__pycache__" in entry or entry.endswith(".pyc")]
    general = metadata["general"]
    assert general["hasProcessingProvider"] == "yes"
    assert f"geoseg_qgis/{general['icon']}" in entries
    wanted = ("name", "description", "about", "version", "qgisMinimumVersion", "author", "email", "repository")
    assert all(general[key] for key in wanted)
    assert archive.name == f"geoseg_qgis-{general['version']}.zip"


def test_the_plugin_does_not_need_a_newer_geoseg_than_this_one() -> None:
    assert tuple(int(part) for part in __version__.split(".")) >= MINIMUM_VERSION


def test_qt_is_imported_by_qgis_only_and_geoseg_never() -> None:
    wrong = [
        f"{path.relative_to(PLUGIN)} imports {name}"
        for path in MODULES
        for name in names(path)
        if name.split(".")[0] in ("PyQt5", "PyQt6", "PySide2", "PySide6", "geoseg", "numpy", "requests", "osgeo")
    ]
    assert wrong == []


def test_what_runs_geoseg_knows_nothing_of_qgis() -> None:
    for name in WITHOUT_QGIS:
        assert not [each for each in names(PLUGIN / f"{name}.py") if each.startswith("qgis")]


def test_modules_are_for_the_python_of_the_oldest_qgis() -> None:
    for path in MODULES:
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))


def test_modules_have_at_most_350_lines() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
