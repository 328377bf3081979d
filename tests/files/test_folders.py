"""Folders of any number of files: gone through without a list, and deleted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import geoseg.files.folders
from geoseg.files.atomic import publish_bytes
from geoseg.files.folders import names, remove_files, remove_folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files, folders, and links to what lies outside of it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    folder = tmp_path / "tree"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("one", "two", "a/three", "a/b/four"):
        (folder / name).touch()
    (folder / "folder link").symlink_to(tmp_path / "outside")
    (folder / "a" / "file link").symlink_to(tmp_path / "outside" / "file")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    return folder


def test_a_folder_is_deleted_and_what_links_lead_to_stays(tree: Path) -> None:
    remove_folder(tree)
    assert not tree.exists()
    assert [path.name for path in (tree.parent / "outside").iterdir()] == ["file"]


def test_what_a_listing_leaves_out_is_deleted_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def some(folder: Path) -> Iterator[str]:
        # As file systems do that forget entries while others are being deleted.
        yield from sorted(names(folder))[:2]

    monkeypatch.setattr(geoseg.files.folders, "names", some)
    remove_files(tree, lambda name: name in ("one", "two", "dangling", "folder link"))
    assert [path.name for path in tree.iterdir()] == ["a"]
    remove_folder(tree)
    assert not tree.exists()


def test_a_folder_that_cannot_be_emptied_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(PermissionError):
        remove_folder(tree)


def test_a_file_is_published_without_a_listing_of_a_folder_of_millions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the folder is listed")

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refused)
    publish_bytes(tmp_path / "part-000001.json", b"{}", own=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["part-000001.json"]
