"""The naming dock in QGIS itself, without a screen: `dock_trial.py` uses it in the system's Python, which has QGIS."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.models import make_model
from helpers.qgis import qgis_variables, require_qgis_python
from helpers.rasters import landscape, make_raster

from geoseg.cli.main import main
from geoseg.model.file import save_model

PLUGIN = Path(__file__).resolve().parents[2] / "qgis"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, a model and its map."""
    folder = tmp_path_factory.mktemp("dock") / "a folder & é"
    folder.mkdir()
    make_raster(folder / "scene.tif", landscape(300, 420))
    save_model(make_model(), folder / "m.safetensors")
    command = ["-q", "predict", folder / "scene.tif", "-m", folder / "m.safetensors", "-o", folder / "map.tif"]
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, command)))
    assert ended.value.code == 0
    return folder


def use(made: Path, folder: Path, *trials: str) -> None:
    python = require_qgis_python()
    work = Path(shutil.copytree(made, folder / made.name))
    script = Path(__file__).with_name("dock_trial.py")
    found = subprocess.run(
        [python, script, PLUGIN, sys.executable, work, *trials], env=qgis_variables(folder), capture_output=True,
        text=True, timeout=290, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    assert "Traceback" not in found.stderr, found.stderr[-3000:]


def test_classes_are_picked_named_merged_applied_and_brought_back(made: Path, tmp_path: Path) -> None:
    use(made, tmp_path, "naming")


@pytest.mark.soak
@pytest.mark.parametrize("trial", ["keeping", "typing", "failing", "held", "suggesting", "teaching", "plugin"])
def test_the_dock(made: Path, tmp_path: Path, trial: str) -> None:
    use(made, tmp_path, trial)
