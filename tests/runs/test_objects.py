"""Runs in a cloud store, on a real S3 server behind a proxy that makes requests fail."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.objects import BUCKET, Proxy
from numpy.typing import NDArray

from geoseg.errors import InputError, InputMissingError, LockedError, RunError, SettingError
from geoseg.files.bucket import Bucket
from geoseg.grid import Block, Window
from geoseg.location import Remote
from geoseg.runs.objects import ObjectStore
from geoseg.runs.run import Run
from geoseg.runs.status import status
from geoseg.runs.store import open_store

FINGERPRINT = {"scene": {"bytes": 7}}
BLOCKS = [Block(index, Window.of(0, 50 * index, 40, 50)) for index in range(40)]
BLOCK = BLOCKS[3]


def layers(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Two layers of a part."""
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 9, (40, 50), dtype=np.uint8) for name in ("classes", "confidence")}


@pytest.fixture
def place(proxy: Proxy, tmp_path: Path) -> Remote:
    """A place for the run of this test."""
    return Remote(f"s3://{BUCKET}/{tmp_path.name}/map.run")


@pytest.fixture
def run(place: Remote) -> Run:
    """A run that was planned, joined by this process."""
    with Run(place, FINGERPRINT, blocks=len(BLOCKS)):
        pass
    return Run.join(place)


def names(place: Remote) -> list[str]:
    """The names of the objects of a run."""
    return list(open_store(place).names())


def test_a_part_is_kept_and_found_again(run: Run, place: Remote) -> None:
    assert run.claim(BLOCK)
    run.keep(BLOCK, layers())
    run.release(BLOCK)
    run.keep(BLOCKS[4], {})
    again = Run.join(place)
    assert [again.has(block) for block in BLOCKS[3:6]] == [True, True, False]
    for name, values in layers().items():
        with rasterio.open(again.part(BLOCK, name)) as file:
            np.testing.assert_array_equal(file.read(1), values)
    assert not again.part(BLOCKS[4], "classes").exists()
    assert names(place) == [
        "manifest.json", "part-000003-classes.tif", "part-000003-confidence.tif", "part-000003.json",
        "part-000004.json",
    ]  # fmt: skip
    found = status(place)
    assert (found.finished, found.damaged, found.blocks, found.working) == (2, 0, 40, False)
    assert found.bytes > 0


@pytest.mark.parametrize("kind", ["lose", "cut", "503", "503-after"])
@pytest.mark.parametrize("key", ["classes.tif", "part-000003.json", "claim-000003", "manifest.json"])
def test_no_fault_of_a_put_changes_what_is_kept(proxy: Proxy, place: Remote, kind: str, key: str) -> None:
    fault = proxy.fault(kind, key=key, times=2)
    with Run(place, FINGERPRINT) as run:
        assert run.claim(BLOCK)
        run.keep(BLOCK, layers())
        run.release(BLOCK)
        assert fault.happened
        assert run.has(BLOCK)
        with rasterio.open(run.part(BLOCK, "classes")) as file:
            np.testing.assert_array_equal(file.read(1), layers()["classes"])
    assert [name for name in names(place) if not name.startswith("part-")] == ["manifest.json"]


def test_many_blocks_are_looked_at_and_read_several_at_a_time(run: Run, place: Remote, proxy: Proxy) -> None:
    kept = [*range(5, 25), 30]
    for index in kept:
        run.keep(BLOCKS[index], {"classes": np.full((2, 2), index, np.uint8)} if index != 7 else {})
    again = Run.join(place)
    proxy.requests.clear()
    assert [block.index for block, finished in again.look_at(BLOCKS) if finished] == kept
    # One listing, a record for each finished block, and a look at its raster; none for blocks that are missing.
    assert dict(proxy.count()) == {"LIST": 1, "GET": 21, "HEAD": 20}
    proxy.requests.clear()
    for index in kept:
        path = again.part(BLOCKS[index], "classes")
        assert path.exists() == (index != 7)
        if path.exists():
            with rasterio.open(path) as file:
                assert (file.read(1) == index).all()
    asked = [path for method, path in proxy.requests if method == "GET"]
    assert len(asked) == len(set(asked))
    again.store.discard()


def test_bursts_of_refusals_while_a_part_is_read_are_waited_for(run: Run, proxy: Proxy) -> None:
    run.keep(BLOCK, layers())
    for method in ("GET", "HEAD"):
        proxy.fault("503", method=method, times=3)
    proxy.fault("lose", method="GET", key="classes")
    assert run.has(BLOCK)
    with rasterio.open(run.part(BLOCK, "classes")) as file:
        np.testing.assert_array_equal(file.read(1), layers()["classes"])


def test_two_workers_of_one_block_keep_the_same_part(run: Run, place: Remote) -> None:
    other = Run.join(place)
    run.keep(BLOCK, layers())
    before = names(place)
    other.keep(BLOCK, layers())
    assert names(place) == before


def test_other_pixels_of_a_part_are_an_error_that_says_so(run: Run, place: Remote) -> None:
    run.keep(BLOCK, layers())
    with pytest.raises(RunError, match=r"part-000003-classes.tif: holds other content .* --restart"):
        run.keep(BLOCK, layers(1))
    store = open_store(place)
    with pytest.raises(RunError, match=r"part-000003.json: holds other content"):
        store.write("part-000003.json", b"{}")
    assert run.has(BLOCK)


def test_a_block_has_one_claim(run: Run, place: Remote) -> None:
    other = Run.join(place)
    assert run.claim(BLOCK)
    assert not other.claim(BLOCK)
    assert status(place).working
    run.release(BLOCK)
    assert other.claim(BLOCK)
    other.close()
    assert names(place) == ["manifest.json"]


def test_a_run_that_is_gone_is_not_made_again(run: Run, place: Remote) -> None:
    with Run(place, FINGERPRINT) as other:
        other.discard()
    with pytest.raises(InputMissingError, match=r"map\.run: is gone"):
        run.claim(BLOCK)
    assert names(place) == []


def test_a_worker_whose_claim_was_taken_publishes_no_record(
    run: Run, place: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.claim(BLOCK)
    claim: Any = run._claims[BLOCK.index]
    Bucket(place).put(f"{place.url.split('/', 3)[3]}/claim-000003", json.dumps({"host": "b", "pid": 1}).encode())
    monkeypatch.setattr(claim, "_renewed", claim._renewed - 61)
    with pytest.raises(LockedError, match="process 1 on b took over"):
        run.keep(BLOCK, layers())
    assert not run.has(BLOCK)
    run.close()
    assert "claim-000003" in names(place)


def test_a_worker_killed_between_part_and_record_leaves_a_block_that_is_computed_again(run: Run, place: Remote) -> None:
    script = """
        import os, sys
        from geoseg.location import Remote
        from geoseg.runs.objects import ObjectStore
        sys.path[:0] = sys.argv[2:]
        from runs.test_objects import BLOCK, layers
        from geoseg.runs.run import Run
        ObjectStore.write = lambda *_, **__: os._exit(9)
        run = Run.join(Remote(sys.argv[1]))
        assert run.claim(BLOCK)
        run.keep(BLOCK, layers())
    """
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script), place.url, tests], check=False)
    assert ended.returncode == 9
    assert names(place) == [
        "claim-000003", "manifest.json", "part-000003-classes.tif", "part-000003-confidence.tif",
    ]  # fmt: skip
    assert not run.has(BLOCK)
    # The process was of this machine, so that its claim is free at once.
    assert run.claim(BLOCK)
    run.keep(BLOCK, layers())
    run.release(BLOCK)
    assert run.has(BLOCK)


def test_a_part_that_was_damaged_is_noticed(run: Run, place: Remote) -> None:
    run.keep(BLOCK, layers())
    bucket, key = Bucket(place), f"{place.url.split('/', 3)[3]}/part-000003-classes.tif"
    content = bucket.read(key)
    assert content is not None
    bucket.put(key, b"damaged", content[1].digest)
    with pytest.raises(InputError, match="does not match its checksum; delete this object"):
        run.part(BLOCK, "classes")
    bucket.put(key, b"damaged")
    assert not run.has(BLOCK)
    assert status(place).damaged == 1


def test_one_process_coordinates_and_others_are_told_who(place: Remote) -> None:
    with Run(place, FINGERPRINT), pytest.raises(LockedError, match=r"map.run: process \d+ on .* is at work there"):
        Run(place, FINGERPRINT)
    with pytest.raises(RunError, match="a different scene"):
        Run(place, {"scene": {"bytes": 8}})
    with Run(place, {"scene": {"bytes": 8}}, restart=True) as run:
        run.discard()
    assert names(place) == []


def test_discarding_leaves_what_is_not_of_the_run(place: Remote) -> None:
    bucket, folder = Bucket(place), place.url.split("/", 3)[3]
    for name in ("notes.txt", "deeper/manifest.json"):
        bucket.put(f"{folder}/{name}", b"mine")
    with Run(place, FINGERPRINT) as run:
        run.keep(BLOCK, layers())
        scratch = run.store.scratch
        run.part(BLOCK, "classes")
        assert scratch.is_dir()
        run.discard()
        assert not scratch.exists()
    left = [key.removeprefix(f"{folder}/") for key, _ in bucket.keys(f"{folder}/")]
    assert left == ["deeper/manifest.json", "notes.txt"]


@pytest.mark.parametrize(
    ("url", "words"),
    [("s3://maps", "is a whole bucket"), ("https://host/run", "a run is kept in a folder, or in a cloud store")],
)
def test_what_is_no_place_for_a_run(proxy: Proxy, url: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        open_store(Remote(url))


def test_names_are_those_of_one_folder(place: Remote) -> None:
    store, beside = ObjectStore(place), ObjectStore(Remote(f"{place.url}2/"))
    store.write("part-000001.json", b"{}")
    beside.write("part-000002.json", b"{}")
    assert list(store.names("part-")) == ["part-000001.json"]
