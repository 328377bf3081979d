"""geoseg polygonize in stripes: the same files as in one sweep, whoever computes the stripes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from helpers.commandline import geoseg
from helpers.rasters import make_raster
from numpy.typing import NDArray

from geoseg.config import PolygonizeConfig
from geoseg.errors import IncompleteError, InputError, RunError, SettingError
from geoseg.files.atomic import sha256
from geoseg.grid import Block, Span
from geoseg.jobs import polygonize_stripes
from geoseg.jobs.finalize import FinalizeJob
from geoseg.jobs.perform import leave, perform
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.jobs.polygonize_stripes import StripedPolygonizeJob, polygonize_job
from geoseg.outputs.names import run_directory
from geoseg.outputs.polygon_stripes import stripes
from geoseg.raster.class_raster import ClassRaster
from geoseg.runs.run import Run
from geoseg.units import Area

pytestmark = pytest.mark.filterwarnings("ignore:More than one layer found:UserWarning")

ROWS, COLS = 61, 70


@pytest.fixture(autouse=True)
def low_stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes of 7 rows, and bytes that do not depend on the time."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr(polygonize_stripes, "stripes", stripes_of_seven)


def stripes_of_seven(raster: ClassRaster) -> list[Block]:
    rows = raster.scene.shape[0]
    return [
        Block(index, raster.window(Span(start, min(start + 7, rows)))) for index, start in enumerate(range(0, rows, 7))
    ]


def patches() -> NDArray[np.int64]:
    """Fields with specks, some nodata, and a class that crosses most stripes."""
    random = np.random.default_rng(5)
    fields = np.kron(random.integers(1, 5, (9, 10)), np.ones((7, 7), np.int64))[:ROWS]
    specks = random.random(fields.shape) < 0.1
    fields[specks] = random.integers(0, 5, specks.sum())
    fields[10:50, 33:36] = 2
    return fields


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "classes.tif", patches().astype(np.uint8)[None], nodata=0)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name.startswith("out.")}


def both(folder: Path, raster: Path, name: str, **settings: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of all files of the output, in one sweep and in stripes."""
    found = []
    for place, kind in (("whole", PolygonizeJob), ("striped", StripedPolygonizeJob)):
        (folder / place).mkdir()
        tables = {"areas": folder / place / "out.csv"} if settings.get("areas") else {}
        config = PolygonizeConfig(raster, folder / place / name, **{**settings, **tables})
        with kind(config) as job:
            assert len(list(job.run())) == (9 if kind is StripedPolygonizeJob else 1)
        found.append(digests(folder / place))
        assert not [path for path in (folder / place).iterdir() if not path.name.startswith("out.")]
    return found[0], found[1]


SETTINGS: dict[str, dict[str, Any]] = {
    "out.gpkg": {},
    "out.fgb": {"min_area": Area(2, "m2"), "sld": True, "areas": True},
    "out.parquet": {"classes": ("1", "3"), "field": "code"},
    "out.geojson": {"min_area": Area(9, "px")},
    "out.shp": {"simplify": 0.6, "areas": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_files_are_the_same(tmp_path: Path, raster: Path, name: str) -> None:
    sure = np.random.default_rng(1).integers(0, 256, (1, ROWS, COLS)).astype(np.uint8)
    confidence = make_raster(tmp_path / "sure.tif", sure)
    whole, striped = both(tmp_path, raster, name, confidence=confidence, **SETTINGS[name])
    assert whole == striped
    assert len(whole) > 1


KINDS: dict[str, dict[str, Any]] = {
    "degrees": {"crs": "EPSG:4326", "transform": Affine(0.01, 0, 11, 0, -0.01, 60)},
    "rotated Web Mercator": {
        "crs": "EPSG:3857", "transform": Affine.translation(1e6, 6e6) @ Affine.rotation(20) @ Affine.scale(3, -3),
    },
    "no CRS": {"crs": None, "transform": Affine.identity()},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_rasters_of_every_kind(tmp_path: Path, kind: str) -> None:
    values = (patches() - 3).astype(np.int16)
    raster = make_raster(tmp_path / "classes.tif", values[None], nodata=-3, **KINDS[kind])
    whole, striped = both(tmp_path, raster, "out.gpkg", min_area=Area(5, "px"))
    assert whole == striped


def test_a_stripe_is_computed_by_anybody(tmp_path: Path, raster: Path) -> None:
    """Some by this process, others by the engine's function; what is missing is told; the run goes when all is done."""
    out = tmp_path / "out.gpkg"
    with StripedPolygonizeJob(PolygonizeConfig(raster, out)) as job:
        job.begin()
        place = run_directory(out)
    with Run.join(place) as run, StripedPolygonizeJob(PolygonizeConfig(raster, out)) as job:
        job.joined(run)
        assert [receipt.block.index for receipt in job.compute(run, job.blocks[3:6])] == [3, 4, 5]
    with FinalizeJob(place) as finalize, pytest.raises(IncompleteError, match="0-2, 6-8"):
        list(finalize.run())
    assert [receipt.block.index for receipt in perform(place, [8, 0, 1, 2, 6, 7])] == [8, 0, 1, 2, 6, 7]
    leave()
    with FinalizeJob(place) as finalize:
        assert len(list(finalize.run())) == 9
    assert not place.exists()
    with PolygonizeJob(PolygonizeConfig(raster, tmp_path / "whole.gpkg")) as whole:
        list(whole.run())
    assert sha256(out) == sha256(tmp_path / "whole.gpkg")
    assert job.total == 9


def test_an_interrupted_run_goes_on(tmp_path: Path, raster: Path) -> None:
    config = PolygonizeConfig(raster, tmp_path / "out.fgb", run=tmp_path / "kept")
    with polygonize_job(config) as job:
        steps = job.run()
        next(steps), next(steps)
        steps.close()
    finished = len(list((tmp_path / "kept").glob("part-*.json")))
    assert finished >= 2
    with pytest.raises(RunError, match="different settings: min_area"):
        list(polygonize_job(PolygonizeConfig(raster, config.out, min_area=Area(3, "px"), run=config.run)).run())
    with polygonize_job(config) as job:
        receipts = list(job.run())
        assert sum(receipt.reused for receipt in receipts) == finished
        assert job.closing() == f"{job.result.count} polygons; {finished} of 9 blocks were finished before"
    assert not (tmp_path / "kept").exists()


def test_a_raster_that_changes_is_refused(tmp_path: Path, raster: Path) -> None:
    config = PolygonizeConfig(raster, tmp_path / "out.gpkg", run=tmp_path / "kept")
    with polygonize_job(config) as job:
        steps = job.run()
        next(steps)
        os.utime(raster, ns=(1, 1))
        with pytest.raises(InputError, match="start over with --restart"):
            list(steps)
    assert not config.out.exists()


def test_only_a_run_is_kept_or_begun_again(tmp_path: Path, raster: Path) -> None:
    for settings in ({"restart": True}, {"keep_run": True}):
        with pytest.raises(SettingError, match="name one with --run"):
            polygonize_job(PolygonizeConfig(raster, tmp_path / "out.gpkg", **settings))


def test_plan_work_and_finalize(
    tmp_path: Path, raster: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By the command line, and what a warning says of confidences that some other process read."""
    per_cent = np.full((1, ROWS, COLS), 93, np.uint8)
    confidence = make_raster(tmp_path / "sure.tif", per_cent)
    out, place = tmp_path / "out.gpkg", tmp_path / "out.gpkg.run"
    arguments = ("polygonize", raster, "--out", out, "--confidence", confidence)
    planned = geoseg(capsys, "plan", *arguments, "--shards", 2)
    assert planned.out.splitlines() == [
        f"geoseg work {place} --shard 1/2", f"geoseg work {place} --shard 2/2", f"geoseg finalize {place}",
    ]  # fmt: skip
    for number in (2, 1):
        assert geoseg(capsys, "work", place, "--shard", f"{number}/2").code == 0
    finalized = geoseg(capsys, "finalize", place)
    assert finalized.code == 0
    assert sum("per cent" in message for message in caplog.messages) == 1
    assert finalized.out.splitlines() == [str(out)]


def test_several_rasters_in_one_plan(tmp_path: Path, raster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a run in the given folder; what is finished is not planned again."""
    other = make_raster(tmp_path / "other.tif", patches()[::-1].astype(np.uint8)[None], nodata=0)
    out, runs = tmp_path / "polygons", tmp_path / "runs"
    out.mkdir(), runs.mkdir()
    arguments = ("plan", "polygonize", raster, other, "--out", out, "--run", runs)
    assert geoseg(capsys, *arguments).out.splitlines()[-1] == f"geoseg finalize {runs}"
    assert geoseg(capsys, "work", runs).code == geoseg(capsys, "finalize", runs).code == 0
    for path in (raster, other):
        with PolygonizeJob(PolygonizeConfig(path, tmp_path / "whole.gpkg", overwrite=True)) as job:
            list(job.run())
        assert sha256(out / f"{path.stem}-polygons.gpkg") == sha256(tmp_path / "whole.gpkg")
    assert geoseg(capsys, *arguments).out == ""


def test_stripes_are_whole_blocks_of_the_file(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "map.tif", np.ones((1, 2000, 300), np.uint8), nodata=0)
    with ClassRaster(path) as raster:
        found = stripes(raster, 300 * 600)
        assert [(block.window.rows.start, block.window.rows.stop) for block in found] == [
            (0, 512), (512, 1024), (1024, 1536), (1536, 2000),
        ]  # fmt: skip
        assert all(block.window.cols == raster.scene.extent.cols for block in found)
        assert [len(block.window.rows) for block in stripes(raster, 1)] == [256] * 7 + [208]
