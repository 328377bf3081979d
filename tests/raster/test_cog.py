"""Parts and the cloud-optimised GeoTIFF they are joined to."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.class_maps import parts_of
from helpers.commandline import contents, first_band, untouched
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_info, cog_validate

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import WriteError
from geoseg.files.record import provenance_tags
from geoseg.grid import Window
from geoseg.raster.cog import read_provenance, read_small, write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference
from geoseg.raster.mosaic import RasterSpec
from geoseg.version import __version__

CLASSES = ClassMap(
    (LandClass(1, "water & ice", "#0072b2"), LandClass(2, "forêt", "#009e73"), LandClass(3, "<built>", "#d55e00"))
)
UTM_GRID = Georeference(CRS.from_string(UTM), TRANSFORM)


def spec_of(shape: tuple[int, int], **how: Any) -> RasterSpec:
    """The description of a class raster of `shape` whose first pixel is the scene's."""
    settings = {
        "extent": Window.of(0, 0, *shape), "georeference": UTM_GRID, "dtype": "uint8", "description": "classes",
        "tags": provenance_tags({"a": "<&>"}), "classes": CLASSES,
    }  # fmt: skip
    return RasterSpec(**{**settings, **how})


def blobs(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A class raster of ids 0, 1 and 3 in patches; 2 does not occur."""
    random = np.random.default_rng(seed)
    coarse = random.choice(np.array([0, 1, 3], np.uint8), size=(shape[0] // 7 + 1, shape[1] // 7 + 1))
    return np.kron(coarse, np.ones((7, 7), np.uint8))[: shape[0], : shape[1]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (700, 1030)])
def test_a_part_reads_back_as_written(shape: tuple[int, int], dtype: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    write_part(tmp_path / "part.tif", values)
    assert [path.name for path in tmp_path.iterdir()] == ["part.tif"]
    found = first_band(tmp_path / "part.tif")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, values)


def test_a_part_that_reads_back_differently_is_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_part(tmp_path / "part.tif", blobs((60, 70)))
    opening = rasterio.open

    def losing(path: Path, mode: str = "r", **how: Any) -> Any:
        if mode == "r":
            # The disk lost one pixel of what the writer believes to have written.
            with opening(path, "r+") as file:
                pixels = file.read(1)
                pixels[-1, -1] ^= 1
                file.write(pixels, 1)
        return opening(path, mode, **how)

    monkeypatch.setattr(rasterio, "open", losing)
    with untouched(tmp_path), pytest.raises(WriteError, match="reads back other pixels"):
        write_part(tmp_path / "part.tif", blobs((60, 70), seed=1))


def test_a_part_that_cannot_be_written_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        write_part(tmp_path / "missing" / "part.tif", blobs((60, 70)))


def test_the_result_is_a_valid_cog(tmp_path: Path) -> None:
    values = blobs((1300, 1100))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    valid, errors, warnings = cog_validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    np.testing.assert_array_equal(first_band(path), values)
    assert set(contents(tmp_path)) - {"parts"} == {
        "map.tif", "map.tif.aux.xml", *(name for name in contents(tmp_path) if name.startswith("parts/"))
    }  # fmt: skip
    with rasterio.open(path) as file:
        assert file.profile["blockxsize"] == file.profile["blockysize"] == 512
        assert (file.compression.value, file.nodata, file.dtypes) == ("DEFLATE", 0, ("uint8",))
        assert (file.descriptions, file.tags()["AREA_OR_POINT"]) == (("classes",), "Area")
        assert (file.crs, file.transform) == (CRS.from_string(UTM), TRANSFORM)
        assert file.overviews(1) == [2, 4]
    assert cog_info(path).COG


def test_palette_names_and_nodata_tell_the_classes(tmp_path: Path) -> None:
    values = blobs((60, 70))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    with rasterio.open(path) as file:
        colours = file.colormap(1)
        assert {i: colours[i] for i in range(4)} == {
            0: (0, 0, 0, 0), 1: (0x00, 0x72, 0xB2, 255), 2: (0x00, 0x9E, 0x73, 255), 3: (0xD5, 0x5E, 0x00, 255),
        }  # fmt: skip
        assert file.colorinterp[0].name == "palette"
    side = ElementTree.parse(tmp_path / "map.tif.aux.xml")
    assert [entry.text for entry in side.iter("Category")] == ["nodata", "water & ice", "forêt", "<built>"]


def test_names_are_written_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = blobs((60, 70))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    monkeypatch.setenv("GDAL_PAM_ENABLED", "NO")
    # In a thread that ends: rasterio leaves options of the environment that it replaced to the thread.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(write_cog, path, spec, parts_of(tmp_path / "parts", values, spec)).result()
    assert "forêt" in (tmp_path / "map.tif.aux.xml").read_text()


def test_overviews_hold_only_classes_that_exist(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 1, 3], np.uint8), size=(1200, 1300))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    with rasterio.open(path) as file:
        factors = file.overviews(1)
    assert factors == [2, 4]
    for level in range(len(factors)):
        with rasterio.open(path, overview_level=level) as file:
            assert set(np.unique(file.read(1))) <= {0, 1, 3}


def test_overviews_take_the_most_frequent_class(tmp_path: Path) -> None:
    tile = np.array([[1, 3], [3, 3]], np.uint8)
    values = np.tile(tile, (300, 300))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) == {3}


def test_a_continuous_band_has_mean_overviews_and_no_palette(tmp_path: Path) -> None:
    values = np.tile(np.array([[100, 110], [110, 120]], np.uint8), (300, 300))
    spec = spec_of(values.shape, classes=None, description="confidence")
    path = tmp_path / "confidence.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) == {110}
    with rasterio.open(path) as file:
        assert (file.colorinterp[0].name, file.descriptions, file.nodata) == ("gray", ("confidence",), 0)
    assert not (tmp_path / "confidence.tif.aux.xml").exists()


def test_many_classes_are_uint16(tmp_path: Path) -> None:
    classes = ClassMap.default(300)
    values = (np.arange(60 * 70).reshape(60, 70) % 301).astype(np.uint16)
    spec, path = spec_of(values.shape, classes=classes, dtype=classes.dtype), tmp_path / "map.tif"
    write_cog(path, spec, parts_of(tmp_path / "parts", values, spec))
    np.testing.assert_array_equal(first_band(path), values)
    with rasterio.open(path) as file:
        assert (file.dtypes, file.nodata) == (("uint16",), 0)


def test_the_same_pixels_give_the_same_bytes(tmp_path: Path) -> None:
    values = blobs((1300, 1100))
    spec = spec_of(values.shape)
    made = []
    for number, (block_size, step) in enumerate([(512, 1), (512, -1), (1024, 1), (2048, 1)]):
        parts = parts_of(tmp_path / f"parts-{number}", values, spec, block_size)
        write_cog(tmp_path / f"{number}.tif", spec, parts[::step])
        made.append((tmp_path / f"{number}.tif").read_bytes())
    assert len(set(made)) == 1


def test_blocks_without_a_part_are_nodata(tmp_path: Path) -> None:
    values = blobs((600, 1600)) + np.uint8(1)
    values[:512, 512:1024] = 0
    spec = spec_of(values.shape, classes=ClassMap.default(5))
    parts = parts_of(tmp_path / "parts", values, spec)
    assert len(parts) == 7
    write_cog(tmp_path / "map.tif", spec, parts)
    np.testing.assert_array_equal(first_band(tmp_path / "map.tif"), values)
    write_cog(tmp_path / "void.tif", spec, [])
    assert not first_band(tmp_path / "void.tif").any()


def test_an_extent_within_the_scene(tmp_path: Path) -> None:
    values = blobs((600, 700))
    spec = spec_of(values.shape, extent=Window.of(1000, 37, 600, 700))
    write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec))
    np.testing.assert_array_equal(first_band(tmp_path / "map.tif"), values)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.31, 0.17, 400_000.1, 0.17, -0.31, 5_800_000.7),
        Affine(0.5, 0.23, 400_000.3, 0, -0.7, 5_800_000.9),
        Affine(0.3, 0, 400_000.1, 0, 0.3, 5_800_000.7),
        Affine(0.1, 0, 400_000.3, 0, -0.1, 5_800_000.7),
        Affine(1 / 3e6, 0, 13.123456789012345, 0, -1 / 3e6, 52.98765432109876),
        Affine.identity(),
    ],
    ids=["rotated", "sheared", "south-up", "north-up", "degrees", "identity"],
)
@pytest.mark.parametrize("meaning", ["Area", "Point"])
def test_the_transform_is_exact(transform: Affine, meaning: str, tmp_path: Path) -> None:
    values = blobs((60, 70))
    crs = None if transform == Affine.identity() else CRS.from_string(UTM)
    # As a scene's file holds it: where a pixel stands for a point, GeoTIFF stores the middle of the first one.
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70), crs=crs, transform=transform)
    with rasterio.open(scene, "r+") as file:
        file.update_tags(AREA_OR_POINT=meaning)
    with rasterio.open(scene) as file:
        georeference = Georeference(file.crs, file.transform)
    spec = spec_of(values.shape, georeference=georeference, area_or_point=meaning)
    write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.transform == georeference.transform
        assert file.crs == georeference.crs
        assert file.tags().get("AREA_OR_POINT", "Area") == meaning


def test_stale_sidecars_are_removed(tmp_path: Path) -> None:
    values = blobs((60, 70))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    parts = parts_of(tmp_path / "parts", values, spec)
    path.write_bytes(b"an older map")
    # A stale .aux.xml changes the nodata of the file beside it, a stale .msk its mask, a stale .ovr what is shown.
    (tmp_path / "map.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>3</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    for name in ("map.tif.ovr", "map.tif.msk", "map.qml"):
        (tmp_path / name).write_bytes(b"stale")
    (tmp_path / "map.txt").write_bytes(b"notes")
    write_cog(path, spec, parts)
    assert {name.name for name in tmp_path.iterdir()} == {"parts", "map.tif", "map.tif.aux.xml", "map.txt"}
    with rasterio.open(path) as file:
        assert file.nodata == 0
        np.testing.assert_array_equal(file.read_masks(1) > 0, values > 0)


def test_a_continuous_band_removes_the_names_of_an_older_class_raster(tmp_path: Path) -> None:
    values = blobs((60, 70))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    parts = parts_of(tmp_path / "parts", values, spec)
    write_cog(path, spec, parts)
    assert (tmp_path / "map.tif.aux.xml").exists()
    write_cog(path, spec_of(values.shape, classes=None), parts)
    assert not (tmp_path / "map.tif.aux.xml").exists()


def test_a_link_is_followed(tmp_path: Path) -> None:
    values = blobs((60, 70))
    (tmp_path / "store").mkdir()
    (tmp_path / "map.tif").symlink_to(tmp_path / "store" / "real.tif")
    spec = spec_of(values.shape)
    write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec))
    assert (tmp_path / "map.tif").is_symlink()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"real.tif", "real.tif.aux.xml"}
    np.testing.assert_array_equal(first_band(tmp_path / "store" / "real.tif"), values)


def test_a_part_that_is_damaged_leaves_the_old_map(tmp_path: Path) -> None:
    values = blobs((600, 600))
    spec, path = spec_of(values.shape), tmp_path / "map.tif"
    parts = parts_of(tmp_path / "parts", values, spec)
    path.write_bytes(b"an older map")
    (tmp_path / "map.qml").write_bytes(b"its style")
    broken = parts[1][1]
    broken.write_bytes(broken.read_bytes()[:200])
    with untouched(tmp_path), pytest.raises(WriteError, match=r"map\.tif: cannot be written"):
        write_cog(path, spec, parts)


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = blobs((60, 70))
    spec = spec_of(values.shape)
    parts = parts_of(tmp_path / "parts", values, spec)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with untouched(tmp_path), pytest.raises(WriteError, match="0 MiB free, about 1 MiB needed"):
        write_cog(tmp_path / "map.tif", spec, parts)


def test_provenance_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    provenance = {"model_sha256": "ab" * 32, "scene": {"name": 'Straße <1> & "2".tif'}, "settings": {"bands": [1, 2]}}
    tags = provenance_tags(provenance)
    values = blobs((60, 70))
    spec = spec_of(values.shape, tags=tags)
    write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec))
    assert read_provenance(tmp_path / "map.tif") == {**provenance, "layer": "classes"}
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags()["TIFFTAG_SOFTWARE"] == f"geoseg {__version__}"
        assert file.tags()["TIFFTAG_DATETIME"] == "2023:11:14 22:13:20"


def test_without_a_given_date_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert set(provenance_tags({})) == {"TIFFTAG_SOFTWARE", "GEOSEG_PROVENANCE"}


def test_other_rasters_have_no_provenance(tmp_path: Path, scene_path: Path) -> None:
    assert read_provenance(scene_path) is None
    assert read_provenance(make_raster(tmp_path / "image.png", landscape(60, 70), driver="PNG")) is None


@pytest.mark.parametrize(("limit", "shape"), [(1200, (600, 900)), (300, (200, 300)), (1, (1, 1))])
def test_a_small_view_keeps_the_classes(limit: int, shape: tuple[int, int], tmp_path: Path) -> None:
    values = blobs((600, 900))
    spec = spec_of(values.shape)
    write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec))
    small = read_small(tmp_path / "map.tif", limit)
    assert small.shape == shape
    assert set(np.unique(small)) <= {0, 1, 3}
