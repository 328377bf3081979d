"""Outputs in a cloud store: how they are put, what a failure leaves, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.commandline import Outcome, assert_refused, geoseg
from helpers.objects import BUCKET, Proxy
from helpers.rasters import landscape, make_raster

import geoseg as library
from geoseg.files import cloud
from geoseg.files.atomic import sha256
from geoseg.files.bucket import Bucket
from geoseg.files.record import parse_record
from geoseg.location import Remote

SIDE = 512
SHARED = ("--min-area", "20px", "--block-size", SIDE)

Geoseg = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path) -> str:
    """URL of a folder in the bucket for this test."""
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def call(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> Geoseg:
    """Return a function: run geoseg in a folder with a scene of 2 blocks, and a folder for temporary files."""
    make_raster(tmp_path / "scene.tif", landscape(200, SIDE + 60))
    (tmp_path / "geoseg-model.safetensors").symlink_to(model_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1577836800")  # the date in a GeoPackage
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(cloud, "PATIENCE", cloud.Patience(retries=2, seconds=5.0, longest=0.2, answers=3))
    return lambda *arguments: geoseg(capsys, *arguments)


def outputs(folder: str) -> tuple[object, ...]:
    """Options for all outputs, in one folder."""
    named = {"-o": "map.tif", "--confidence": "sure.tif", "--polygons": "map.gpkg", "--areas": "areas.csv"}
    return tuple(word for option, name in named.items() for word in (option, f"{folder}/{name}"))


def put(home: str) -> dict[str, bytes]:
    """Name -> content of the objects in the folder of this test."""
    bucket, folder = Bucket(Remote(home)), home.split("/", 3)[3]
    keys = [key for key, _ in bucket.keys(f"{folder}/")]
    return {key.removeprefix(f"{folder}/"): (bucket.read(key) or (b"",))[0] for key in keys}


def local(folder: str) -> dict[str, bytes]:
    """Name -> content of the files in a folder."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def left() -> list[str]:
    """Names of the files that are left on this machine."""
    return [path.name for path in Path("tmp").rglob("*") if path.is_file()]


def test_law_2_a_map_and_its_run_in_a_bucket_are_those_on_this_machine(call: Geoseg, proxy: Proxy, home: str) -> None:
    Path("here").mkdir()
    assert call("predict", "scene.tif", *outputs("here"), *SHARED).code == 0
    expected = local("here")
    planned = call("plan", "scene.tif", *outputs(home), *SHARED, "--shards", 2)
    assert planned.code == 0, planned.err
    lines = planned.out.splitlines()
    assert lines == [
        *(f"geoseg work {home}/map.tif.run --shard {number}/2" for number in (1, 2)),
        f"geoseg finalize {home}/map.tif.run",
    ]
    # Of each kind of request, some fail.
    for number, kind in enumerate(("lose", "503", "503-after") * 2):
        for method in ("PUT", "GET", "HEAD", "POST"):
            proxy.fault(kind, method=method, skip=1 + number)
    for line in lines[:2]:
        outcome = call(*line.split()[1:])
        assert outcome.code == 0, outcome.err
    assert (
        f"{home}/map.tif.run: 2 of 2 blocks finished"
        in call("status", f"{home}/map.tif.run").err + call("status", f"{home}/map.tif.run").out
    )
    final = call(*lines[2].split()[1:])
    assert (final.code, final.out) == (0, f"{home}/map.tif\n"), final.err
    assert put(home) == expected
    assert left() == []
    assert sum(fault.happened for fault in proxy.faults) > 15
    assert call("status", f"{home}/map.tif").code == 0


def test_a_failure_while_outputs_are_put_is_continued_and_leaves_no_record(
    call: Geoseg, proxy: Proxy, home: str
) -> None:
    assert call("predict", "scene.tif", *outputs(home), *SHARED).code == 0
    first = put(home)
    again = ("predict", "scene.tif", "-o", f"{home}/map.tif", "--block-size", SIDE)
    assert_refused(call(*again), 73, f"{home}/map.tif: exists already; --overwrite replaces it")
    assert put(home) == first
    proxy.fault("503", key=r"map\.geoseg", times=1000)
    failed = call(*again, "--overwrite")
    assert failed.code == 74
    assert f"{home}/map.geoseg.json: cannot be written" in failed.err
    assert "map.geoseg.json" not in put(home)
    assert ".map.tif.placing" in put(home)
    assert call("status", f"{home}/map.tif").out.startswith(str(Path.cwd() / "tmp"))
    proxy.faults.clear()
    # What an interrupted process put may be replaced.
    outcome = call(*again)
    assert outcome.code == 0, outcome.err
    assert "2 of 2 blocks were finished before" in outcome.err
    found = put(home)
    record = parse_record(Path("x"), json.loads(found["map.geoseg.json"]))
    assert all(hashlib.sha256(found[path.name]).hexdigest() == digest for path, digest in record.files.items())
    assert not any(name.startswith(".") for name in found)


def test_a_run_that_could_not_be_removed_is_finished_by_the_same_command(call: Geoseg, proxy: Proxy, home: str) -> None:
    command = ("predict", "scene.tif", "-o", f"{home}/map.tif", "--run", f"{home}/run", "--block-size", SIDE)
    proxy.fault("503", method="POST", times=1000, skip=6)
    failed = call(*command)
    assert (failed.code, failed.out) == (74, "")
    assert {"map.tif", "map.geoseg.json", ".map.tif.placing"} <= set(put(home))
    assert any(name.startswith("run/part-") for name in put(home))
    proxy.faults.clear()
    outcome = call(*command)
    assert outcome.code == 0, outcome.err
    assert {name for name in put(home) if name.startswith((".", "run/"))} == set()


def test_what_is_refused(call: Geoseg, home: str) -> None:
    mixed = call("predict", "scene.tif", "-o", f"{home}/map.tif", "--confidence", "sure.tif")
    assert_refused(mixed, 78, "all outputs of a command go into one bucket, or none does")
    make_raster(Path("classes.tif"), np.ones((1, 8, 8), np.uint8))
    assert_refused(call("polygonize", "classes.tif", "-o", f"{home}/a.gpkg"), 73, f"{home}/a.gpkg: this command writes")
    Path("geoseg-model.safetensors").unlink()
    assert_refused(call("predict", "scene.tif", "-o", f"{home}/map.tif"), 78, "learn one with geoseg train")
    assert_refused(
        call("superpixels", "s3://maps/none.tif", "-o", "s3://nowhere/ids.tif", "--allow-remote"), 66, "no such file"
    )
    assert put(home) == {}


def test_superpixels_from_a_bucket_into_a_bucket(call: Geoseg, home: str) -> None:
    bucket, folder = Bucket(Remote(home)), home.split("/", 3)[3]
    bucket.upload(f"{folder}/scene.tif", Path("scene.tif"), sha256(Path("scene.tif")))
    assert library.superpixels("scene.tif", "ids.tif").path == Path("ids.tif")
    found = library.superpixels(f"{home}/scene.tif", f"{home}/ids.tif", allow_remote=True)
    assert str(found.path) == f"{home}/ids.tif".replace("//", "/")
    assert {"ids.tif", "ids.qml", "ids.geoseg.json", "scene.tif"} == set(put(home))
    same = call("superpixels", f"{home}/scene.tif", "-o", f"{home}/scene.tif", "--allow-remote", "--overwrite")
    assert_refused(same, 73, f"{home}/scene.tif: is the input itself")
