"""Superpixels of a scene as files: ids, polygons and statistics, whatever the blocks, and what becomes of trouble."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from helpers.commandline import contents, first_band, untouched
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_info, cog_validate
from skimage.measure import label

from geoseg.config import SegmentConfig
from geoseg.errors import OutputError, RunError, SettingError, WriteError
from geoseg.files.atomic import sha256
from geoseg.files.record import record_path
from geoseg.jobs.superpixels import SuperpixelsJob
from geoseg.outputs.styles import outline_qml
from geoseg.prediction.segmenter import SUPERPIXEL_LAYER, column_names
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import band_stats, colour_scale
from geoseg.segments.superpixels import colour, segment
from geoseg.vector.arrow import VectorSpec
from geoseg.vector.writer import write_layer

SMALL = {"size": 9, "iterations": 2, "compactness": 12.5, "min_size": 30}
"""Cells that are no divisor of a block, and few steps: quick, and every setting other than its default."""


def cut(scene: Path, out: Path, **settings: Any) -> Path:
    """Write the superpixels of a scene."""
    with SuperpixelsJob(SegmentConfig(scene, out, **{**SMALL, **settings})) as job:
        for _ in job.run():
            pass
    return out


def features(path: Path) -> geopandas.GeoDataFrame:
    """The features of a file by id."""
    layer = {"layer": SUPERPIXEL_LAYER} if path.suffix == ".gpkg" else {}
    return geopandas.read_file(path, **layer).sort_values("id", ignore_index=True)


def whole(path: Path, **settings: Any) -> NDArray[np.uint32]:
    """The ids of the scene, all of it at once in memory."""
    made = {**SMALL, **settings}
    with Scene(path) as scene:
        pixels, valid = scene.read(scene.extent)
        offset, scale = colour_scale(band_stats([scene]), str(scene.dtype))
        found = segment(colour(pixels, valid, offset=offset, scale=scale), valid, **made)
    return found.ids[found.labels]


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of 3 x 3 blocks of 512, with a transparent corner and a hole."""
    rows, cols = 1100, 1230
    pixels = np.concatenate([landscape(rows, cols), np.full((1, rows, cols), 255, np.uint8)])
    y, x = np.mgrid[:rows, :cols]
    pixels[3, x + y < 300] = 0
    pixels[3, 500:540, 480:900] = 0
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    return make_raster(tmp_path_factory.mktemp("holed") / "scene.tif", pixels, colorinterp=colours)


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of thin stripes, down in one field and across in the next: where position weighs little, superpixels
    reach along them as far as they may."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:700, :830]
    stripe = np.where((y // 64 + x // 64) % 2 == 0, y // 3, 300 + x // 3)
    levels = random.integers(20, 235, (3, 700))[:, stripe]
    pixels = (levels + random.normal(0, 3, levels.shape)).astype(np.uint8)
    return make_raster(tmp_path_factory.mktemp("striped") / "scene.tif", pixels)


@cache
def reference(scene: Path) -> tuple[NDArray[np.uint32], geopandas.GeoDataFrame]:
    """The ids and the features of a scene in one block."""
    folder = scene.parent
    ids = first_band(cut(scene, folder / "whole.tif", block_size=2048))
    return ids, features(cut(scene, folder / "whole.gpkg", block_size=2048))


def test_ids_are_those_of_the_whole_scene_and_nodata_stays_nodata(holed: Path) -> None:
    ids, _ = reference(holed)
    np.testing.assert_array_equal(ids, whole(holed))
    with rasterio.open(holed) as file:
        np.testing.assert_array_equal(ids > 0, file.read(4) > 0)


def test_law_2_block_independence_of_superpixels_that_reach_far(tmp_path: Path, striped: Path) -> None:
    settings = {"compactness": 0.5, "iterations": 4}
    ids = first_band(cut(striped, tmp_path / "ids.tif", **settings, block_size=512))
    np.testing.assert_array_equal(ids, whole(striped, **settings))
    frame = features(cut(striped, tmp_path / "segments.gpkg", **settings, block_size=512))
    one = features(cut(striped, tmp_path / "one.gpkg", **settings, block_size=1024))
    size = SMALL["size"]
    extents = frame.bounds.eval("maxx - minx").to_numpy() / 0.5
    assert (extents == 3 * size).sum() > 100, "they do not reach far"
    assert frame.equals(one)
    assert frame["id"].tolist() == np.unique(ids).tolist()


@pytest.mark.parametrize(("block_size", "workers"), [(512, 1), (1024, 2)])
def test_law_2_block_independence_of_superpixels(tmp_path: Path, holed: Path, block_size: int, workers: int) -> None:
    """Raster, polygons and statistics are the same to the last bit."""
    ids, frame = reference(holed)
    settings = {"block_size": block_size, "workers": workers}
    np.testing.assert_array_equal(first_band(cut(holed, tmp_path / "ids.tif", **settings)), ids)
    assert (tmp_path / "ids.tif").read_bytes() == (holed.parent / "whole.tif").read_bytes()
    other = features(cut(holed, tmp_path / "segments.gpkg", **settings))
    assert list(other.columns) == list(frame.columns)
    for name in frame.columns[:-1]:
        assert other[name].to_numpy().tobytes() == frame[name].to_numpy().tobytes(), name
    assert other.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()


def test_polygons_are_the_superpixels(holed: Path) -> None:
    """One valid polygon each, together exactly the valid pixels, and burnt back they give the ids."""
    ids, frame = reference(holed)
    assert frame["id"].tolist() == np.unique(ids)[1:].tolist()
    shapes = frame.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert shapely.area(shapes).sum() == (ids > 0).sum() * 0.25
    burnt = rasterize(zip(shapes, frame["id"], strict=True), ids.shape, transform=TRANSFORM, dtype="int64")
    np.testing.assert_array_equal(burnt, ids)
    assert (frame["area_m2"] == frame["pixels"] * 0.25).all()


def assert_statistics(path: Path, ids: NDArray[np.uint32], frame: geopandas.GeoDataFrame, names: list[str]) -> None:
    """The statistics of the features are numpy's over the pixels of the scene."""
    order = np.argsort(ids, axis=None, kind="stable")
    found, starts = np.unique(ids.ravel()[order], return_index=True)
    with rasterio.open(path) as file:
        bands = file.read()[: len(names)].astype(np.float64)
    assert frame["id"].tolist() == found[found > 0].tolist()
    for name, band in zip(names, bands, strict=True):
        groups = [g for i, g in zip(found, np.split(band.ravel()[order], starts[1:]), strict=True) if i]
        assert frame["pixels"].tolist() == [len(group) for group in groups]
        np.testing.assert_allclose(frame[f"mean_{name}"], [group.mean() for group in groups], rtol=1e-12)
        np.testing.assert_allclose(frame[f"std_{name}"], [group.std() for group in groups], rtol=1e-9, atol=1e-9)


def test_statistics_are_numpys(holed: Path) -> None:
    ids, frame = reference(holed)
    assert_statistics(holed, ids, frame, ["red", "green", "blue"])


@pytest.mark.parametrize("kind", ["float32", "uint16", "int16"])
def test_other_numbers_are_scaled_by_the_whole_scene_and_averaged_as_they_are(tmp_path: Path, kind: str) -> None:
    pixels = landscape(600, 140, 4).astype(np.float64) * 37.25 - 1000
    pixels = np.maximum(pixels, 0).astype(kind) if kind == "uint16" else pixels.astype(kind)
    # Half of the scene is dark: scaled block by block it would look like the other half.
    pixels[:, 512:] //= 8
    scene = make_raster(tmp_path / "scene.tif", pixels)
    ids = first_band(cut(scene, tmp_path / "ids.tif", block_size=512))
    np.testing.assert_array_equal(ids, whole(scene))
    frame = features(cut(scene, tmp_path / "segments.fgb", block_size=512))
    names = ["band_1", "band_2", "band_3", "band_4"]
    assert [name for name in frame if name.startswith("mean")] == [f"mean_{name}" for name in names]
    assert_statistics(scene, ids, frame, names)


def test_nan_is_no_part_of_a_superpixel(tmp_path: Path) -> None:
    pixels = landscape(120, 130).astype(np.float32)
    pixels[1, 40:70, 50:90] = np.nan
    scene = make_raster(tmp_path / "scene.tif", pixels)
    ids = first_band(cut(scene, tmp_path / "ids.tif"))
    np.testing.assert_array_equal(ids == 0, np.isnan(pixels[1]))
    frame = features(cut(scene, tmp_path / "segments.gpkg"))
    assert frame["pixels"].sum() == (ids > 0).sum()
    assert np.isfinite(frame["mean_band_2"]).all()


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
@pytest.mark.parametrize(
    "transform",
    [
        Affine.translation(400_000, 5_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.25),
        Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000),
    ],
    ids=["rotated", "south-up"],
)
def test_rings_follow_the_pixels_of_a_rotated_or_south_up_scene(tmp_path: Path, transform: Affine, suffix: str) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(90, 110), transform=transform)
    ids = first_band(cut(scene, tmp_path / "ids.tif"))
    with rasterio.open(tmp_path / "ids.tif") as file:
        assert file.transform == transform
    frame = features(cut(scene, tmp_path / f"segments{suffix}"))
    shapes = frame.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    burnt = rasterize(zip(shapes, frame["id"], strict=True), ids.shape, transform=transform, dtype="int64")
    np.testing.assert_array_equal(burnt, ids)
    np.testing.assert_allclose(frame["area_m2"], shapely.area(shapes), rtol=1e-6)


def test_areas_of_a_geographic_scene_are_geodesic(tmp_path: Path) -> None:
    transform = Affine(1e-5, 0, 9, 0, -1e-5, 52)
    scene = make_raster(tmp_path / "scene.tif", landscape(700, 60), crs="EPSG:4326", transform=transform)
    frame = features(cut(scene, tmp_path / "segments.gpkg", block_size=512))
    geod = pyproj.Geod(ellps="WGS84")
    geodesic = [geod.geometry_area_perimeter(shape)[0] for shape in frame.geometry]
    np.testing.assert_allclose(frame["area_m2"], geodesic, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_without_crs_there_is_no_area(tmp_path: Path, suffix: str) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(60, 70), crs=None)
    frame = features(cut(scene, tmp_path / f"segments{suffix}"))
    assert list(frame.columns[:3]) == ["id", "pixels", "mean_red"]
    assert frame.total_bounds.tolist() == [400_000, 5_799_970, 400_035, 5_800_000]
    assumed = features(cut(scene, tmp_path / f"assumed{suffix}", assume_crs=UTM))
    assert "area_m2" in assumed
    assert assumed.crs == UTM


LOCAL = CRS.from_string("+proj=lcc +lat_1=48 +lat_2=51 +lat_0=47 +lon_0=9.3 +x_0=1000 +ellps=GRS80 +units=m").to_wkt()
FALSE_CODE = CRS.from_epsg(32633).to_wkt().replace('"central_meridian",15', '"central_meridian",16')


@pytest.mark.parametrize("wkt", [LOCAL, FALSE_CODE, CRS.from_epsg(2056).to_wkt()], ids=["local", "false code", "lv95"])
@pytest.mark.parametrize("driver", ["GPKG", "FlatGeobuf"])
def test_the_crs_is_kept_as_it_was_read(tmp_path: Path, wkt: str, driver: str) -> None:
    path = tmp_path / ("layer.gpkg" if driver == "GPKG" else "layer.fgb")
    write_layer(path, VectorSpec(driver, "layer", {"id": "int64"}, wkt), [])
    assert pyproj.CRS(pyogrio.read_info(path)["crs"]).equals(pyproj.CRS(wkt), ignore_axis_order=True)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_scene_without_a_valid_pixel(tmp_path: Path, kind: type) -> None:
    scene = make_raster(tmp_path / "scene.tif", np.zeros((3, 60, 70), kind), nodata=0)
    assert not first_band(cut(scene, tmp_path / "ids.tif")).any()
    for suffix in (".gpkg", ".fgb"):
        frame = features(cut(scene, tmp_path / f"segments{suffix}"))
        assert len(frame) == 0
        assert list(frame.columns[:3]) == ["id", "pixels", "area_m2"]


def test_the_raster_is_a_cog_of_ids(tmp_path: Path, holed: Path) -> None:
    ids, _ = reference(holed)
    path = holed.parent / "whole.tif"
    valid, errors, warnings = cog_validate(path)
    assert (valid, errors, warnings) == (True, [], [])
    assert cog_info(path).COG
    with rasterio.open(path) as file, rasterio.open(holed) as scene:
        assert (file.count, file.dtypes, file.nodata) == (1, ("uint32",), 0)
        assert (file.transform, file.crs.to_wkt()) == (scene.transform, scene.crs.to_wkt())
        assert file.descriptions == ("superpixels",)
        assert file.colorinterp == (ColorInterp.gray,)
        assert file.compression.name == "deflate"
        assert json.loads(file.tags()["GEOSEG_PROVENANCE"])["settings"]["superpixels"] == SMALL
        factor = file.overviews(1)[0]
    with rasterio.open(path, overview_level=0) as small:
        # Ids of overviews are ids of the pixels they stand for, never a mean of them.
        coarse = small.read(1)
    rows, cols = np.mgrid[: coarse.shape[0], : coarse.shape[1]] * factor
    near = np.stack([ids[(rows + i).clip(max=1099), (cols + j).clip(max=1229)] for i in (0, 1) for j in (0, 1)])
    assert (coarse == near).any(axis=0).all()


def test_the_record_names_the_output_with_its_checksum(tmp_path: Path, scene_path: Path) -> None:
    for name in ("ids.tif", "segments.gpkg", "flat.fgb"):
        out = cut(scene_path, tmp_path / name)
        record = json.loads(record_path(out).read_text())
        files = [out] if name.endswith(".gpkg") else [out, out.with_suffix(".qml")]
        assert record["files"] == {path.name: sha256(path) for path in files}
        assert record["scene"] == {"name": "scene.tif", "bytes": scene_path.stat().st_size, "shape": [300, 420]}
        assert record["settings"] == {"bands": [1, 2, 3], "superpixels": SMALL}
        assert record.get("superpixels") == (None if name == "ids.tif" else len(features(out)))
    names = {"scene.tif", "ids.tif", "ids.qml", "segments.gpkg", "flat.fgb", "flat.qml"}
    assert set(contents(tmp_path)) == names | {f"{stem}.geoseg.json" for stem in ("ids", "segments.gpkg", "flat.fgb")}


@pytest.mark.parametrize("name", ["ids.tif", "segments.gpkg", "segments.fgb"])
def test_law_6_interrupted_superpixels_equal_uninterrupted(
    tmp_path: Path, holed: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "other").mkdir()
    at_once = cut(holed, tmp_path / "other" / name, block_size=512)
    out = tmp_path / name
    config = SegmentConfig(holed, out, **SMALL, block_size=512)
    with SuperpixelsJob(config) as job:
        receipts = job.run()
        assert [next(receipts).reused for _ in range(3)] == [False] * 3
        receipts.close()
        assert not out.exists()
        kept = sorted(job.run_path.glob("part-*.json"))
        # A part that is not what was recorded is computed again.
        damaged = next(job.run_path.glob("part-000001-*"))
        damaged.write_bytes(damaged.read_bytes()[:-1])
    with SuperpixelsJob(config) as job:
        reused = [receipt.reused for receipt in job.run()]
    assert sum(reused) == len(kept) - 1 >= 2
    assert len(reused) == 9
    assert out.read_bytes() == at_once.read_bytes()
    assert not job.run_path.exists()


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_an_interruption_while_the_file_is_written_is_none_of_the_disk(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL asks Python for the features: Ctrl-C there must not end as an error of GDAL."""
    out = tmp_path / f"segments{suffix}"
    read, parts = Path.read_bytes, []

    def interrupted(path: Path) -> bytes:
        joined = path.suffix == ".arrow" and not path.name.startswith(".")
        parts.extend([path] * joined)
        if joined and len(parts) == 2:
            raise KeyboardInterrupt
        return read(path)

    scene = make_raster(tmp_path / "scene.tif", landscape(70, 1100))
    with SuperpixelsJob(SegmentConfig(scene, out, **SMALL, block_size=512)) as job, monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(job.run())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif", f"segments{suffix}.run"]
    with SuperpixelsJob(SegmentConfig(scene, out, **SMALL, block_size=512)) as job:
        assert [receipt.reused for receipt in job.run()] == [True] * 3
    assert len(features(out))


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_a_file_that_reads_back_otherwise_is_not_published(
    tmp_path: Path, scene_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"segments{suffix}"
    out.write_bytes(b"the old one")
    write = pyogrio.write_arrow

    def losing(source: Any, path: Path, **how: Any) -> None:
        table = source.read_all()
        write(table.slice(1) if len(table) else table, path, **how)

    with SuperpixelsJob(SegmentConfig(scene_path, out, **SMALL, overwrite=True)) as job, monkeypatch.context() as patch:
        patch.setattr(pyogrio, "write_arrow", losing)
        with pytest.raises(WriteError, match="reads back other polygons"):
            list(job.run())
    assert out.read_bytes() == b"the old one"
    assert sorted(contents(tmp_path))[-1].startswith("segments")
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, scene_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "segments.gpkg"
    with SuperpixelsJob(SegmentConfig(scene_path, out, **SMALL)) as job, monkeypatch.context() as patch:
        patch.setattr("geoseg.files.atomic.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        with pytest.raises(WriteError, match="MiB needed; free some"):
            list(job.run())
    assert not out.exists()
    assert job.run_path.exists()


def test_a_folder_that_cannot_be_written_to_while_publishing(
    tmp_path: Path, scene_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise pyogrio.errors.DataSourceError("disk I/O error\nsecond line")

    with SuperpixelsJob(SegmentConfig(scene_path, tmp_path / "a.gpkg", **SMALL)) as job, monkeypatch.context() as patch:
        patch.setattr(pyogrio, "write_arrow", failing)
        with pytest.raises(WriteError, match=r"a\.gpkg: cannot be written \(disk I/O error\)"):
            list(job.run())


def test_what_sqlite_left_beside_an_old_geopackage_goes(tmp_path: Path, scene_path: Path) -> None:
    """A write-ahead log of the old file would be applied to the new one."""
    for suffix in ("-wal", "-shm", "-journal"):
        (tmp_path / f"segments.gpkg{suffix}").write_bytes(b"stale")
    out = cut(scene_path, tmp_path / "segments.gpkg")
    assert set(contents(tmp_path)) == {"scene.tif", "segments.gpkg", "segments.gpkg.geoseg.json"}
    assert len(features(out))


@pytest.mark.parametrize("name", ["segments.shp", "segments.geojson", "segments", "segments.png"])
def test_another_suffix_is_refused_with_those_there_are(tmp_path: Path, scene_path: Path, name: str) -> None:
    words = "segments.tif for a raster of ids, segments.gpkg or segments.fgb for polygons"
    with untouched(tmp_path), pytest.raises(OutputError, match=words):
        SuperpixelsJob(SegmentConfig(scene_path, tmp_path / name))


@pytest.mark.parametrize("suffix", [".tif", ".gpkg", ".fgb"])
def test_an_existing_output_is_replaced_only_where_told(tmp_path: Path, scene_path: Path, suffix: str) -> None:
    out = tmp_path / f"old{suffix}"
    out.write_bytes(b"the old one")
    with untouched(tmp_path), pytest.raises(OutputError, match="exists already"):
        SuperpixelsJob(SegmentConfig(scene_path, out))
    cut(scene_path, out, overwrite=True)
    assert out.stat().st_size > 1000
    with untouched(tmp_path), pytest.raises(OutputError, match="is the input itself"):
        SuperpixelsJob(SegmentConfig(scene_path, scene_path, overwrite=True))


def test_a_run_with_other_settings_is_refused(tmp_path: Path, scene_path: Path) -> None:
    out = tmp_path / "ids.tif"
    with SuperpixelsJob(SegmentConfig(scene_path, out, **SMALL)) as job:
        receipts = job.run()
        next(receipts)
        receipts.close()
    changes: list[dict[str, Any]] = [{"size": 10}, {"min_size": None}, {"bands": (3, 2, 1)}, {"block_size": 512}]
    for change in changes:
        with (
            SuperpixelsJob(SegmentConfig(scene_path, out, **{**SMALL, **change})) as job,
            pytest.raises(RunError, match=r"was started with different settings: .*--restart"),
        ):
            next(job.run())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 3), ("iterations", 0), ("compactness", 0.0), ("min_size", -1), ("block_size", 1000), ("workers", 0)],
)
def test_a_setting_that_cannot_work(setting: str, value: Any) -> None:
    with pytest.raises(SettingError, match=str(value)):
        SegmentConfig(Path("s.tif"), Path("s.gpkg"), **{setting: value})


def test_columns_are_named_after_bands_each_otherwise() -> None:
    assert column_names(("red", "green", "band 4")) == ("red", "green", "band_4")
    assert column_names(("Red", "RED", "red_2", "red")) == ("red", "red_2", "red_2_2", "red_3")
    assert column_names(("B8A (865 nm)", "", "  ", "Höhe")) == ("b8a_865_nm", "band_2", "band_3", "höhe")


TORCHLESS = """
import sys
from geoseg.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
print(*({"torch", "segmentation_models_pytorch"} & set(sys.modules)))
"""


def test_superpixels_need_no_torch(tmp_path: Path, scene_path: Path) -> None:
    for name in ("ids.tif", "segments.gpkg"):
        command = [sys.executable, "-c", TORCHLESS, "-q", "superpixels", str(scene_path), "-o", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == f"{tmp_path / name}\n\n"


def test_an_id_says_from_which_cell_a_superpixel_grew(tmp_path: Path) -> None:
    """As the documentation has it, of noise, which leaves many pieces, and of a scene with holes."""
    size, pixels = SMALL["size"], np.random.default_rng(0).integers(1, 256, (3, 100, 140)).astype(np.uint8)
    pixels[:, 30:60, 20:50] = 0
    pixels[:, :, 100:] = landscape(100, 40)
    ids = first_band(
        cut(make_raster(tmp_path / "s.tif", pixels, nodata=0), tmp_path / "i.tif", compactness=0.5, min_size=9)
    )
    columns = -(-ids.shape[1] // size)
    cells = columns * -(-ids.shape[0] // size)
    rows, cols = np.nonzero(ids)
    found = ids[rows, cols].astype(np.int64)
    down, right = np.divmod((found - 1) % cells, columns)
    own = found <= cells
    assert np.abs(rows // size - down)[own].max() == np.abs(cols // size - right)[own].max() == 1
    pieces, first = np.unique(found, return_index=True)
    begins = rows[first] // size * columns + cols[first] // size
    np.testing.assert_array_equal(begins[pieces > cells], ((pieces - 1) % cells)[pieces > cells])
    assert 10 < (pieces > cells).sum() < len(pieces) - 10
    assert len(pieces) == label(ids, background=0, connectivity=1).max(), "every superpixel is one region"


def test_styles_come_with_superpixels(tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "s.tif", landscape(60, 70))
    for name in ("ids.tif", "p.fgb"):
        cut(scene, tmp_path / name)
        style = (tmp_path / name).with_suffix(".qml")
        assert json.loads(record_path(tmp_path / name).read_text())["files"].keys() == {name, style.name}
    assert b'type="hillshade"' in (tmp_path / "ids.qml").read_bytes()
    # A style of the user's own stays, and is none of the result.
    (tmp_path / "p.qml").write_bytes(b"mine")
    cut(scene, tmp_path / "p.fgb", overwrite=True)
    assert (tmp_path / "p.qml").read_bytes() == b"mine"
    assert json.loads(record_path(tmp_path / "p.fgb").read_text())["files"].keys() == {"p.fgb"}
    (tmp_path / "p.qml").write_bytes(outline_qml())
    cut(scene, tmp_path / "p.fgb", overwrite=True)
    assert json.loads(record_path(tmp_path / "p.fgb").read_text())["files"].keys() == {"p.fgb", "p.qml"}
    styles = pyogrio.read_dataframe(cut(scene, tmp_path / "p.gpkg"), layer="layer_styles", read_geometry=False)
    assert styles["useAsDefault"].tolist() == [True]
    assert 'value="no"' in styles["styleQML"][0]
