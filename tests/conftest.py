"""Fixtures that tests of several packages use, and what holds for the whole run of the tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faults.cases import Bench
from faults.commands import Commands, working_folder
from helpers.commandline import Outcome, geoseg
from helpers.miniatures import make_coco, make_tiles
from helpers.models import make_model
from helpers.objects import ENVIRONMENT, Proxy, need_objects, proxying, serving_objects
from helpers.rasters import landscape, make_raster
from hypothesis import settings

from geoseg.model.file import save_model

# No deadline: how long an example takes is the machine's business (and the first one compiles).
settings.register_profile("geoseg", deadline=None, max_examples=40)
settings.load_profile("geoseg")

# Subprocesses must find the package that is installed, not the checkout they happen to be started in.
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture
def scene_path(tmp_path: Path) -> Path:
    """A 300 x 420 RGB scene."""
    return make_raster(tmp_path / "scene.tif", landscape(300, 420))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RGB model file."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(make_model(), path)
    return path


@pytest.fixture
def call(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Return a function: run geoseg in a folder with a model and with scene.tif, 2 x 3 blocks of 512 pixels."""
    make_raster(tmp_path / "scene.tif", landscape(924, 1476))
    (tmp_path / "geoseg-model.safetensors").symlink_to(model_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1577836800")  # the date in a GeoPackage
    return lambda *arguments: geoseg(capsys, *arguments)


@pytest.fixture(scope="session")
def object_server() -> Iterator[int]:
    """Port of an S3 server; skips the tests that need it where it is not installed."""
    need_objects()
    with serving_objects() as port:
        yield port


@pytest.fixture
def proxy(object_server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the S3 server, which the environment names."""
    with proxying(object_server) as running:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": running.url}.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """Return a function from a name to the path of real imagery; it skips the test where that is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("GEOSEG_DATA", beside))

    def find(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"real imagery {name} is not here; GEOSEG_DATA names its folder")
        return path

    return find


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """The fault harness: inputs, uninterrupted runs, and a process that forks commands, which takes long to start."""
    with working_folder() as folder, Commands() as commands:
        yield Bench(folder, commands)


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Windows of 128 px are too small to share out: two threads would mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Whoever starts the tests in the background has them, and what they start, ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Potsdam in miniature: three tiles of 1 x 2 patches, the second without labels."""
    return make_tiles(tmp_path_factory.mktemp("potsdam"), {"2_10": True, "6_10": False, "6_7": True})


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO-Stuff in miniature: two images of train2017 and one of val2017."""
    return make_coco(tmp_path_factory.mktemp("coco"))
