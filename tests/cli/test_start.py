"""Starting and ending: what each command imports, and a process that leaves early loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

from geoseg.cli import start as start_module
from geoseg.model.file import save_model
from geoseg.version import __version__

HEAVY = {
    "PIL", "asyncio", "boto3", "distributed", "geopandas", "matplotlib", "networkx", "numba", "numpy", "obstore",
    "onnx", "pandas", "pyarrow", "pyogrio", "pyproj", "rasterio", "safetensors", "scipy.ndimage", "scipy.optimize",
    "segmentation_models_pytorch", "shapely", "skimage", "sklearn", "sqlite3", "sympy", "timm", "torch",
    "torch._dynamo", "torchvision",
}  # fmt: skip
"""Modules whose import takes more than 10 ms; what a command imports of them stands in ALLOWED."""

RASTER = {"numpy", "rasterio"}
VECTOR = RASTER | {"pyarrow", "pyogrio", "pyproj", "shapely", "sqlite3"}

# Command -> the only modules of HEAVY that it may import.
ALLOWED = {
    "info scene.tif": RASTER | {"safetensors"},
    "polygonize ids.tif -o regions.gpkg": VECTOR | {"numba"},
}
LATER = {
    "--help": set[str](),
    "info model.safetensors": {"numpy", "safetensors"},
    "superpixels scene.tif -o cells.tif": RASTER | {"numba", "pyproj", "sqlite3"},
    "superpixels scene.tif -o cells.gpkg": VECTOR | {"numba"},
    "info cells.gpkg": VECTOR | {"safetensors"},
    "check cells.tif": RASTER | {"pyproj", "sqlite3"},
    "check cells.gpkg": VECTOR,
    "plan superpixels scene.tif -o planned.tif": RASTER | {"pyproj", "sqlite3"},
    "status planned.tif.run": {"numpy"},
    "predict scene.tif -m model.safetensors -o map.tif": (
        RASTER | {"PIL", "asyncio", "numba", "pyproj", "safetensors", "sqlite3", "sympy", "torch"}
    ),
    "classes show map.tif": RASTER | {"PIL", "pyproj", "safetensors", "sqlite3"},
    "report map.tif": RASTER | {"PIL", "pyproj", "safetensors", "scipy.ndimage", "sqlite3"},
}
"""Likewise, for commands that take longer, or need what the ones before them wrote."""

# Python imports it at its start: what it defines sees the end, and whether objects of modules are taken apart.
OBSERVER = """
import os, sys

class Witness:
    def __del__(self, write=os.write):
        write(2, b"taken apart")

if "TOLD" in os.environ:
    import atexit, json, pathlib
    atexit.register(lambda: pathlib.Path(os.environ["TOLD"]).write_text(json.dumps(sorted(sys.modules))))
else:
    witness = Witness()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, a raster of ids, a model, and the observer."""
    folder = tmp_path_factory.mktemp("start")
    make_raster(folder / "scene.tif", landscape(70, 90))
    make_raster(folder / "ids.tif", landscape(70, 90, 1) // 64, nodata=None)
    save_model(make_model(), folder / "model.safetensors")
    (folder / "observer").mkdir()
    (folder / "observer" / "sitecustomize.py").write_text(OBSERVER)
    return folder


def start(folder: Path, command: str, told: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m geoseg` with the observer, who writes the names of all modules to `told` at the end."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "observer")}
    environment |= {} if told is None else {"TOLD": str(told)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    words = [sys.executable, "-m", "geoseg", "-q", *command.split()]
    return subprocess.run(words, cwd=folder, env=environment, text=True, check=False, timeout=120, **streams)


def imported(folder: Path, command: str) -> set[str]:
    """The modules of HEAVY that a command has imported at its end."""
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    done = start(folder, command, told)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(told.read_text()))


@pytest.mark.parametrize("command", ALLOWED)
def test_a_command_imports_only_the_libraries_that_it_needs(command: str, folder: Path) -> None:
    assert imported(folder, command) <= ALLOWED[command]


@pytest.mark.soak
def test_every_command_imports_only_the_libraries_that_it_needs(folder: Path) -> None:
    extra = {command: imported(folder, command) - allowed for command, allowed in LATER.items()}
    assert not any(extra.values()), extra


@pytest.mark.parametrize(
    ("command", "status"), [("status nothing.tif.run", 66), ("status --wrong", 2), ("--version", 0)]
)
def test_the_process_leaves_early_with_the_status_of_the_command(command: str, status: int, folder: Path) -> None:
    done = start(folder, command)
    assert done.returncode == status
    assert "taken apart" not in done.stderr
    assert done.stdout == (f"geoseg, version {__version__}\n" if status == 0 else "")
    assert bool(done.stderr) == bool(status)


def test_results_on_a_pipe_that_nobody_reads_and_on_a_full_disk(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert start(folder, "--help", stdout=writer).returncode == 0
    os.close(writer)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = start(folder, "--version", stdout=full)
        assert done.returncode == 74
        assert "No space left" in done.stderr


def test_where_something_waits_for_the_end_it_is_not_lost(folder: Path) -> None:
    told = folder / "end.json"
    assert start(folder, "--version", told).returncode == 0
    assert "geoseg.cli.start" in json.loads(told.read_text())


def test_a_library_that_does_need_what_is_hidden_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {
        "needy": "import wanted",
        "content": "try: import wanted\nexcept ImportError: wanted = 0",
    }.items():
        (tmp_path / f"{name}.py").write_text(content)
    (tmp_path / "wanted.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(start_module, "_OPTIONAL", {"needy": ("wanted",), "content": ("wanted",)})
    monkeypatch.setattr(sys, "meta_path", [start_module._Sparing(), *sys.meta_path])
    assert import_module("content").wanted == 0
    assert "wanted" not in sys.modules
    assert import_module("needy").wanted is import_module("wanted")
    for name in ("needy", "content", "wanted"):
        monkeypatch.delitem(sys.modules, name)


def test_a_library_is_imported_as_it_is_where_pandas_came_first() -> None:
    """As in training: scikit-learn imports pandas, which imports pyarrow while it is half there itself."""
    code = (
        "import sys; from geoseg.cli import start; sys.meta_path.insert(0, start._Sparing()); import pandas, pyarrow;"
        "assert pyarrow.array([1]).to_pandas().tolist() == [1]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
