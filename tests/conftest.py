"""Rasters made on the spot, a small model, and the real imagery where it is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import settings
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.config import TrainConfig
from geoseg.model.file import Model, save_model
from geoseg.model.network import NetworkSpec, build, settle_statistics
from geoseg.raster.statistics import BandStats
from geoseg.recipes import SuperpixelConfig, WindowConfig

# No deadline: how long an example takes is the machine's business (and the first one compiles).
settings.register_profile("geoseg", deadline=None, max_examples=40)
settings.load_profile("geoseg")

# Subprocesses must find the package that is installed, not the checkout they happen to be started in.
os.environ["PYTHONSAFEPATH"] = "1"

UTM = "EPSG:32633"
TRANSFORM = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)


def make_raster(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    """Write (bands, rows, cols) as a GeoTIFF; by default tiled, in UTM, 0.5 m."""
    bands, rows, cols = pixels.shape
    colours = profile.pop("colorinterp", None)
    mask = profile.pop("mask", None)
    layout = {
        "driver": "GTiff",
        "crs": UTM,
        "transform": TRANSFORM,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    layout |= {"count": bands, "height": rows, "width": cols, "dtype": pixels.dtype.name, **profile}
    if layout["driver"] != "GTiff":
        layout = {k: v for k, v in layout.items() if k not in ("tiled", "blockxsize", "blockysize")}
    with rasterio.open(path, "w", **layout) as file:
        file.write(pixels)
        if colours:
            file.colorinterp = colours
        if mask is not None:
            file.write_mask(mask)
    return path


def landscape(rows: int, cols: int, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random landscape with hard-edged fields: uint8 (bands, rows, cols)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    image = np.empty((bands, rows, cols))
    fields = random.integers(0, 5, size=(rows // 48 + 2, cols // 48 + 2))[y // 48, x // 48]
    for band in range(bands):
        levels = random.uniform(40, 200, size=5)
        waves = 20 * np.sin(x / random.uniform(20, 60)) * np.cos(y / random.uniform(20, 60))
        image[band] = levels[fields] + waves + random.normal(0, 4, size=(rows, cols))
    return image.clip(1, 255).astype(np.uint8)


def make_model(
    bands: int = 3, classes: int = 5, seed: int = 0, encoder: str = TrainConfig.encoder, **windows: int
) -> Model:
    """An untrained network with logits strong enough to give a varied map; 128-px windows that overlap by 32."""
    network = build(NetworkSpec(encoder, bands, classes), seed).eval()
    # Normalised for imagery of its kind, and without a favourite, an untrained network gives a varied map.
    image = torch.from_numpy((landscape(128, 128, bands).astype(np.float32) - 120) / 50)[None]
    settle_statistics(network, [image], torch.float32)
    with torch.no_grad():
        network.head[-1].bias -= network(image).mean(dim=(0, 2, 3))
    names = ("red", "green", "blue", "nir")[:bands]
    stats = BandStats((120.0,) * bands, (50.0,) * bands, (10.0,) * bands, (230.0,) * bands, 1000)
    return Model(
        network,
        tuple(names),
        "uint8",
        stats,
        SuperpixelConfig(size=8, iterations=3),
        WindowConfig(**{"tile_size": 128, "overlap": 32, **windows}),
        ClassMap.default(classes),
        {"recipe": {"name": "test"}, "steps": 0, "data": {"scenes": 0, "pixels": 0}, "versions": {}},
    )


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


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Windows of 128 px are too small to share out: two threads would mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Whoever starts the tests in the background has them, and what they start, ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _brief_survey() -> Iterator[None]:
    """A mixture for a training of a few steps needs no more superpixels than that: a tenth of what it is fitted to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.learning.loop._ENOUGH", 2000)
        yield


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Potsdam in miniature: three tiles of 1 x 2 patches, the second without labels."""
    from miniatures import make_tiles

    return make_tiles(tmp_path_factory.mktemp("potsdam"), {"2_10": True, "6_10": False, "6_7": True})


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO-Stuff in miniature: two images of train2017 and one of val2017."""
    from miniatures import make_coco

    return make_coco(tmp_path_factory.mktemp("coco"))
