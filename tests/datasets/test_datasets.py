"""The datasets: what the protocols say, written down a second time, on folders of the real layouts in miniature."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.miniatures import (
    TRAIN,
    VAL,
    make_coco,
    make_patches,
    make_real_coco,
    make_real_potsdam,
    make_tiles,
    painted,
    random_classes,
)
from helpers.rasters import landscape, make_raster
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from geoseg.classes import IGNORED
from geoseg.datasets import cocostuff, open_dataset, recognise
from geoseg.datasets.bad_images import BadImages
from geoseg.datasets.cocostuff import CocoStuff
from geoseg.datasets.cocostuff_files import LISTS, find_list
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.folders import read_list
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.datasets.potsdam import Potsdam
from geoseg.datasets.potsdam_tiles import LABELLED_TILES, open_tiles
from geoseg.datasets.resize import centre_crop, shrink_image, shrink_labels, shrunk_length
from geoseg.errors import BandError, InputError, InputMissingError, SettingError
from geoseg.grid import Window
from geoseg.learning.imagery import Imagery
from geoseg.learning.patches import PatchSampler
from geoseg.raster.statistics import band_stats
from geoseg.recipes import SuperpixelConfig

MERGED = {0: 0, 4: 0, 1: 1, 5: 1, 2: 2, 3: 2}

# As the protocol is written down, 15 classes in order.
IDS = """
101,102 | 100,113-117 | 120,121,152,169 | 97,106,107,109,111,122,129,132,155,160,164 | 99,131,138,142 |
91,92,103,104,108,130,136,140,151,166,167 | 170-176 | 179,180 | 94,95,127,150,157,165 |
110,124,125,135,139,143,144,146,148,153,158 | 93,96,118,123,128,133,141,162,168 | 105,156 |
126,134,149,159,161,181 | 98,112,137,145,163 | 119,147,154,177,178
"""
CLASS_OF = {
    i: index
    for index, part in enumerate(IDS.split("|"))
    for first, last in ((s.split("-") * 2)[:2] for s in part.split(","))
    for i in range(int(first), int(last) + 1)
}
FEW = {11: 0, 10: 1, 9: 2}


def names(dataset: Dataset) -> list[str]:
    return [source.path.name for source in dataset.sources]


def raster(path: Path) -> NDArray[Any]:
    """All pixels of a raster, read by other code than the library's."""
    import rasterio

    with rasterio.open(path) as file:
        return file.read()


# Potsdam


def test_patches_are_cut_tile_by_tile_and_row_by_row(tmp_path: Path) -> None:
    folder = make_tiles(tmp_path, {"6_7": True, "2_10": False, "6_10": True}, shape=(850, 1250))
    with Potsdam(folder) as found:
        cells = [f"r0{row}_c0{col}" for row in range(2) for col in range(3)]
        assert names(found) == [f"{tile}_{cell}" for tile in ("2_10", "6_10", "6_7") for cell in cells]
        assert found.count == 18
        assert found.labelled == tuple(range(6, 18))
        assert (found.name, found.bands) == ("potsdam6", ("red", "green", "blue", "nir"))


def test_a_full_set_has_8550_patches_of_which_5400_are_labelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {2: (10, 15), 3: (10, 15), 4: (10, 16), 5: (10, 16), 6: (7, 16), 7: (7, 14)}
    every = [f"{row}_{col}" for row, cols in rows.items() for col in range(*cols)]
    labelled = [name for name in every if int(name.split("_")[1]) < 13]
    assert (len(every), len(labelled)) == (38, 24)
    folder = make_tiles(tmp_path / "small", {name: name in labelled for name in every}, shape=(15, 15))
    with ExitStack() as files:
        patches = open_tiles(folder, files, BadImages(), window_size=1)
    assert (len(patches), sum(patch.labels is not None for patch in patches)) == (8550, 5400)
    assert not caplog.records
    assert set(labelled) == LABELLED_TILES


def test_a_part_of_the_tiles_is_taken_with_a_warning(tiles: Path, caplog: pytest.LogCaptureFixture) -> None:
    Potsdam(tiles).close()
    assert [r.getMessage() for r in caplog.records] == [
        f"{tiles}: 3 tiles, 2 of them with labels; the protocol has 38 and 24, so scores are not comparable"
    ]


def test_tiles_unpacked_one_folder_deeper_are_found(tmp_path: Path, tiles: Path) -> None:
    nested = make_tiles(tmp_path, {"2_10": True, "6_10": False, "6_7": True}, nested=True)
    with Potsdam(nested) as one, Potsdam(tiles) as two:
        assert names(one) == names(two)
        assert all(np.array_equal(one.image(i)[0], two.image(i)[0]) for i in range(one.count))


def test_a_patch_is_the_mean_of_2_by_2_and_its_labels_the_first_of_them(tiles: Path) -> None:
    with Potsdam(tiles) as found:
        for index, tile, col in ((1, "2_10", 1), (2, "6_10", 0), (4, "6_7", 0)):
            whole = raster(tiles / "4_Ortho_RGBIR" / f"top_potsdam_{tile}_RGBIR.tif")[:, :, 400 * col : 400 * col + 400]
            four = [whole[:, i::2, j::2].astype(int) for i in range(2) for j in range(2)]
            pixels, valid = found.image(index)
            assert pixels.dtype == np.uint8
            assert np.array_equal(pixels, (sum(four) + 2) // 4)
            assert valid.all()
            if tile != "6_10":
                classes = random_classes(400, 800, 0 if tile == "2_10" else 2)[:, 400 * col : 400 * col + 400]
                assert np.array_equal(found.labels(index), classes[::2, ::2])
        with pytest.raises(ValueError, match="6_10_r00_c00 has no labels"):
            found.labels(2)


def test_what_is_trained_on_is_the_patch(tiles: Path) -> None:
    with Potsdam(tiles, 3) as found:
        source = found.sources[3]
        assert source.shape == (200, 200)
        assert source.bands == (1, 2, 3, 4)
        assert (source.band_names, source.dtype) == (found.bands, np.uint8)
        window = Window.of(5, 17, 60, 183)
        assert np.array_equal(source.read(window)[0], found.image(3)[0][:, 5:65, 17:200])
        assert source.read(window)[1].shape == (60, 183)
        with pytest.raises(ValueError, match="beyond an image of 200 x 200"):
            source.read(Window.of(5, 17, 60, 184))


def test_a_pixel_is_valid_where_all_four_it_is_made_of_are(tmp_path: Path) -> None:
    folder = make_tiles(tmp_path, {"2_10": True}, shape=(400, 400))
    path = folder / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif"
    pixels = raster(path)
    pixels[:, [6, 9, 20, 31], [6, 8, 23, 31]] = 0
    make_raster(path, pixels, photometric="minisblack", nodata=0)
    with Potsdam(folder) as found:
        invalid = np.argwhere(~found.image(0)[1])
    assert invalid.tolist() == [[3, 3], [4, 4], [10, 11], [15, 15]]


@pytest.mark.parametrize("classes", [3, 6])
@pytest.mark.parametrize("index", range(6))
def test_every_colour_of_potsdam(tmp_path: Path, classes: Any, index: int) -> None:
    folder = make_tiles(tmp_path, {"2_10": True}, shape=(400, 400))
    path = folder / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif"
    make_raster(path, painted(np.full((400, 400), index)))
    with Potsdam(folder, classes) as found:
        assert len(found.class_names) == classes
        assert np.unique(found.labels(0)).tolist() == [index if classes == 6 else MERGED[index]]


@pytest.mark.parametrize(
    ("colour", "told"),
    [
        ((252, 255, 0), None),
        ((8, 247, 255), None),
        ((9, 255, 255), "3 of the 40000 pixels read here belong to no class, the first has the colour (9, 255, 255)"),
        ((255, 246, 0), "3 of the 40000"),
        ((255, 0, 255), "the colour (255, 0, 255) at row 40, column 418; copy it again"),
        ((0, 0, 0), "row 40, column 418; black marks boundaries"),
    ],
)
def test_colours_of_no_class_are_counted_and_located(tmp_path: Path, colour: Any, told: str | None) -> None:
    folder = make_tiles(tmp_path, {"2_10": True})
    path = folder / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif"
    classes = painted(random_classes(400, 800))
    classes[:, [40, 42, 46], [418, 4 + 400, 500]] = np.array(colour)[:, None]
    classes[:, 41, 419] = 100
    make_raster(path, classes)
    with Potsdam(folder) as found:
        found.labels(0)
        if told is None:
            assert found.labels(1)[20, 9] == (4 if colour[2] == 0 else 2)
            return
        with pytest.raises(InputError) as caught:
            found.labels(1)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_of_labels_of_all_tiles_those_of_the_participants_are_taken(tmp_path: Path) -> None:
    folder = make_tiles(tmp_path, {"2_13": True, "5_12": True, "7_13": True})
    (folder / "5_Labels_for_participants").rename(folder / "5_Labels_all")
    with Potsdam(folder) as found:
        assert [names(found)[i][:4] for i in found.labelled] == ["5_12"] * 2


@pytest.mark.parametrize("suffix", [".mat", ".png", ".tif"])
def test_patches_cut_already(tmp_path: Path, suffix: str) -> None:
    folder = make_patches(tmp_path, ["10", "9", "100"], ["10", "100"], suffix)
    with open_dataset(folder, "potsdam3") as found:
        assert names(found) == ["9", "10", "100"]
        assert found.labelled == (1, 2)
        pixels, valid = found.image(2)
        assert np.array_equal(pixels, landscape(200, 200, 4, seed=2))
        assert valid.all()
        expected = np.vectorize(MERGED.get)(random_classes(200, 200, 2))
        assert np.array_equal(found.labels(2), expected)


def test_lists_choose_and_order_patches(tmp_path: Path, tiles: Path) -> None:
    folder = make_patches(tmp_path, [*"12345"], [*"234"], ".mat")
    (folder / "labelled_test.txt").write_text("4\n2\n\n4\n")
    (folder / "unlabelled_train.txt").write_text("\ufeff5\r\n1\r\n")
    with Potsdam(folder) as found:
        assert names(found) == [*"5142"]
        assert found.labelled == (2, 3)
        assert np.array_equal(found.labels(3), random_classes(200, 200, 1))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("\n \n", "holds no name"),
        ("2\n7\n8\n", "2 of the 3 patches named in labelled_train.txt are not here, the first is 7; patches here"),
        ("1\n", "none of the 1 patches has labels"),
        (b"\xff\xfe1\x00", "is not text"),
    ],
)
def test_lists_that_cannot_be_followed(tmp_path: Path, text: Any, told: str) -> None:
    folder = make_patches(tmp_path, ["1", "2"], ["2"], ".png")
    (folder / "labelled_train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=told):
        Potsdam(folder)


def spoil_tiles(folder: Path, what: str) -> None:
    images, labels = folder / "4_Ortho_RGBIR", folder / "5_Labels_for_participants"
    image, label = images / "top_potsdam_2_10_RGBIR.tif", labels / "top_potsdam_2_10_label.tif"
    match what:
        case "no labels":
            labels.rename(folder / "6_DSM")
        case "no images":
            images.rename(folder / "2_Ortho_RGB")
        case "packed labels":
            labels.rename(folder / "other")
            (folder / "5_Labels_for_participants.zip").write_bytes(b"PK\x03\x04")
        case "packed images":
            for path in images.iterdir():
                path.unlink()
            (images / "4_Ortho_RGBIR.zip").write_bytes(b"PK\x03\x04")
        case "extension":
            image.rename(image.with_suffix(".png"))
        case "other bands":
            image.rename(images / "top_potsdam_2_10_RGB.tif")
        case "label size":
            make_raster(label, painted(random_classes(400, 798)))
        case "label alone":
            label.with_name("top_potsdam_2_11_label.tif").write_bytes(label.read_bytes())
        case "three bands":
            make_raster(image, landscape(400, 800))
        case "16 bits":
            make_raster(image, landscape(400, 800, 4).astype(np.uint16), photometric="minisblack")
        case "not a tif":
            image.write_text("<html>")


@pytest.mark.parametrize(
    ("what", "kind", "told"),
    [
        ("no labels", InputMissingError, "has 4_Ortho_RGBIR/, 6_DSM/, but no 5_Labels_for_participants; there should"),
        ("no images", InputMissingError, "but no 4_Ortho_RGBIR; there should be .*top_potsdam_2_10_RGBIR.tif"),
        ("packed labels", InputError, r"participants.zip: is still packed; unpack it in .*, so that .*2_10_label\.tif"),
        ("packed images", InputError, r"4_Ortho_RGBIR/4_Ortho_RGBIR.zip: is still packed"),
        ("extension", InputError, r"looked for names like top_potsdam_2_10_RGBIR.tif, found .*\.png"),
        ("other bands", InputError, "contains no tile; .* found top_potsdam_2_10_RGB.tif"),
        (
            "label size",
            InputError,
            r"label.tif: has 798 x 400 pixels, its tile top_potsdam_2_10_RGBIR.tif has 800 x 400",
        ),
        ("label alone", InputError, r"2_11_label.tif: has no tile in .* \(1 of 2 label maps have none\)"),
        ("three bands", BandError, "has bands 1 to 3; there is no band 4"),
        ("16 bits", InputError, "800 x 400 pixels of uint16; a tile has 6000 x 6000 of uint8"),
        ("not a tif", InputError, "is an HTML page"),
    ],
)
def test_potsdam_that_is_incomplete_or_damaged(tmp_path: Path, what: str, kind: type[Exception], told: str) -> None:
    folder = make_tiles(tmp_path, {"2_10": True})
    spoil_tiles(folder, what)
    with pytest.raises(kind, match=told) as caught:
        Potsdam(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cut_patches_that_are_incomplete_or_damaged(tmp_path: Path) -> None:
    folder = make_patches(tmp_path, ["1", "2", "3"], ["1", "2", "3"], ".mat")
    savemat(folder / "imgs" / "1.mat", {"image": np.zeros(3, np.uint8)})
    savemat(folder / "imgs" / "2.mat", {"img": np.zeros((200, 190, 4), np.uint8)})
    (folder / "imgs" / "3.mat").write_bytes((folder / "imgs" / "3.mat").read_bytes()[:4000])
    savemat(folder / "gt" / "1.mat", {"gt": np.full((200, 200), 6)})
    savemat(folder / "gt" / "2.mat", {"gt": np.zeros((100, 200), np.int32)})
    with Potsdam(folder) as found:
        for index, told in enumerate(
            ("no array called img", "is 4 x 200 x 190 of uint8", "cannot be read as a MATLAB")
        ):
            with pytest.raises(InputError, match=rf"imgs/{index + 1}.mat: .*{told}"):
                found.image(index)
        with pytest.raises(InputError, match=r"1.mat: 40000 of .* the index 6 at row 0, column 0"):
            found.labels(0)
        with pytest.raises(InputError, match="is 1 x 100 x 200; the labels of a patch are 200 x 200"):
            found.labels(1)
    (folder / "gt" / "4.mat").touch()
    with pytest.raises(InputError, match=r"4.mat: has no image in .*imgs \(1 of 4 label maps have none\)"):
        Potsdam(folder)
    (folder / "gt" / "4.mat").unlink()
    (folder / "imgs" / "2.png").touch()
    with pytest.raises(InputError, match=r"is a duplicate of 2\.mat"):
        Potsdam(folder)
    (folder / "imgs" / "2.png").unlink()
    (folder / "gt").rename(folder / "labels")
    with pytest.raises(InputError, match="has no folder gt"):
        Potsdam(folder)


def test_learning_from_potsdam_touches_no_label(tmp_path: Path) -> None:
    folder = make_tiles(tmp_path, {"2_10": True})
    with Potsdam(folder) as found:
        (folder / "5_Labels_for_participants" / "top_potsdam_2_10_label.tif").unlink()
        assert all(source.read(source.extent)[1].all() for source in found.sources)
        with pytest.raises(InputMissingError):
            found.labels(0)


def test_images_without_a_place_are_read_without_a_remark(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_patches(tmp_path, [*"1234"], ["1"], ".png")
    with caplog.at_level(logging.INFO), Potsdam(folder) as found, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: found.image(i % 4), range(8)))
    assert not caplog.records


# COCO-Stuff


@pytest.mark.parametrize("classes", [3, 15])
def test_every_id_of_cocostuff(tmp_path: Path, classes: Any) -> None:
    folder = make_coco(tmp_path)
    with CocoStuff(folder, classes) as found:
        for i in [*range(182), 255]:
            fine = CLASS_OF.get(i, IGNORED)
            assert found._classes[i] == (fine if classes == 15 else FEW.get(fine, IGNORED)), i
        assert len(found.class_names) == classes
        path = folder / "stuffthingmaps" / "train2017" / "000000000009.png"
        Image.fromarray(np.full((480, 640), 156, np.uint8)).save(path)
        assert np.unique(found.labels(0)).tolist() == [11 if classes == 15 else 0]
    assert sorted(CLASS_OF) == list(range(91, 182))


def test_names_of_classes_stand_for_their_ids() -> None:
    assert [cocostuff.CLASSES[name][0] for name in ("ceiling", "plant", "water")] == [101, 93, 119]


@pytest.mark.parametrize(
    ("length", "factor", "expected"), [(640, 0.33, 211), (480, 0.33, 158), (500, 0.5, 250), (1, 0.33, 1)]
)
def test_shrunk_lengths(length: int, factor: float, expected: int) -> None:
    assert shrunk_length(length, factor) == expected


@pytest.mark.parametrize("factor", [0.33, 0.5])
def test_shrinking_is_bilinear_at_the_centres_of_pixels(factor: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(3, 480, 640), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None].double(),
        scale_factor=factor,
        mode="bilinear",
        align_corners=False,
        recompute_scale_factor=False,
    )[0]
    found = shrink_image(image, factor)
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected.numpy()).max() < 0.501


def test_labels_are_picked_not_mixed() -> None:
    labels = np.random.default_rng(0).integers(0, 256, size=(480, 640), dtype=np.uint8)
    rows, cols = (np.array([int(i / 0.33) for i in range(n)]) for n in (158, 211))
    assert np.array_equal(shrink_labels(labels, 0.33), labels[np.ix_(rows, cols)])
    assert np.array_equal(shrink_labels(labels, 0.5), labels[::2, ::2])


@pytest.mark.parametrize(
    ("length", "start"), [(211, 41), (158, 15), (128, 0), (129, 0), (130, 1), (121, -4), (120, -4)]
)
def test_the_centre(length: int, start: int) -> None:
    array = np.arange(1, length + 1)[None, :] + np.zeros((150, 1), int)
    found = centre_crop(array, 128, -7)
    assert found.shape == (128, 128)
    expected = [i + 1 if 0 <= i < length else -7 for i in range(start, start + 128)]
    assert found[60].tolist() == expected
    assert np.array_equal(centre_crop(array.T, 128, -7), found.T)


def test_cocostuff_in_the_order_of_its_list(coco: Path) -> None:
    with CocoStuff(coco) as found:
        assert names(found) == [f"{i}.jpg" for i in (*TRAIN, *VAL)]
        assert list(found.labelled) == [0, 1, 2]
        assert found.bands == ("red", "green", "blue")
        shapes = [source.shape for source in found.sources]
        assert shapes == [(158, 211), (129, 132), (121, 165)]
        assert [source.extent.shape for source in found.sources] == shapes
        assert {source.dtype for source in found.sources} == {np.dtype(np.uint8)}
    with CocoStuff(coco, 3) as found:
        assert names(found) == ["000000000009.jpg", "000000000139.jpg"]
        assert found.class_names == ("sky", "plant", "ground")


def test_cocostuff_counts_the_classes_and_scores_the_middle(coco: Path) -> None:
    with CocoStuff(coco) as found:
        jpeg = np.moveaxis(np.asarray(Image.open(coco / "val2017" / "000000000139.jpg")), -1, 0)
        ids = np.asarray(Image.open(coco / "stuffthingmaps" / "val2017" / "000000000139.png"))
        whole = shrink_image(jpeg, 0.33)
        classes = np.vectorize(lambda i: CLASS_OF.get(i, IGNORED))(ids)[
            np.ix_(*([int(i / 0.33) for i in range(n)] for n in (121, 165)))
        ]
        source = found.sources[2]
        read, valid = source.read(source.extent)
        assert read.dtype == source.dtype
        assert np.array_equal(read, whole)
        assert valid.all()
        mask = source.mask()
        assert np.array_equal(mask, classes >= 0)
        assert 0.4 < mask.mean() < 0.6
        cut, part = source.read(Window.of(3, 7, 50, 60))
        assert np.array_equal(cut, whole[:, 3:53, 7:67])
        assert part.shape == (50, 60)
        assert part.all()
        image, inside = found.image(2)
        assert image.shape == (3, 128, 128)
        assert np.array_equal(image[:, 4:125], whole[:, :, 18:146])
        assert not image[:, [*range(4), *range(125, 128)]].any()
        assert inside[4:125].all()
        assert inside.sum() == 121 * 128
        labels = found.labels(2)
        assert np.array_equal(labels[4:125], classes[:, 18:146])
        assert (labels[~inside] == IGNORED).all()


def test_what_is_seen_takes_nothing_from_label_maps(tmp_path: Path) -> None:
    folder = make_coco(tmp_path)
    with CocoStuff(folder) as found, CocoStuff(folder, masked=False) as free:
        before = found.image(0)
        for path in folder.rglob("*.png"):
            path.unlink()
        assert all(np.array_equal(a, b) for a, b in zip(before, found.image(0), strict=True))
        source = found.sources[0]
        read, valid = source.read(source.extent)
        assert valid.all()
        assert np.array_equal(read[:, 15:143, 41:169], before[0])
        assert free.sources[0].mask is None
        with pytest.raises(InputMissingError, match=r"000000000009\.png: no such file"):
            source.mask()


@pytest.mark.parametrize(
    ("images", "maps", "lists"),
    [
        ("", "stuffthingmaps", "{part}/{name}.txt"),
        ("images", "annotations", "curated/{part}/{name}.txt"),
        ("images", "stuffthingmaps_trainval2017", "{name}.{part}.txt"),
        ("images", "stuffthingmaps/stuffthingmaps", "cocostuff_lists/{name}.{part}.txt"),
        ("", "", "lists/{name}.{part}.txt"),
    ],
)
def test_layouts_of_cocostuff(tmp_path: Path, images: str, maps: str, lists: str) -> None:
    folder = make_coco(tmp_path, images, maps, lists)
    assert recognise(folder) == "cocostuff15"
    with CocoStuff(folder) as found:
        assert names(found) == [f"{i}.jpg" for i in (*TRAIN, *VAL)]
        assert all((found.labels(i) >= 0).any() for i in range(3))


def spoil_coco(folder: Path, what: str) -> None:
    maps, lists = folder / "stuffthingmaps", folder / "curated" / "train2017" / "Coco164kFull_Stuff_Coarse_7.txt"
    match what:
        case "no val":
            (folder / "val2017").rename(folder / "test2017")
        case "packed val":
            (folder / "val2017").rename(folder / "other")
            (folder / "val2017.zip").write_bytes(b"PK\x03\x04")
        case "no maps":
            maps.rename(folder / "pixelmaps")
        case "packed maps":
            maps.rename(folder / "pixelmaps")
            (folder / "stuffthingmaps_trainval2017.zip").write_bytes(b"PK\x03\x04")
        case "no list":
            lists.unlink()
        case "empty list":
            lists.write_text("\n")
        case "list of absent images":
            lists.write_text("000000000009\n000000000030\n000000000034\n")
        case "wrong extension":
            path = folder / "train2017" / "000000000009.jpg"
            path.rename(path.with_suffix(".jpeg"))
        case "no map":
            (maps / "val2017" / "000000000139.png").unlink()
        case "other ids":
            path = maps / "val2017" / "000000000139.png"
            path.rename(path.with_name("000000000139_labelTrainIds.png"))


@pytest.mark.parametrize(
    ("what", "kind", "told"),
    [
        (
            "no val",
            InputMissingError,
            "test2017/, train2017/, but no val2017; there should be .*val2017/000000000139.jpg",
        ),
        ("packed val", InputError, "val2017.zip: is still packed; unpack it in"),
        (
            "no maps",
            InputMissingError,
            r"but no label maps of train2017; .*stuffthingmaps/train2017/000000000139.png \(",
        ),
        ("packed maps", InputError, "stuffthingmaps_trainval2017.zip: is still packed; unpack it so that there is"),
        (
            "no list",
            InputMissingError,
            "has no list Coco164kFull_Stuff_Coarse_7.txt for train2017; .* put it at .*curated",
        ),
        ("empty list", InputError, "Coarse_7.txt: holds no name"),
        (
            "list of absent images",
            InputError,
            "2 of the 3 files it names are not in .*train2017, the first is 000000000030",
        ),
        (
            "wrong extension",
            InputError,
            "1 of the 2 .* the first is 000000000009.jpg; is train2017.zip unpacked completely",
        ),
        (
            "no map",
            InputError,
            "1 of the 1 .*/stuffthingmaps/val2017, .*139.png; is stuffthingmaps_trainval2017.zip unp",
        ),
        ("other ids", InputError, "139.png; files named _labelTrainIds hold other ids"),
    ],
)
def test_cocostuff_that_is_incomplete(tmp_path: Path, what: str, kind: type[Exception], told: str) -> None:
    folder = make_coco(tmp_path)
    spoil_coco(folder, what)
    with pytest.raises(kind, match=told) as caught:
        CocoStuff(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_cocostuff_that_are_damaged_or_do_not_fit(tmp_path: Path) -> None:
    folder = make_coco(tmp_path)
    image, maps = folder / "train2017" / "000000000009.jpg", folder / "stuffthingmaps" / "train2017"
    Image.fromarray(np.full((640, 480), 130, np.uint8)).save(maps / "000000000009.png")
    ids = np.full((390, 401), 130, np.uint8)
    ids[7, 11:14] = 200
    Image.fromarray(ids).save(maps / "000000000025.png")
    with CocoStuff(folder) as found:
        with pytest.raises(InputError, match=r"009.png: has 480 x 640 pixels, its image .*009.jpg has 640 x 480"):
            found.labels(0)
        with pytest.raises(InputError, match=r"025.png: 3 of its 156390 .* is 200 at row 7, column 11"):
            found.labels(1)
        Image.fromarray(np.zeros((480, 640, 3), np.uint8)).save(maps / "000000000009.png")
        with pytest.raises(InputError, match="is a PNG of mode RGB; a label map has one band"):
            found.labels(0)
        image.write_bytes(image.read_bytes()[:9000])
        with pytest.raises(InputError, match=r"009.jpg: cannot be decoded \(.*truncated"):
            found.image(0)
        image.write_text("<!DOCTYPE html>")
        with pytest.raises(InputError, match="is an HTML page"):
            found.image(0)
        make_raster(image, landscape(64, 64))
        with pytest.raises(InputError, match="is a GTiff file, not JPEG or PNG"):
            found.image(0)
        Image.fromarray(landscape(480, 640)[0]).save(image, quality=95)
        assert np.ptp(found.image(0)[0][:3], axis=0).max() == 0


# Any of them


def test_folders_are_recognised(tmp_path: Path, tiles: Path, coco: Path) -> None:
    assert recognise(tiles) == "potsdam6"
    assert recognise(coco) == "cocostuff15"
    assert recognise(make_patches(tmp_path / "cut", ["1"], ["1"], ".mat")) == "potsdam6"
    few = make_coco(tmp_path / "few")
    for path in few.rglob("Coco164kFull*"):
        path.unlink()
    assert recognise(few) == "cocostuff3"
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("4_Ortho_RGBIR.zip", "5_Labels_all.zip"):
        (packed / name).touch()
    assert recognise(packed) == "potsdam6"
    half = tmp_path / "half"
    (half / "train2017").mkdir(parents=True)
    (half / "stuffthingmaps_trainval2017.zip").touch()
    assert recognise(half) == "cocostuff15"


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    unlabelled = make_tiles(tmp_path / "unlabelled", {"2_10": False})
    (unlabelled / "5_Labels_for_participants").rmdir()
    mine = make_patches(tmp_path / "mine", ["a"], ["a"], ".png")
    images = tmp_path / "images"
    (images / "train2017").mkdir(parents=True)
    for folder in (unlabelled, mine, images, tmp_path, tmp_path / "absent"):
        assert recognise(folder) is None, folder
    (mine / "labelled_train.txt").write_text("a\n")
    assert recognise(mine) == "potsdam6"


@pytest.mark.parametrize("recipe", ["potsdam3", "potsdam6", "cocostuff3", "cocostuff15"])
def test_a_recipe_opens_its_dataset(recipe: str, tiles: Path, coco: Path) -> None:
    folder = tiles if recipe.startswith("potsdam") else coco
    with open_dataset(folder, recipe) as found:
        assert found.name == recipe
        assert f"{len(found.class_names)}" == recipe[len(recipe.rstrip("0123456789")) :]
    with pytest.raises(SettingError, match="bands of its own"):
        open_dataset(folder, recipe, (1, 2, 3))
    with pytest.raises(InputMissingError, match="no such file"):
        open_dataset(folder / "absent", recipe)
    with pytest.raises(InputError, match="is a file"):
        open_dataset(next(folder.rglob("*.t[xi][tf]")), recipe)


def test_any_other_folder_is_imagery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(2):
        make_raster(tmp_path / f"{i}.tif", landscape(70, 90, 4, seed=i), photometric="minisblack", crs=None)
    with open_dataset(tmp_path, "orthophoto", (3, 2, 1)) as found:
        assert isinstance(found, Orthophotos)
        assert (found.count, list(found.labelled), found.class_names) == (2, [], ())
        assert len(found.bands) == 3
        assert np.array_equal(found.image(1)[0], landscape(70, 90, 4, seed=1)[2::-1])
        with pytest.raises(ValueError, match=r"1\.tif has no labels"):
            found.labels(1)
    assert not caplog.records
    (tmp_path / "0.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"^\S*0\.tif: is text, not a GeoTIFF"):
        open_dataset(tmp_path, "orthophoto")
    (tmp_path / "1.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"2 of 2 images cannot be used: repair or replace them$") as caught:
        open_dataset(tmp_path, "orthophoto")
    assert [line.split(":")[0] for line in caught.value.details] == [str(tmp_path / f"{i}.tif") for i in range(2)]


@pytest.fixture(params=["potsdam", "coco"])
def dataset(request: pytest.FixtureRequest, tiles: Path, coco: Path) -> Iterator[Dataset]:
    with Potsdam(tiles) if request.param == "potsdam" else CocoStuff(coco) as found:
        yield found


def test_statistics_and_patches_take_images_of_a_dataset_for_scenes(dataset: Dataset) -> None:
    sources: Any = dataset.sources
    stats = band_stats(sources)
    assert all(path.is_file() for path in dataset.files)
    whole = [source.read(source.extent) for source in sources]
    values = np.concatenate([pixels[:, valid] for pixels, valid in whole], axis=1)
    assert stats.pixels == values.shape[1]
    assert stats.mean == pytest.approx(values.mean(axis=1))
    low, high = np.array(stats.low), np.array(stats.high)
    sampler = PatchSampler(Imagery(sources), stats, SuperpixelConfig(size=8), (low, 1 / (high - low)), 96, seed=1)
    with ThreadPoolExecutor(2) as pool:
        batch = sampler.batch(0, 4, pool)
    assert batch.image.shape == (4, len(dataset.bands), 96, 96)
    assert batch.labels.max() > 20


# Real data


def test_a_real_crop_of_potsdam(tmp_path: Path, data: Callable[[str], Path]) -> None:
    classes = make_real_potsdam(tmp_path, data)
    tile = raster(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif")
    with open_dataset(tmp_path, "potsdam6") as found, open_dataset(tmp_path, "potsdam3") as merged:
        assert found.count == 1
        image, valid = found.image(0)
        assert valid.all()
        assert np.abs(image.mean(axis=(1, 2)) - tile[:, :400, :400].mean(axis=(1, 2))).max() < 0.6
        assert np.array_equal(found.labels(0), classes[:400:2, :400:2])
        assert np.array_equal(merged.labels(0), np.vectorize(MERGED.get)(classes[:400:2, :400:2]))


@pytest.fixture
def real_coco(tmp_path: Path, data: Callable[[str], Path]) -> Path:
    """The real samples."""
    return make_real_coco(tmp_path, data)


def test_real_samples_of_cocostuff(real_coco: Path) -> None:
    assert recognise(real_coco) == "cocostuff15"
    with open_dataset(real_coco, "cocostuff15") as full, open_dataset(real_coco, "cocostuff3") as few:
        assert (full.count, few.count) == (8, 4)
        for found, share in ((full, 0.75), (few, 0.5)):
            for index in found.labelled:
                source: Any = found.sources[index]
                pixels, valid = source.read(source.extent)
                assert valid.all()
                # What curated means, give or take what shrinking does to it.
                assert source.mask().mean() > share - 0.02
                assert pixels.std() > 10
                image, inside = found.image(index)
                labels = found.labels(index)
                assert image.shape == (3, 128, 128)
                assert not (labels[~inside] != IGNORED).any()
                assert labels.max() < len(found.class_names)
        same = names(full).index("000000000785.jpg"), names(few).index("000000000785.jpg")
        one, two = full.labels(same[0]), few.labels(same[1])
        assert np.array_equal(np.vectorize(lambda c: FEW.get(c, IGNORED))(one), two)


def test_every_real_sample_can_be_read(real_coco: Path) -> None:
    for part in ("train2017", "val2017"):
        ids = sorted(path.stem for path in (real_coco / part).iterdir())
        (real_coco / f"Coco164kFull_Stuff_Coarse_7.{part}.txt").write_text("\n".join(ids))
    with CocoStuff(real_coco) as found:
        assert found.count == 21
        for index in found.labelled:
            image, inside = found.image(index)
            assert inside.any()
            assert image[:, inside].std(axis=1).min() > 1
            assert found.labels(index).shape == inside.shape


def test_real_lists_have_the_published_lengths(data: Callable[[str], Path]) -> None:

    folder = data("cocostuff_lists")
    lengths = {
        (classes, part): len(read_list(find_list(folder, LISTS[classes], part) or folder))
        for classes in (15, 3)
        for part in ("train2017", "val2017")
    }
    assert list(lengths.values()) == [49629, 2175, 35228, 1432]
