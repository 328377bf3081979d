"""The memory that a prediction needs: it grows with the classes, and what does not fit is refused before work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.commandline import assert_refused, geoseg, untouched
from helpers.models import make_model
from helpers.rasters import landscape, make_raster

from geoseg.errors import SettingError
from geoseg.model.file import save_model
from geoseg.prediction import memory
from geoseg.prediction.memory import Demand, check_memory
from geoseg.recipes import SuperpixelConfig, WindowConfig

LARGE = Demand(
    (20_000, 20_000), (20_000, 20_000), 3, 1, 24, SuperpixelConfig(), WindowConfig(), 2048, 1, 8, True, 64 << 20
)


def gigabytes(**changes: object) -> float:
    return replace(LARGE, **changes).peak / 1e9  # type: ignore[arg-type]


def test_the_need_grows_with_classes_blocks_windows_and_threads_but_not_with_the_scene() -> None:
    # The field of a block is 536 x 536 cells of K floats: one is blended from up to 16 windows of 256 x 256 cells while
    # that of the block before is there three times.
    assert gigabytes(classes=2000) - gigabytes() > (16 * 256**2 + 4 * 536**2) * 1976 * 4 / 1e9
    assert gigabytes(classes=2000, block_size=512) < gigabytes(classes=2000, block_size=1024) < gigabytes(classes=2000)
    assert gigabytes(windows=WindowConfig(512, 128)) < gigabytes()
    assert gigabytes(workers=2) < gigabytes()
    # Each step from superpixel to superpixel reads 48 pixels more on every side of a block.
    assert gigabytes(steps=3) - gigabytes() > (2912**2 - 2624**2) * 30 / 1e9
    assert gigabytes(shape=(40_000, 40_000), extent=(40_000, 40_000)) == gigabytes()


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("classes", [200, 2000, 30_000])
def test_a_refusal_names_settings_that_fit(classes: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    demand = replace(LARGE, classes=classes, workers=workers)
    for available in (4 << 30, 16 << 30, 64 << 30):
        monkeypatch.setattr(memory, "available_bytes", lambda available=available: available)
        monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
        if demand.peak <= available:
            check_memory("scene.tif", demand)
            continue
        with pytest.raises(SettingError, match=rf"^scene.tif: needs about [\d.]+ GB .* {classes} classes") as caught:
            check_memory("scene.tif", demand)
        _, found, options = str(caught.value).partition("it fits with ")
        if not found:
            assert "a machine with more memory" in str(caught.value)
            smallest = replace(demand, block_size=512, workers=1, windows=WindowConfig(256, 128))
            assert smallest.peak > available
            continue
        given = dict(zip(*[iter(options.split())] * 2, strict=True))
        windows = WindowConfig(int(given.get("--tile-size", 1024)), 128)
        size, threads = int(given.get("--block-size", 2048)), int(given.get("--workers", workers))
        assert replace(demand, windows=windows, block_size=size, workers=threads).peak <= available


@pytest.mark.parametrize(("limit", "free"), [("1000000", 600_000 + 50_000), ("max", None)])
def test_the_page_cache_of_a_control_group_is_free(tmp_path: Path, limit: str, free: int | None) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 50000\n")
    assert memory._free_in_group(tmp_path) == free
    assert memory._free_in_group(tmp_path / "none") is None


def test_the_kernel_is_asked() -> None:
    if Path("/proc/meminfo").exists():
        assert 0 < memory._resident_bytes() < 1 << 40
        assert 1 << 20 < (memory.available_bytes() or 0) < 1 << 50


def test_a_model_of_many_classes_is_refused_before_work_and_the_plan_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(make_model(classes=2000), tmp_path / "many.safetensors")
    scene = make_raster(tmp_path / "scene.tif", landscape(600, 900))
    labels = make_raster(tmp_path / "labels.tif", landscape(600, 900)[:1])
    arguments = ("predict", scene, "-m", tmp_path / "many.safetensors", "-o", tmp_path / "map.tif")
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 << 20)
    # As in a process that holds much else, which this work does not need.
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 64 << 30)
    with untouched(tmp_path):
        plan = json.loads(geoseg(capsys, "-q", *arguments, "--dry-run").out)
        refused = geoseg(capsys, *arguments)
        scored = geoseg(capsys, "evaluate", arguments[3], "--data", scene, "--labels", labels)
    assert plan["memory_mib"] > 1500
    assert_refused(refused, 78, "scene.tif", "of memory with 2000 classes")
    assert_refused(scored, 78, "scene.tif", "map it on a machine with more memory")
