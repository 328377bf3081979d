"""A scene off the model: refused, told, or mapped onto the model's range; like the model, nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import Outcome, assert_refused, first_band, geoseg
from helpers.models import make_model
from helpers.rasters import landscape, make_raster
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.files.record import find_record
from geoseg.model.file import Model, load_model, save_model
from geoseg.prediction.fit import Fit, fit
from geoseg.raster.matching import matching
from geoseg.raster.scaling import Scaling
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats, band_stats

IMAGE = landscape(90, 110).astype(np.int64) * 20
"""Values 20 to 5100."""


def model_of(pixels: NDArray[Any], dtype: str = "uint16", **more: Any) -> Model:
    """A model that learnt from these pixels."""
    values = pixels.reshape(3, -1)
    low, high = np.percentile(values, (2, 98), axis=1)
    columns = (values.mean(1), values.std(1), low, high)
    stats = BandStats(*(tuple(map(float, column)) for column in columns), values.shape[1])
    return replace(make_model(), dtype=dtype, stats=stats, **more)


Compare = Callable[..., Fit]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare pixels, written to a file, with a model."""

    def run(model: Model, pixels: NDArray[Any], rescale: bool = False, declared: Any = None, **profile: Any) -> Fit:
        path = make_raster(tmp_path / "scene.tif", pixels, **profile)
        if declared is not None:
            with rasterio.open(path, "r+") as file:
                file.scales, file.offsets = (declared[0],) * 3, (declared[1],) * 3
        with Scene(path) as scene:
            return fit(model, scene, path, rescale)

    return run


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x, ""),
        (lambda x: x * 0.7, ""),
        (lambda x: x + 300, ""),
        (lambda x: x + 1500, "higher on the whole"),
        (lambda x: x + 20000, "higher on the whole"),
        (lambda x: x // 6, "times as wide"),
        (lambda x: x * 8, "a range 8 times as wide"),
    ],
)
def test_other_values_are_told(change: Callable[[Any], Any], words: str, compare: Compare) -> None:
    found = compare(model_of(IMAGE), change(IMAGE).astype(np.uint16))
    assert found.conversion is None
    assert [words in remark and "--rescale" in remark for remark in found.remarks] == [True] * bool(words)


def test_a_collar_is_told_once_and_is_not_taken_for_other_values(compare: Compare) -> None:
    pixels = IMAGE.astype(np.uint16)
    pixels[:, :, :45] = 65535
    found = compare(model_of(IMAGE), pixels)
    assert "--nodata 65535" in found.fill
    assert found.remarks == ()
    assert compare(model_of(IMAGE), pixels, nodata=65535) == Fit(None)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float64"])
def test_another_kind_of_number_is_refused(dtype: str, compare: Compare) -> None:
    with pytest.raises(InputError, match=rf"is {dtype} .*learnt from uint16 .*--rescale"):
        compare(model_of(IMAGE), (IMAGE / 50).astype(dtype))


def test_nothing_is_refused_or_told_of_what_was_just_learnt_from(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", (IMAGE // 200).astype(np.uint8))
    with Scene(path) as scene:
        assert fit(model_of(IMAGE, pixel_size=(9, 9)), scene, path, False, learnt_from=True) == Fit(None)


@pytest.mark.parametrize(("learnt", "dtype"), [("uint16", "int16"), ("int16", "uint32"), ("float32", "float64")])
def test_types_that_hold_the_same_numbers_are_compared_by_their_values(
    learnt: str, dtype: str, compare: Compare
) -> None:
    assert compare(model_of(IMAGE, learnt), IMAGE.astype(dtype)) == Fit(None)


def test_a_declaration_makes_another_type_comparable(compare: Compare) -> None:
    stored = (IMAGE + 1000).astype(np.uint16)
    found = compare(model_of(IMAGE / 10_000, "float32"), stored, declared=(1e-4, -0.1))
    assert found.remarks == ()
    assert found.conversion is not None
    np.testing.assert_allclose(found.conversion.apply(stored), IMAGE / 10_000, atol=1e-6)
    learnt = model_of(IMAGE + 1000, scaling=Scaling((1e-4,) * 3, (-0.1,) * 3))
    found = compare(learnt, (IMAGE / 10_000).astype(np.float32))
    assert found.remarks == ()
    assert found.conversion is not None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_rescaled_percentiles_are_those_of_the_model(dtype: str, compare: Compare) -> None:
    model = model_of(IMAGE)
    pixels = (IMAGE / (25 if dtype == "uint8" else 1)).astype(dtype)
    found = compare(model, pixels, rescale=True)
    assert found.remarks == ()
    assert found.conversion is not None
    mapped = found.conversion.apply(pixels)
    assert mapped.dtype == model.dtype
    np.testing.assert_allclose(np.percentile(mapped, (2, 98), axis=(1, 2)), [model.stats.low, model.stats.high], atol=1)


def test_a_constant_band_is_rescaled_to_the_mean(compare: Compare) -> None:
    pixels = (IMAGE / 25).astype(np.uint8)
    pixels[1] = 3
    found = compare(model_of(IMAGE), pixels, rescale=True)
    assert found.conversion is not None
    assert np.ptp(found.conversion.apply(pixels)[1]) == 0


@pytest.mark.parametrize(
    ("crs", "size", "told"),
    [
        ("EPSG:32633", 0.5, False),
        ("EPSG:32633", 1.0, False),
        ("EPSG:32633", 0.2, True),
        ("EPSG:32633", 3.0, True),
        ("EPSG:4326", 0.5 / 111_320, False),
        ("EPSG:4326", 3.0 / 111_320, True),
        ("EPSG:3857", 0.8, False),
        (None, 3.0, False),
    ],
)
def test_another_resolution_is_told(crs: str | None, size: float, told: bool, compare: Compare) -> None:
    model = model_of(IMAGE, pixel_size=(0.5, 0.5))
    y = 6_800_000 if crs == "EPSG:3857" else 0
    transform = Affine(size, 0, 9, 0, -size, y + 1)
    found = compare(model, IMAGE.astype(np.uint16), crs=crs, transform=transform)
    assert ["on the ground" in remark for remark in found.remarks] == [True] * told
    if told and size == 0.2:
        assert "-outsize 40% 40%" in found.remarks[0]
    assert compare(replace(model, pixel_size=None), IMAGE.astype(np.uint16), crs=crs, transform=transform) == Fit(None)


@pytest.fixture
def predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Predict with a model that learnt from `IMAGE`."""
    save_model(model_of(IMAGE, pixel_size=(0.5, 0.5)), tmp_path / "model.safetensors")

    def run(scene: Path, *more: object) -> Outcome:
        words = (scene, "-m", tmp_path / "model.safetensors", "-o", scene.with_suffix(".map.tif"), *more)
        return geoseg(capsys, "--progress", "none", "predict", *words)

    return run


def test_maps_of_the_same_radiometry_agree(
    predict: Callable[..., Outcome], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = make_raster(tmp_path / "plain.tif", IMAGE.astype(np.uint16))
    shifted = make_raster(tmp_path / "shifted.tif", (IMAGE + 1000).astype(np.uint16))
    with rasterio.open(shifted, "r+") as file:
        file.offsets = (-1000.0,) * 3
    other = make_raster(tmp_path / "other.tif", (IMAGE / 10_000).astype(np.float32))
    assert_refused(predict(other), 65, other, "float32", "uint16", "--rescale")
    for scene, more in ((plain, ()), (shifted, ()), (other, ("--rescale",))):
        assert predict(scene, *more).code == 0
    assert not caplog.messages
    expected = first_band(tmp_path / "plain.map.tif")
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(first_band(tmp_path / "shifted.map.tif"), expected)
    assert (first_band(tmp_path / "other.map.tif") == expected).mean() > 0.95
    record = find_record(tmp_path / "other.map.tif")
    assert record is not None
    settings = record.content["settings"]
    assert settings["rescale"] is True
    assert settings["conversion"]["dtype"] == "uint16"


def test_a_run_with_other_values_is_not_continued(predict: Callable[..., Outcome], tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "scene.tif", IMAGE.astype(np.uint16))
    assert predict(scene, "--keep-run").code == 0
    assert_refused(predict(scene, "--overwrite", "--rescale"), 78, "--restart")


def test_pixel_size_and_scaling_survive_the_file_and_may_be_missing(tmp_path: Path) -> None:
    more = {"pixel_size": (0.1, 0.6), "scaling": Scaling((1e-4,) * 3, (-0.1,) * 3)}
    save_model(model_of(IMAGE, **more), tmp_path / "new.safetensors")
    save_model(model_of(IMAGE), tmp_path / "old.safetensors")
    new, old = (load_model(tmp_path / f"{name}.safetensors") for name in ("new", "old"))
    assert (new.pixel_size, new.scaling) == (more["pixel_size"], more["scaling"])
    assert (old.pixel_size, old.scaling) == (None, None)


@pytest.mark.parametrize("match", ["moments", "percentiles"])
def test_matched_dates_get_one_map_whatever_their_units_and_parts(
    match: str, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    plain = make_raster(tmp_path / "plain.tif", IMAGE.astype(np.uint16))
    # Bands of another light each, in another type.
    light = np.array([0.25, 0.5, 2.0])[:, None, None]
    other = make_raster(tmp_path / "other.tif", (IMAGE * light - 300).astype(np.float32))
    for scene in (plain, other):
        assert predict(scene, "--match", match).code == 0
    expected = first_band(tmp_path / "plain.map.tif")
    assert len(np.unique(expected)) > 2
    assert (first_band(tmp_path / "other.map.tif") == expected).mean() > 0.99
    assert predict(plain, "--match", match, "--overwrite", "--bounds", 400_010, 5_799_970, 400_040, 5_799_990).code == 0
    np.testing.assert_array_equal(first_band(tmp_path / "plain.map.tif"), expected[20:60, 20:80])
    record = find_record(tmp_path / "other.map.tif")
    assert record is not None
    settings = record.content["settings"]
    assert settings["match"] == match
    assert {"gain", "bias"} <= set(settings["conversion"]) or {"source", "target"} <= set(settings["conversion"])


def test_a_run_with_another_match_is_not_continued(predict: Callable[..., Outcome], tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "scene.tif", IMAGE.astype(np.uint16))
    assert predict(scene, "--keep-run", "--match", "moments").code == 0
    assert_refused(predict(scene, "--overwrite"), 78, "different settings: conversion, match", "--restart")
    assert_refused(predict(scene, "--overwrite", "--match", "percentiles"), 78, "--restart")
    assert_refused(predict(scene, "--match", "moments", "--rescale"), 78, "choose one of --match and --rescale")


def test_a_match_is_by_the_whole_scene_and_a_plan_needs_none(
    predict: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = IMAGE.astype(np.uint16)
    pixels[:, 0, 0] = 65000  # no window of a sample has to have it, the moments do
    path = make_raster(tmp_path / "scene.tif", pixels)
    model = model_of(IMAGE)
    with Scene(path) as scene:
        found = fit(model, scene, path, rescale=False, match="moments").conversion
        assert found == matching(band_stats([scene]), model.stats, "uint16", "moments")
    empty = make_raster(tmp_path / "empty.tif", np.zeros_like(pixels), nodata=0)
    assert_refused(predict(empty, "--match", "moments"), 65, empty, "no valid pixel", "leave --match out")
    monkeypatch.setattr("geoseg.prediction.fit.band_stats", lambda scenes: pytest.fail("all of the scene was read"))
    assert predict(path, "--match", "moments", "--dry-run").code == 0
