"""Rows 29 to 39 of the table of docs/reliability.md: scenes that are honest, and unlike most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import Outcome, assert_map_of, assert_refused, first_band, geoseg, untouched
from helpers.models import make_model
from helpers.rasters import landscape, make_raster
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from geoseg.config import Opening
from geoseg.errors import SettingError
from geoseg.grid import Window
from geoseg.model.file import save_model
from geoseg.raster.georeference import Georeference, GroundPoint
from geoseg.raster.scene import Scene

Predict = Callable[..., Outcome]
EVERY = np.ones((90, 110), bool)


@pytest.fixture
def predict(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Return a function: predict a scene with the small model to map.tif."""

    def run(scene: object, *more: object) -> Outcome:
        return geoseg(capsys, "predict", scene, "-m", model_path, "-o", tmp_path / "map.tif", *more)

    return run


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    """A model that learnt from float32."""
    path = tmp_path / "float.safetensors"
    save_model(replace(make_model(), dtype="float32"), path)
    return path


def test_row_29_a_crs_with_an_identity_transform(
    tmp_path: Path, predict: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(90, 110), transform=Affine.identity())
    assert predict(scene).code == 0
    assert ["treated as pixel space" in message for message in caplog.messages] == [True]
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.crs, file.transform) == (None, Affine.identity())


POINTS = [
    GroundControlPoint(
        row=row, col=col, x=400_000 + col / 2 + row / 10, y=5_800_000 - row / 2, z=row, id=str(row + col)
    )
    for row in (0, 40.5, 90)
    for col in (0, 110)
]
RATIONAL = RPC(
    height_off=10, height_scale=100, lat_off=52.5, lat_scale=0.1, line_den_coeff=[1.0, *[0.0] * 19],
    line_num_coeff=[0.0, 1.0, *[0.0] * 18], line_off=45, line_scale=45, long_off=13.5, long_scale=0.1,
    samp_den_coeff=[1.0, *[0.0] * 19], samp_num_coeff=[0.0, 0.0, 1.0, *[0.0] * 17], samp_off=55, samp_scale=55,
)  # fmt: skip


def unrectified(path: Path, kind: str) -> Path:
    """A scene that is placed by ground control points, or rational polynomials, only."""
    layout = {"driver": "GTiff", "height": 90, "width": 110, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **layout) as file:
        file.write(landscape(90, 110))
        if kind == "points":
            file.gcps = (POINTS, rasterio.CRS.from_epsg(32633))
        else:
            file.rpcs = RATIONAL
    return path


@pytest.mark.parametrize("kind", ["points", "rational"])
def test_row_30_kept_in_the_raster(
    kind: str, tmp_path: Path, predict: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    scene = unrectified(tmp_path / "scene.tif", kind)
    assert predict(scene).code == 0
    assert ["gdalwarp rectifies it" in message for message in caplog.messages] == [True]
    with rasterio.open(scene) as source, rasterio.open(tmp_path / "map.tif") as file:
        assert (file.crs, file.transform) == (None, Affine.identity())
        (points, crs), (others, other) = source.gcps, file.gcps
        assert [(p.row, p.col, p.x, p.y, p.z) for p in points] == [(p.row, p.col, p.x, p.y, p.z) for p in others]
        assert crs == other
        assert len(points) == (6 if kind == "points" else 0)
        assert (source.rpcs is None) == (file.rpcs is None) == (kind == "points")
        if kind == "rational":
            assert file.rpcs.to_gdal() == source.rpcs.to_gdal()


@pytest.mark.parametrize("kind", ["points", "rational"])
def test_row_30_shifted_with_a_part(kind: str, tmp_path: Path, predict: Predict) -> None:
    scene = unrectified(tmp_path / "scene.tif", kind)
    assert predict(scene, "--bounds", 20, 30, 70, 80).code == 0
    with rasterio.open(scene) as source, rasterio.open(tmp_path / "map.tif") as file:
        assert file.shape == (50, 50)
        assert file.transform == Affine.identity()
        if kind == "points":
            assert [(p.row + 30, p.col + 20, p.x) for p in file.gcps[0]] == [(p.row, p.col, p.x) for p in POINTS]
        else:
            assert (file.rpcs.line_off, file.rpcs.samp_off) == (source.rpcs.line_off - 30, source.rpcs.samp_off - 20)
            assert file.rpcs.lat_off == source.rpcs.lat_off


def test_points_move_with_a_window() -> None:
    place = Georeference(None, Affine.identity(), (GroundPoint(5, 7, 1, 2, 3),), "", (("LINE_OFF", "5"), ("A", "b")))
    moved = place.shifted(Window.of(2, 3, 1, 1))
    assert moved.points == (GroundPoint(3, 4, 1, 2, 3),)
    assert dict(moved.rpcs) == {"LINE_OFF": "3.0", "A": "b"}


@pytest.mark.parametrize("kind", ["points", "rational"])
def test_row_30_polygons_are_refused(
    kind: str, tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = unrectified(tmp_path / "scene.tif", kind)
    for command in (
        ("polygonize", scene, "-o", tmp_path / "out.gpkg"),
        ("superpixels", scene, "-o", tmp_path / "out.gpkg"),
    ):
        with untouched(tmp_path):
            assert geoseg(capsys, *command).code == 65
    with untouched(tmp_path):
        outcome = predict(scene, "--polygons", tmp_path / "out.gpkg")
    assert_refused(outcome, 65, scene, f"gdalwarp {scene} rectified.tif")
    assert predict(scene).code == 0
    outcome = geoseg(capsys, "polygonize", tmp_path / "map.tif", "-o", tmp_path / "out.gpkg")
    assert_refused(outcome, 65, tmp_path / "map.tif", "gdalwarp")


def test_row_31_geodesic_areas_across_the_antimeridian(tmp_path: Path, predict: Predict) -> None:
    step = 0.01
    transform = Affine(step, 0, 179.5, 0, -step, 60.0)
    scene = make_raster(tmp_path / "scene.tif", landscape(90, 110), crs="EPSG:4326", transform=transform)
    assert predict(scene, "--polygons", tmp_path / "map.gpkg").code == 0
    classes = assert_map_of(tmp_path / "map.tif", scene, EVERY)
    frame = geopandas.read_file(tmp_path / "map.gpkg", layer="classes")
    geod = Geod(ellps="WGS84")
    rows = [
        abs(geod.polygon_area_perimeter([0, step, step, 0], [top, top, top - step, top - step])[0])
        for top in (60 - step * row for row in range(90))
    ]
    for value in np.unique(classes):
        expected = float(((classes == value).sum(axis=1) * np.array(rows)).sum())
        assert math.isclose(frame.area_m2[frame.class_id == value].sum(), expected, rel_tol=1e-4)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_row_34_scale_and_offset_are_applied(
    dtype: str, tmp_path: Path, predict: Predict, float_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = landscape(90, 110).astype(np.float32)
    plain = make_raster(tmp_path / "plain.tif", values)
    assert predict(plain, "-m", float_model).code == 0
    expected = first_band(tmp_path / "map.tif")
    # For the same kind of number only the offset counts: the scale may have been lost, or be newer.
    pixels = ((values - 5) / (1 if dtype == "float32" else 0.01)).astype(dtype)
    scene = make_raster(tmp_path / "scene.tif", pixels)
    with rasterio.open(scene, "r+") as file:
        file.scales, file.offsets = (1.0 if dtype == "float32" else 0.01,) * 3, (5.0,) * 3
    caplog.set_level("INFO", "geoseg")
    assert predict(scene, "-m", float_model, "--overwrite").code == 0
    np.testing.assert_array_equal(first_band(tmp_path / "map.tif"), expected)
    assert any(str(scene) in message and "scale or offset" in message for message in caplog.messages)
    assert not any("--rescale" in message for message in caplog.messages)
    with Scene(scene) as opened:
        np.testing.assert_array_equal(opened.read(opened.extent)[0], pixels)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_row_35_complex(dtype: str, tmp_path: Path, predict: Predict) -> None:
    scene = tmp_path / "scene.tif"
    layout = {"driver": "GTiff", "height": 30, "width": 40, "count": 1, "dtype": dtype, "crs": "EPSG:32633"}
    with rasterio.open(scene, "w", **layout, transform=Affine(1, 0, 9, 0, -1, 9)) as file:
        file.write(np.ones((1, 30, 40), np.complex64))
    with untouched(tmp_path):
        assert_refused(predict(scene), 65, scene, "complex pixels", "amplitude")


def test_row_39_cmyk(tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
    inks = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black)
    scene = make_raster(tmp_path / "inks.tif", landscape(90, 110, bands=4), colorinterp=inks)
    with untouched(tmp_path):
        assert_refused(predict(scene), 65, scene, "CMYK", "convert it to RGB first")
    assert geoseg(capsys, "info", scene).code == 0
    assert predict(scene, "--bands", "1,2,3").code == 0


def test_row_39_cmyk_that_gdal_converts(tmp_path: Path, predict: Predict) -> None:
    pixels = landscape(90, 110, bands=4)
    scene = make_raster(tmp_path / "scene.tif", pixels, photometric="CMYK", interleave="pixel")
    with Scene(scene) as opened:
        assert opened.band_names == ("red", "green", "blue")
        found = opened.read(opened.extent)[0].astype(float)
    inks = 255 - pixels.astype(float)
    np.testing.assert_allclose(found, inks[:3] * inks[3] / 255, atol=2)
    assert predict(scene).code == 0


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int32", "int64", "uint64", "float64"])
def test_row_39_other_types(dtype: str, tmp_path: Path, predict: Predict) -> None:
    pixels = (landscape(90, 110) // 2).astype(dtype)
    scene = make_raster(tmp_path / "scene.tif", pixels)
    with untouched(tmp_path):
        assert_refused(predict(scene), 65, scene, dtype, "uint8", "--rescale")
    assert predict(scene, "--rescale").code == 0
    assert_map_of(tmp_path / "map.tif", scene, EVERY)


def test_row_39_one_bit(tmp_path: Path, predict: Predict) -> None:
    pixels = (landscape(90, 110) > 120).astype(np.uint8)
    scene = make_raster(tmp_path / "scene.tif", pixels, nbits=1)
    assert predict(scene).code == 0
    assert_map_of(tmp_path / "map.tif", scene, EVERY)
    with Scene(scene) as opened:
        np.testing.assert_array_equal(opened.read(opened.extent)[0], pixels)


@pytest.mark.parametrize("declared", ["-9999", "300", "1.5", "nan", "1e40"])
def test_row_39_nodata_outside_the_type(
    declared: str, tmp_path: Path, predict: Predict, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make_raster(tmp_path / "scene.tif", landscape(90, 110), nodata=99)
    data = scene.read_bytes()
    at = data.index((42113).to_bytes(2, "little"))
    text = declared.encode() + b"\0"
    # Up to four bytes lie in the entry itself; more of them at the end of the file.
    place = text.ljust(4, b"\0") if len(text) <= 4 else len(data).to_bytes(4, "little")
    scene.write_bytes(data[: at + 4] + len(text).to_bytes(4, "little") + place + data[at + 12 :] + text)
    assert predict(scene).code == 0
    assert_map_of(tmp_path / "map.tif", scene, EVERY)
    with rasterio.open(scene) as file:
        known = file.nodata is not None and not np.isnan(file.nodata)
    assert ["which is not a value of uint8" in message for message in caplog.messages] == [True] * known


@pytest.mark.parametrize("value", [-9999.0, float(np.finfo(np.float32).min)])
def test_nodata_that_nobody_declared(value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = landscape(90, 110).astype(np.float32)
    pixels[:, :20] = value
    scene = make_raster(tmp_path / "scene.tif", pixels)
    with Scene(scene) as opened:
        for _ in range(2):
            assert opened.read(opened.extent)[1].all()
    assert ["give --nodata" in message for message in caplog.messages] == [True]
    caplog.clear()
    with Scene(scene, opening=Opening(nodata=value)) as opened:
        valid = opened.read(opened.extent)[1]
        assert opened.masks == f"nodata {value:g}"
    assert not valid[:20].any()
    assert valid[20:].all()
    assert not caplog.messages


def test_nodata_that_is_given(tmp_path: Path, predict: Predict) -> None:
    pixels = landscape(90, 110)
    pixels[1, :, :30] = 7
    scene = make_raster(tmp_path / "scene.tif", pixels, nodata=200)
    assert predict(scene, "--nodata", 7).code == 0
    np.testing.assert_array_equal(first_band(tmp_path / "map.tif") > 0, (pixels != 7).all(axis=0))
    with pytest.raises(SettingError, match=r"--nodata -1 is not a value of uint8"):
        Scene(scene, opening=Opening(nodata=-1))
    with pytest.raises(SettingError, match=r"--nodata 0\.5 is not a value of uint8"):
        Scene(scene, opening=Opening(nodata=0.5))


def test_nodata_and_alpha_both_hold(tmp_path: Path) -> None:
    pixels = landscape(40, 50, bands=4)
    pixels[3], pixels[3, :10], pixels[0, :, :5] = 255, 0, 7
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    path = make_raster(tmp_path / "scene.tif", pixels, colorinterp=colours)
    with Scene(path, opening=Opening(nodata=7)) as scene:
        valid = scene.read(scene.extent)[1]
    np.testing.assert_array_equal(valid, (pixels[:3] != 7).all(axis=0) & (pixels[3] > 0))
