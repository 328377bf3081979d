"""The commands where Windows is imitated (`helpers/windows.py`): its refusals end no work, its files are the same."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from helpers.commandline import geoseg, training_with
from helpers.rasters import landscape, make_raster
from helpers.windows import MODULES, imitate

ROOT = Path(__file__).resolve().parents[1]

TRAINING = (
    ("train", "--data", "scene.tif", "--out", "m.safetensors", "--overwrite", "--steps", "2", "--batch-size", "2",
     "--patch-size", "64", "--classes", "3", "--precision", "float32"),
)  # fmt: skip
MAPPING = (
    ("predict", "scene.tif", "--model", "m.safetensors", "--out", "map.tif"),
    ("superpixels", "scene.tif", "--out", "odd;name/ids.gpkg"),
    ("polygonize", "map.tif", "--out", "map.parquet"),
    ("classes", "set", "m.safetensors", "1", "Wasser – 水"),
    ("classes", "apply", "m.safetensors", "map.tif"),
    ("check", "map.tif"),
)


def work(
    commands: tuple[tuple[str, ...], ...], folder: Path, model: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, str]:
    """Run the commands in a folder; return the SHA-256 of the files that do not name the moment."""
    shutil.copy(model, folder / "m.safetensors")
    for arguments in commands:
        outcome = geoseg(capsys, *arguments, *(more if "--out" in arguments else ()))
        assert outcome.code == 0, outcome.err
    assert not [path.name for path in folder.rglob(".*")], "a lock or a temporary file is left"
    assert not [path.name for path in folder.iterdir() if path.suffix in (".run", ".checkpoints")]
    kept = [path for path in sorted(folder.rglob("*")) if path.suffix in (".tif", ".gpkg", ".parquet")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.mark.parametrize("commands", [MAPPING, pytest.param(TRAINING + MAPPING, marks=pytest.mark.soak)])
def test_the_commands_work_and_write_the_same_files(
    tmp_path: Path,
    model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    commands: tuple[tuple[str, ...], ...],
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1577836800")
    brief = training_with(checkpoint_every=1, mixture_superpixels=2000)
    monkeypatch.setattr("geoseg.jobs.train.TrainJob", brief)
    (tmp_path / "odd;name").mkdir()
    make_raster(tmp_path / "scene.tif", landscape(260, 300))
    monkeypatch.chdir(tmp_path)
    expected = work(commands, tmp_path, model_path, capsys)
    assert len(expected) == 4
    with monkeypatch.context() as patch:
        imitate(patch)
        found = work(commands, tmp_path, model_path, capsys, "--overwrite")
    assert found == expected


def test_a_map_that_qgis_has_open_is_told_of_before_any_work(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, out = make_raster(tmp_path / "scene.tif", landscape(64, 64)), tmp_path / "map.tif"
    out.write_bytes(b"old")
    monkeypatch.setattr("geoseg.files.system._WAITS", ())
    with out.open("rb"), monkeypatch.context() as patch:
        imitate(patch)
        outcome = geoseg(capsys, "predict", scene, "--model", model_path, "--out", out, "--overwrite")
    assert outcome.code == 73
    assert outcome.said == [
        f"geoseg: error: {out}: is open in another program, such as QGIS, and Windows replaces no open file; remove "
        "the layer there, or choose another output"
    ]
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*")) + list(tmp_path.glob("*.run"))


def test_every_module_that_asks_for_windows_is_imitated_and_listed_for_newcomers() -> None:
    paths = [path for folder in ("geoseg", "cli") for path in sorted((ROOT / folder).rglob("*.py"))]
    asking = {
        path.relative_to(ROOT)
        for path in paths
        if re.search(r"^\s*(if|from) .*\bWINDOWS\b|^WINDOWS", path.read_text(), re.M)
    }
    assert {".".join(path.with_suffix("").parts) for path in asking} == set(MODULES)
    section = (ROOT / "CONTRIBUTING.md").read_text().split("\n## Windows\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`((?:geoseg|cli)/[\w/]+\.py)`", section))
    posix = r"hasattr\((os|signal|mmap), |getattr\(os, |sys\.platform|\"/proc/|SIGBREAK|poll\(\)"
    special = {path.relative_to(ROOT) for path in paths if re.search(posix, path.read_text())}
    assert {path.as_posix() for path in asking | special} == named
