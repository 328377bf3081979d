"""The parts that a run has, without a list of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg.grid import Window, partition
from geoseg.runs.folder import FolderStore
from geoseg.runs.parts import VECTOR_PART, Parts


def test_blocks_that_have_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = partition(Window.of(0, 0, 30, 50), 10)
    there = ["part-000007-classes.tif", "part-000001-classes.tif", "part-000013-classes.tif"]
    others = [
        "part-000002-classes.tif.aux.xml", "part-000003.json", "part-000004-confidence.tif", "part-000015-classes.tif",
        "part-sieved-000005-classes.tif", ".part-000006-classes.host.7.tmp.tif", "part-000008-classes.arrow",
        "claim-000009", "part--00010-classes.tif", "part-classes.tif", "part-\u00b2-classes.tif",
    ]  # fmt: skip
    for name in (*there, *others):
        (tmp_path / name).touch()
    store, listings = FolderStore(tmp_path), []
    names = store.names

    def counted(prefix: str = "") -> Iterator[str]:
        listings.append(prefix)
        return names(prefix)

    monkeypatch.setattr(store, "names", counted)
    parts = Parts(store, "classes", blocks)
    for _ in range(2):
        assert list(parts) == [(blocks[i], tmp_path / f"part-{i:06d}-classes.tif") for i in (1, 7, 13)]
    assert listings == ["part-"]
    assert [block.index for block, _ in Parts(store, "classes", blocks[5:13])] == [7]
    assert [block.index for block, _ in Parts(store, "classes", blocks, VECTOR_PART)] == [8]
    assert list(Parts(store, "classes", blocks[:0])) == []


def test_a_run_of_more_than_a_million_blocks(tmp_path: Path) -> None:
    blocks = partition(Window.of(0, 0, 2_000, 1_000), 1)
    (tmp_path / "part-1999999-classes.tif").touch()
    assert [block.index for block, _ in Parts(FolderStore(tmp_path), "classes", blocks[1_999_990:])] == [1_999_999]
