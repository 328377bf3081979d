"""Labels: what a label map may say, which rasters are labels, and which label belongs to which image."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.rasters import landscape, make_raster
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from geoseg.classes import IGNORED
from geoseg.errors import BandError, InputError, InputMissingError
from geoseg.evaluation.label_map import LabelMap, read_label_map
from geoseg.evaluation.labels import LabelRaster
from geoseg.evaluation.pairing import find_images, find_labels


def written(path: Path, text: str) -> Path:
    """The file at `path`, with this text."""
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"0": "ground", "4": "ground", "1": "house", "9": null}'),
        ("m.json", '{"1": {"name": "house"}, "4": {"name": "ground", "id": 0}, "0": "ground", " 9 ": null}'),
        ("m.csv", "value,name\n0,ground\n4,ground\n1,house\n9,\n"),
        ("m.csv", "\ufeffname, value, id\r\nhouse, 1,\r\nground, 4, 0\r\nground, 0,\r\n, 9,\r\n"),
    ],
)
def test_a_label_map_of_values(name: str, text: str, tmp_path: Path) -> None:
    found = read_label_map(written(tmp_path / name, text))
    assert (found.ids, found.names, found.colours) == ((0, 1), ("ground", "house"), False)
    assert found.index == {0: 0, 4: 0, 1: 1, 9: IGNORED}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"255,255,255": "road", "#0000FF": "house", "255, 255, 0": "road", "255,0,0": null}'),
        ("m.csv", 'value,name\n"255,255,255",road\n#0000ff,house\n"255,255,0",road\n"255,0,0",\n'),
    ],
)
def test_a_label_map_of_colours(name: str, text: str, tmp_path: Path) -> None:
    found = read_label_map(written(tmp_path / name, text))
    assert (found.ids, found.names, found.colours) == ((1, 2), ("road", "house"), True)
    assert found.index == {0xFFFFFF: 0, 0x0000FF: 1, 0xFFFF00: 0, 0xFF0000: IGNORED}
    assert found.format_value(0x0102FF) == "1,2,255"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.json", "[1, 2]", "not a single JSON object"),
        ("m.json", '{"1": "a", "1": "b"}', "1 appears twice"),
        ("m.json", '{"#ff0000": "a", "255,0,0": "b"}', "#ff0000 appears twice"),
        ("m.json", '{"1": "a", "255,0,0": "b"}', "'1' is not a colour"),
        ("m.json", '{"256,0,0": "a"}', "'256,0,0' is not a colour"),
        ("m.json", '{"1": "a", "2": {"name": "a", "id": 7}}', "a has two ids, 1 and 7"),
        ("m.json", '{"1": "a", "2": {"name": "b", "id": 1}}', "two names have the same id"),
        ("m.json", '{"1": 2}', "1 stands for 2, which is not a name"),
        ("m.json", '{"1": [2]}', "not a name"),
        ("m.json", '{"1": {"id": 2}}', "'name' is missing"),
        ("m.json", '{"1": null}', "names no class"),
        ("m.json", "{}", "names no class"),
        ("m.json", '{"1": "a"', "line 1"),
        ("m.csv", "number,name\n1,a\n", "'value' is missing"),
        ("m.csv", "value;name\n1;a\n", "'value' is missing"),
        ("m.csv", "value,name,id\n1,a,b\n", "'b'"),
        ("m.csv", "value,name\n", "names no class"),
    ],
)
def test_a_file_that_is_not_a_label_map_is_refused_in_one_line(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    path = written(tmp_path / name, text)
    with pytest.raises(InputError) as raised:
        read_label_map(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: is not a label map (")
    assert words in message
    assert "docs/commands/evaluate.md" in message
    assert "\n" not in message


def test_a_label_map_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        read_label_map(tmp_path / "none.json")
    (tmp_path / "m.csv").write_bytes(b"value,name\n1,\xff\xfe\n")
    with pytest.raises(InputError, match="is not a label map"):
        read_label_map(tmp_path / "m.csv")


@given(st.lists(st.integers(-5, 300), min_size=1, max_size=9, unique=True), st.integers(0, 1000))
def test_class_indices_are_those_of_the_index(values: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    ignored = [value for value in values if random.random() < 0.3]
    label_map = LabelMap.from_values(values, ignored)
    assert label_map.ids == tuple(sorted(set(values) - set(ignored)))
    pixels = random.choice(values, size=(7, 8))
    valid = random.random((7, 8)) < 0.8
    pixels[~valid] = 999
    indices = label_map.class_indices(pixels, valid)
    for value, good, index in zip(pixels.ravel(), valid.ravel(), indices.ravel(), strict=True):
        assert index == (label_map.ids.index(value) if good and value not in ignored else IGNORED)
    with pytest.raises(KeyError, match="label value 999"):
        label_map.class_indices(np.full_like(pixels, 999), np.ones_like(valid))


def test_ignoring_leaves_out_classes_without_a_value() -> None:
    given_map = LabelMap((1, 2, 3), ("a", "b", "c"), {10: 0, 20: 1, 21: 1, 30: 2})
    found = given_map.ignoring([10, 21, 77])
    assert (found.ids, found.names) == ((2, 3), ("b", "c"))
    assert found.index == {10: IGNORED, 20: 0, 21: IGNORED, 30: 1, 77: IGNORED}


def test_label_rasters_are_read_as_stored(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    path = tmp_path / "palette.tif"
    make_raster(path, ids, colorinterp=[ColorInterp.palette], nodata=5)
    import rasterio

    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (i, 0, 255 - i, 255) for i in range(12)})
    with LabelRaster(path) as labels:
        values, valid = labels.read(labels.scene.extent)
        np.testing.assert_array_equal(values, ids[0])
        np.testing.assert_array_equal(valid, ids[0] != 5)
        assert labels.distinct_values([labels.scene.extent]) == set(range(12)) - {5}
    with LabelRaster(path, colours=True) as labels:
        values, _ = labels.read(labels.scene.extent)
        np.testing.assert_array_equal(values, ids[0].astype(int) * 65536 + 255 - ids[0])


def test_what_cannot_be_labels_is_refused(tmp_path: Path) -> None:
    ids = np.zeros((1, 40, 50), np.uint8)
    three = make_raster(tmp_path / "three.tif", landscape(40, 50))
    many = make_raster(tmp_path / "many.tif", landscape(40, 50, bands=6))
    one = make_raster(tmp_path / "one.tif", ids)
    deep = make_raster(tmp_path / "deep.tif", landscape(40, 50).astype(np.uint16))
    real = make_raster(tmp_path / "real.tif", ids.astype(np.float32))
    lossy = make_raster(tmp_path / "lossy.jpg", ids, driver="JPEG", crs=None, transform=None)
    for path, colours, kind, words in (
        (three, False, BandError, "has 3 bands of uint8.*--label-map"),
        (many, False, BandError, "more than four bands.*--label-map"),
        (one, True, BandError, "three bands of uint8"),
        (deep, True, BandError, "three bands of uint8"),
        (real, False, InputError, "gdal_translate -ot Int32"),
        (lossy, False, InputError, "PNG or GeoTIFF"),
    ):
        with pytest.raises(kind, match=words) as raised:
            LabelRaster(path, colours)
        assert str(raised.value).startswith(f"{path}: ")
    wild = make_raster(tmp_path / "wild.tif", np.arange(2000, dtype=np.uint16).reshape(1, 40, 50))
    with LabelRaster(wild) as labels, pytest.raises(InputError, match="more than 256 different values"):
        labels.distinct_values([labels.scene.extent])


def touched(folder: Path, *names: str) -> list[Path]:
    """Files of these names under `folder`; nobody looks into them."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_labels_are_found_by_the_names_of_their_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = touched(tmp_path / "i", "a.tif", "b.jpg", "c.tif", "d.png", "e.tif", "t_RGBIR.tif", "sub/f.tif")
    wanted = touched(
        tmp_path / "l", "a.png", "b_label.tif", "c_labels.png", "d_gt.png", "e_mask.TIF", "t_label.tif", "x/y/f.png"
    )
    touched(tmp_path / "l", "a.txt", "b_label.tif.aux.xml")
    assert find_labels(images, tmp_path / "l") == wanted
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        assert find_labels(images[:4], tmp_path / "l") == wanted[:4]
    assert "3 label rasters without an image" in caplog.text


def test_one_file_is_the_label_of_one_image(tmp_path: Path) -> None:
    one, two, label = touched(tmp_path, "one.tif", "two.tif", "any.tif")
    assert find_labels([one], label) == [label]
    with pytest.raises(InputError, match="one file for 2 images"):
        find_labels([one, two], label)
    with pytest.raises(InputMissingError):
        find_labels([one], tmp_path / "none")


def test_a_label_that_is_missing_or_doubled_is_named(tmp_path: Path) -> None:
    a, b = touched(tmp_path / "i", "a.tif", "b.tif")
    touched(tmp_path / "l", "a.png", "a_gt.png")
    with pytest.raises(InputError) as raised:
        find_labels([b], tmp_path / "l")
    assert str(raised.value).startswith(f"{b}: has no label raster in {tmp_path / 'l'}; looked for b.png")
    with pytest.raises(InputError) as raised:
        find_labels([a], tmp_path / "l")
    assert str(raised.value).startswith(f"{a}: has several label rasters")
    assert "a_gt.png" in str(raised.value)


def test_images_are_what_is_not_labels(tmp_path: Path) -> None:
    inside = touched(tmp_path / "one", "images/a.tif", "images/b.tif", "labels/a.png", "labels/b.png")
    assert find_images(inside, tmp_path / "one" / "labels") == inside[:2]
    mixed = touched(tmp_path / "two", "a.tif", "a_label.tif", "b.tif", "b_gt.png")
    assert find_images(mixed, tmp_path / "two") == [mixed[0], mixed[2]]
    assert find_labels([mixed[0], mixed[2]], tmp_path / "two") == [mixed[1], mixed[3]]
    assert find_images(mixed[:2], mixed[1]) == mixed[:1]
