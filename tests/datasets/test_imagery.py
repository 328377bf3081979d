"""Which rasters of a folder are imagery, by their names: labels, previews and quality layers are left out, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.datasets.imagery import select_imagery

TREES = [
    # imagery, and what is left out beside it
    (["Tile 1/images/a_001.jpg", "Tile 2/images/a_001.jpg"], ["Tile 1/masks/a_001.png", "Tile 2/masks/a_001.png"]),
    (["104_sat.jpg", "7_sat.jpg"], ["104_mask.png", "7_MASK.png"]),
    (["img_dir/x.png"], ["ann_dir/x.png"]),
    (["train_img/1.jpg"], ["train_label/1.png"]),
    (["x_RGB.tif", "y.tif"], ["x_label.tif", "y-gt.png", "label_y.png", "gt.y.png"]),
    (["leftImg8bit/aachen_000.png"], ["gtFine/aachen_000_gtFine_labelIds.png"]),
    (["JPEGImages/1.jpg"], ["SegmentationClass/1.png"]),
    (["images/a.tif"], ["Labels/b.tif", "annotations/c.png", "Ground Truth/d.tif"]),
    (["annotations/images/a.png", "b.png"], ["annotations/b.png"]),
    (["s.tif"], ["s_thumb.jpg", "s.preview.png", "legend.png", "map-legend.png", "s_overview.tif", "thumb_s.png"]),
    (["LC08_193027_B4.TIF", "LC08_193027_B5.TIF"],
     ["LC08_193027_QA_PIXEL.TIF", "LC08_193027_thumb_large.jpeg", "LC08_193027_BQA.TIF"]),
    (["T32_B04_10m.jp2", "T32_TCI_10m.jp2"],
     ["T32_SCL_20m.jp2", "T32_AOT_10m.jp2", "T32_PVI.jp2", "MSK_CLDPRB_20m.jp2", "MSK_CLASSI_B00.jp2"]),
    (["20200101_AnalyticMS_SR.tif"], ["20200101_AnalyticMS_DN_udm.tif", "20200101_udm2.tif", "x_cloud_mask.tif"]),
]  # fmt: skip


@pytest.mark.parametrize(("imagery", "others"), TREES)
def test_what_is_no_imagery_is_left_out(
    imagery: list[str], others: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = Path("/data/labels/preview")
    paths = [root / name for name in sorted([*imagery, *others])]
    assert select_imagery(paths, root) == [root / name for name in sorted(imagery)]
    (told,) = caplog.messages
    assert told.startswith(f"{root}: left out by their names: ")
    assert sum(int(word) for word in told.split(": ")[2].split() if word.isdecimal()) == len(others)


@pytest.mark.parametrize(
    "names",
    [
        ["a_mask.png", "b_gt.tif"],  # no image of those names
        ["unlabelled/a.tif", "labelled/b.tif", "images_without_labels/c.tif"],
        ["masked_a.tif", "area_1/x.tif", "gt_sports.tif", "browser.tif", "thumb_island.tif", "preview_hill.tif"],
        ["legendary.tif", "pixel_1.tif", "ann_arbor/1.tif", "overview_lake.tif", "gtown.png"],
        ["images_and_labels/a.tif", "rgb_masks/b.tif"],
        ["labels/a.png", "labels/b.png"],  # all of them: asked for by name
        ["s_thumb.jpg"],
    ],
)
def test_imagery_with_telling_names_stays(names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    paths = [Path("/d") / name for name in names]
    assert select_imagery(paths, Path("/d")) == paths
    assert not caplog.messages
