"""Class rasters and confidences of other programs: which pixels have a class, what altered ids, and units."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from helpers.rasters import TRANSFORM, UTM, make_raster
from rasterio.crs import CRS

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.evaluation.labels import LabelRaster
from geoseg.grid import Span, Window
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.confidence_units import unit_message
from geoseg.raster.georeference import crs_name, same_horizontal_crs
from geoseg.raster.scene import Scene

ROWS = Span(0, 64)


def patches() -> Any:
    """uint8 (1, 64, 96): zeros but for two patches, of 7 and 9."""
    pixels = np.zeros((1, 64, 96), np.uint8)
    pixels[0, 4:12, 4:12], pixels[0, 40:50, 20:40] = 7, 9
    return pixels


@pytest.mark.parametrize("nodata", [None, 0, 9])
def test_zeros_that_were_never_written_are_those_that_were(tmp_path: Path, nodata: int | None) -> None:
    layout: dict[str, Any] = {"blockxsize": 16, "blockysize": 16, "nodata": nodata}
    pixels = np.where(patches() == 0, np.uint8(nodata or 0), patches())
    full = make_raster(tmp_path / "full.tif", pixels, **layout)
    sparse = make_raster(tmp_path / "sparse.tif", pixels, **layout, sparse_ok=True)
    assert sparse.stat().st_size < full.stat().st_size
    with ClassRaster(full) as one, ClassRaster(sparse) as other:
        values = one.read(ROWS)
        np.testing.assert_array_equal(other.read(ROWS), values)
        assert (values != 0).sum() == (pixels != nodata).sum()
    window = Window.of(0, 0, 64, 96)
    with LabelRaster(full) as one, LabelRaster(sparse) as other, Scene(sparse) as imagery:
        for expected, found in zip(one.read(window), other.read(window), strict=True):
            np.testing.assert_array_equal(found, expected)
        # Imagery has nothing to show where nothing was written.
        assert imagery.read(window)[1].sum() < pixels.size


def test_black_labels_that_were_never_written_are_black(tmp_path: Path) -> None:
    colours = np.repeat(patches(), 3, axis=0)
    path = make_raster(tmp_path / "l.tif", colours, blockxsize=16, blockysize=16, sparse_ok=True)
    with LabelRaster(path, colours=True) as labels:
        assert labels.read(labels.scene.extent)[1].all()


def test_zero_is_nodata_in_a_copy_of_a_map_of_geoseg(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "map.tif", patches())
    with ClassRaster(path) as raster:
        assert (raster.read(ROWS) != 0).all()
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE="{}")
    with ClassRaster(path) as raster:
        np.testing.assert_array_equal(raster.read(ROWS) != 0, patches()[0] != 0)
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE="{")
    with ClassRaster(path) as raster:
        np.testing.assert_array_equal(raster.read(ROWS) != 0, patches()[0] != 0)


LAYOUTS: list[tuple[dict[str, Any], str | None]] = [
    ({"compress": "jpeg"}, "JPEG"),
    ({"compress": "lerc", "max_z_error": 1.5}, "LERC, MAX_Z_ERROR 1.5"),
    ({"compress": "lerc_deflate", "max_z_error": 3}, "LERC_DEFLATE, MAX_Z_ERROR 3"),
    # Integers lie a whole number apart, so a smaller error is none.
    ({"compress": "lerc", "max_z_error": 0.9}, None),
    ({"compress": "deflate"}, None),
]


@pytest.mark.parametrize(("layout", "codec"), LAYOUTS)
def test_compression_with_loss_is_no_way_to_keep_ids(tmp_path: Path, layout: dict[str, Any], codec: str | None) -> None:
    path = make_raster(tmp_path / "c.tif", np.repeat(np.arange(64, dtype=np.uint8), 64).reshape(1, 64, 64), **layout)
    with rasterio.open(path) as file:
        assert (file.read() != np.repeat(np.arange(64), 64).reshape(1, 64, 64)).any() == (codec is not None)
    (tmp_path / "c.vrt").write_text(
        "<VRTDataset rasterXSize='64' rasterYSize='64'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        "<SourceFilename relativeToVRT='1'>c.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    for name in ("c.tif", "c.vrt"):
        for kind, what in ((ClassRaster, "class ids"), (LabelRaster, "label values")):
            if codec is None:
                kind(tmp_path / name, opening=Opening(allow_vrt=True)).__exit__()
                continue
            with pytest.raises(InputError) as raised:
                kind(tmp_path / name, opening=Opening(allow_vrt=True))
            message = str(raised.value)
            assert message.startswith(f"{tmp_path / name}: is compressed with loss ({codec}), which altered its {what}")
            assert "COMPRESS=DEFLATE" in message


def test_jpeg_2000_says_whether_it_lost_anything(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "c.tif", np.random.default_rng(0).integers(1, 9, (1, 64, 64)).astype(np.uint8))
    for name, options in (("lossy", {"QUALITY": "10"}), ("whole", {"QUALITY": "100", "REVERSIBLE": "YES"})):
        rasterio.shutil.copy(path, tmp_path / f"{name}.jp2", driver="JP2OpenJPEG", **options)
    with ClassRaster(tmp_path / "whole.jp2") as raster:
        assert raster.scene.lossy is None
    with pytest.raises(InputError, match=r"lossy\.jp2: is compressed with loss \(JPEG 2000\)"):
        ClassRaster(tmp_path / "lossy.jp2")
    colours = make_raster(tmp_path / "rgb.tif", np.zeros((4, 64, 64), np.uint8), compress="webp", interleave="pixel")
    with Scene(colours) as scene:
        assert scene.lossy == "WEBP"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    return make_raster(tmp_path / "classes.tif", patches(), nodata=0)


def sure(folder: Path, value: float, dtype: str, **profile: Any) -> Path:
    """A confidence with this value but for one row of zeros."""
    pixels = np.full((1, 64, 96), value, dtype)
    pixels[0, 0] = 0
    return make_raster(folder / "sure.tif", pixels, **profile)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (80, r"has the value 80; confidences are fractions in \[0, 1\]: if it is in per cent.*A/100\.0"),
        (800, r"per mille.*A/1000\.0"),
        (9999, r"A/10000\.0"),
        (1e6, r"stands for certainty"),
        (1.02, r"clip it"),
        (-9999, r"has the value -9999; .*gdal_edit\.py -a_nodata -9999"),
    ],
)
def test_floats_that_are_no_fractions_are_refused(tmp_path: Path, classes: Path, value: float, words: str) -> None:
    path = sure(tmp_path, value, "float32")
    with (
        ClassRaster(classes) as raster,
        Confidence(path, raster.scene) as confidence,
        pytest.raises(InputError, match=words) as raised,
    ):
        confidence.read(ROWS)
    assert str(raised.value).startswith(f"{path}: ")


def test_fractions_may_be_rounded_and_have_nodata(tmp_path: Path, classes: Path) -> None:
    pixels = np.full((1, 64, 96), 0.5, np.float32)
    pixels[0, :, 0], pixels[0, :, 1], pixels[0, :, 2] = 1.0000001, -9999, np.nan
    path = make_raster(tmp_path / "sure.tif", pixels, nodata=-9999)
    with ClassRaster(classes) as raster, Confidence(path, raster.scene) as confidence:
        assert np.unique(confidence.read(ROWS), return_counts=True)[0].tolist() == [0, 32768, 65535]


@pytest.mark.parametrize(
    ("value", "dtype", "scale"),
    [(80, "uint8", 100), (100, "uint16", 100), (800, "uint16", 1000), (10000, "uint16", 10000), (101, "uint8", None),
     (255, "uint8", None), (10001, "uint16", None), (0, "uint8", None)],
)  # fmt: skip
def test_whole_numbers_that_may_be_per_cent_are_told(
    tmp_path: Path, classes: Path, value: int, dtype: str, scale: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = sure(tmp_path, value, dtype)
    with caplog.at_level(logging.WARNING), ClassRaster(classes) as raster, Confidence(path, raster.scene) as confidence:
        assert confidence.read(ROWS).max() == value
        confidence.warn_of_units()
    assert [f"A/{scale}.0" in message for message in caplog.messages] == [True] * (scale is not None)
    with rasterio.open(path, "r+") as file:
        # The map of an unsure model has low ones, and is no per cent.
        file.update_tags(GEOSEG_PROVENANCE="{}")
    caplog.clear()
    with ClassRaster(classes) as raster, Confidence(path, raster.scene) as confidence:
        confidence.read(ROWS)
        confidence.warn_of_units()
    assert not caplog.messages


def test_the_largest_of_a_type_is_never_another_unit() -> None:
    assert unit_message(255, 255) is unit_message(65535, 65535) is unit_message(5000, 255) is None


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            {"crs": "EPSG:32634"},
            r"is in WGS 84 / UTM zone 34N \(EPSG:32634\), the class raster in WGS 84 / UTM zone 33N",
        ),
        ({"transform": TRANSFORM.translation(0, 3) @ TRANSFORM}, "does not lie where"),
    ],
)
def test_a_confidence_lies_where_its_classes_lie(
    tmp_path: Path, classes: Path, profile: dict[str, Any], words: str
) -> None:
    path = sure(tmp_path, 0.5, "float32", **profile)
    with ClassRaster(classes) as raster, pytest.raises(InputError, match=words):
        Confidence(path, raster.scene)


def test_a_confidence_has_one_band(tmp_path: Path, classes: Path) -> None:
    several = make_raster(tmp_path / "several.tif", np.zeros((3, 64, 96), np.float32))
    alpha = make_raster(tmp_path / "alpha.tif", np.full((2, 64, 96), 255, np.uint8), alpha="yes")
    with ClassRaster(classes) as raster:
        with pytest.raises(InputError, match="has 3 bands; a confidence has one"):
            Confidence(several, raster.scene)
        with Confidence(alpha, raster.scene) as confidence:
            assert confidence.read(ROWS).min() == 255


ESRI = CRS.from_epsg(3035).to_wkt(version="WKT1_ESRI")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("EPSG:5555", "EPSG:25832", True),
        ("EPSG:4979", "EPSG:4326", True),
        ("OGC:CRS84", "EPSG:4326", True),
        (ESRI, "EPSG:3035", True),
        ("+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs", UTM, True),
        ("+proj=utm +zone=32 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m +no_defs", "EPSG:25832", True),
        ("EPSG:25832", "EPSG:32632", False),
        ("EPSG:2263", "EPSG:32118", False),
        ("EPSG:5555", "EPSG:25833", False),
        (None, UTM, True),
    ],
)
def test_crs_are_compared_by_what_coordinates_mean(one: str | None, other: str, same: bool) -> None:
    first, second = (None if each is None else CRS.from_user_input(each) for each in (one, other))
    assert same_horizontal_crs(first, second) is same
    assert same_horizontal_crs(second, first) is same


def test_crs_have_the_names_that_users_know() -> None:
    assert crs_name(CRS.from_epsg(5555)) == "ETRS89 / UTM zone 32N + DHHN92 height (EPSG:5555)"
    assert crs_name(CRS.from_wkt(ESRI)) == "ETRS89-extended / LAEA Europe"
