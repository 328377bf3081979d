"""Which label raster belongs to which image: by the subfolder, then the stem, then the stem in any case."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.rasters import landscape, make_raster

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.evaluation.pairing import find_images, find_labels, refuse_vectors
from geoseg.location import local
from geoseg.raster.folders import find_rasters


def touched(folder: Path, *names: str) -> list[Path]:
    """Files of these names under `folder`; nobody looks into them."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


LAYOUTS = [
    # folder of images, folder of labels, name of an image and of its label
    ("images", "labels", "{tile}/part.png", "{tile}/part.png"),
    ("images", "labels", "{tile}/part.JPG", "{tile}/part_mask.png"),
    ("data", "data", "{tile}/images/part.jpg", "{tile}/masks/part.png"),
    ("train", "train/labels", "images/{tile}/part.tif", "{tile}/part.tif"),
    ("images", "labels", "{tile}/part.png", "Masks/{tile}/PART.png"),
]


@pytest.mark.parametrize(("data", "labels", "image", "label"), LAYOUTS)
def test_labels_in_parallel_subfolders(data: str, labels: str, image: str, label: str, tmp_path: Path) -> None:
    tiles = ("tile1", "tile2", "north/tile1")
    images = sorted(touched(tmp_path / data, *(image.format(tile=tile) for tile in tiles)))
    wanted = touched(tmp_path / labels, *(label.format(tile=tile) for tile in tiles))
    found = find_images(find_rasters(tmp_path / data), tmp_path / labels, tmp_path / data)
    assert found == images
    pairs = dict(zip(images, find_labels(found, tmp_path / labels, tmp_path / data), strict=True))
    for tile, expected in zip(tiles, wanted, strict=True):
        assert pairs[tmp_path / data / image.format(tile=tile)] == expected


def test_case_counts_only_where_it_decides(tmp_path: Path) -> None:
    (image,) = touched(tmp_path / "i", "Tile_1.PNG")
    (lower,) = touched(tmp_path / "l", "tile_1_label.png")
    assert find_labels([image], tmp_path / "l") == [lower]
    (same,) = touched(tmp_path / "l", "Tile_1.tif")
    assert find_labels([image], tmp_path / "l") == [same]
    same.unlink()
    touched(tmp_path / "l", "TILE_1.png")
    with pytest.raises(InputError, match="has several label rasters"):
        find_labels([image], tmp_path / "l")


def test_one_label_is_not_that_of_two_images(tmp_path: Path) -> None:
    images = touched(tmp_path / "i", "tile1/part.png", "tile2/part.png")
    (label,) = touched(tmp_path / "l", "tile2/part.png")
    with pytest.raises(InputError, match=r"tile2/part\.png: has no label raster of its own, as .* is that of"):
        find_labels(images, tmp_path / "l", tmp_path / "i")
    assert find_labels(images[1:], tmp_path / "l", tmp_path / "i") == [label]


def test_what_is_no_image_is_left_out_of_both_sides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = touched(tmp_path, "a.tif", "a_thumb.jpg", "a_gt.png", "old/masks/a.png")
    (tmp_path / "l").symlink_to(tmp_path / "elsewhere")
    (label,) = touched(tmp_path / "elsewhere", "a.png")
    found = find_images(find_rasters(tmp_path), tmp_path / "l", tmp_path)
    assert local(*found)[:1] == (images[0],)
    assert find_labels(images[:1], tmp_path / "l", tmp_path) == [tmp_path / "l" / label.name]
    assert "2 label rasters" in caplog.text
    assert "1 preview (a_thumb.jpg)" in caplog.text


def test_polygons_are_refused_with_the_command_for_this_image(tmp_path: Path) -> None:
    image = make_raster(tmp_path / "scene.tif", landscape(20, 30))
    for name, body, kind in (
        ("l.gpkg", b"SQLite format 3\0", "GeoPackage"),
        ("l.geojson", b'{"type": "Feature"', "GeoJSON"),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(InputError) as raised:
            refuse_vectors(tmp_path / name, image, Opening())
        message = str(raised.value)
        assert kind in message
        assert f"-te 400000 5799990 400015 5800000 -ts 30 20 {tmp_path / name} {tmp_path / 'l.tif'}" in message
    refuse_vectors(image, image, Opening())
    with pytest.raises(InputError, match="2 vector files, for gdal_rasterize"):
        find_labels(touched(tmp_path / "i", "x.tif"), touched(tmp_path / "v", "a.gpkg", "b.shp")[0].parent)
