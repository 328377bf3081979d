"""Settings: what cannot work is refused at once, and the message holds the value."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.config import Blend, PolygonizeConfig, PredictConfig, TrainConfig
from geoseg.errors import SettingError
from geoseg.recipes import ENCODER_STRIDE, RECIPES, STRIDE, Recipe, RecipeName, SuperpixelConfig, WindowConfig
from geoseg.units import Area, Period


def training(**settings: Any) -> TrainConfig:
    """A TrainConfig of some folder."""
    return TrainConfig(Path("data"), **settings)


def predicting(**settings: Any) -> PredictConfig:
    """A PredictConfig of some scene."""
    return PredictConfig((Path("scene.tif"),), Path("classes.tif"), **settings)


def polygonizing(**settings: Any) -> PolygonizeConfig:
    """A PolygonizeConfig of some raster."""
    return PolygonizeConfig(Path("classes.tif"), Path("polygons.gpkg"), **settings)


BAD: list[tuple[Callable[..., Any], str, Any]] = [
    *((SuperpixelConfig, "size", value) for value in (-1, 0, 3, 256)),
    *((SuperpixelConfig, "iterations", value) for value in (0, 51)),
    *((SuperpixelConfig, "compactness", value) for value in (0.0, -1.0, math.nan, math.inf)),
    *((WindowConfig, "tile_size", value) for value in (-64, 0, 32, 100, 1000)),
    *((WindowConfig, "overlap", value) for value in (-32, 1, 100, 544)),
    *((Recipe, "classes", value) for value in (-1, 1, 65535)),
    *((Recipe, "steps", value) for value in (0, -5)),
    *((Recipe, "batch_size", value) for value in (0, 4097)),
    *((Recipe, "patch_size", value) for value in (0, 32, 100, 8192)),
    *((Recipe, "superpixel_size", value) for value in (3, 256)),
    *((Recipe, "start", value) for value in ("colour", "")),
    *((Recipe, "start_share", value) for value in (-0.1, 0.6, 1.5, math.nan)),
    *((Recipe, "warm_share", value) for value in (-0.1, 0.2, 1.5, math.nan)),
    *((Recipe, name, value) for name in ("imbalance", "anchor_weight") for value in (-0.1, math.nan, math.inf)),
    *((Recipe, name, value) for name in ("mixture_superpixels", "checkpoint_every") for value in (-1, 0)),
    *((Recipe, "averaging", value) for value in (-0.1, 1.0, 2.0, math.nan)),
    *((training, "weights", value) for value in ("best", "")),
    *((training, "recipe", value) for value in ("potsdam9", "")),
    *((training, "precision", value) for value in ("float16", "bf16")),
    *((training, "bands", value) for value in ((), (0,), (1, -2))),
    *((training, "minutes", value) for value in (0, -1.5, math.nan, math.inf)),
    *((training, "classes", value) for value in (0, 1)),
    *((training, "steps", value) for value in (0,)),
    *((training, "batch_size", value) for value in (0,)),
    *((training, "patch_size", value) for value in (0, 65)),
    *((training, "superpixel_size", value) for value in (2, 999)),
    *((training, "compactness", value) for value in (-3.0, math.inf)),
    *((training, "seed", value) for value in (-1, 2**32)),
    *((predicting, "blend", value) for value in ("gauss", "")),
    *((predicting, "precision", value) for value in ("float64",)),
    *((predicting, "bands", value) for value in ((), (3, 0))),
    *((predicting, "block_size", value) for value in (0, 256, 1000, 131072)),
    *((predicting, "batch_size", value) for value in (0, 5000)),
    *((Area, "value", value) for value in (0.0, -1.0, math.nan, math.inf)),
    *((polygonizing, "simplify", value) for value in (0.0, -1.0, math.nan, math.inf)),
    *((polygonizing, "field", value) for value in ("", "1st", "a b", "class", "Area_M2", "perim_m")),
    (predicting, "bounds", (0.0, 0.0, 0.0, 1.0)),
    (predicting, "bounds", (0.0, 5.0, 1.0, 1.0)),
    (predicting, "bounds", (0.0, 0.0, math.nan, 1.0)),
    (predicting, "bounds", (-math.inf, 0.0, 1.0, 1.0)),
]


@pytest.mark.parametrize(("config", "name", "value"), BAD)
def test_bad_values_are_refused_and_named(config: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(SettingError) as caught:
        config(**{name: value})
    assert str(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_time_is_for_the_item_only() -> None:
    period = Period.parse("2020-07")
    assert predicting(stac=True, datetime=period).datetime == period
    with pytest.raises(SettingError, match=r"2020-07-01.*--stac"):
        predicting(datetime=period)


@given(st.integers(4, 255), st.integers(1, 50), st.floats(1e-6, 1e6))
def test_superpixel_settings_in_range_are_taken(size: int, iterations: int, compactness: float) -> None:
    assert SuperpixelConfig(size, compactness, iterations).size == size


@given(st.integers(-2, 40), st.integers(-2, 40), st.integers(0, 1))
def test_windows_are_taken_exactly_where_the_grid_and_the_network_can_work(tile: int, overlap: int, odd: int) -> None:
    tile_size, size = tile * ENCODER_STRIDE, overlap * ENCODER_STRIDE + odd
    fits = not odd and tile_size >= 64 and 0 <= 2 * size <= tile_size
    if fits:
        assert WindowConfig(tile_size, size).overlap == size
    else:
        with pytest.raises(SettingError):
            WindowConfig(tile_size, size)


def test_the_strides_fit_together() -> None:
    assert ENCODER_STRIDE % STRIDE == 0


@pytest.mark.parametrize("name", get_args(RecipeName))
def test_a_recipe_is_taken_as_it_is_where_nothing_else_is_asked_for(name: RecipeName) -> None:
    assert training(recipe=name).settled == RECIPES[name]


def test_inmars_has_nothing_that_the_paper_does_not_have() -> None:
    recipe = training(recipe="inmars", classes=6).settled
    ours = ("start_share", "anchor_weight", "imbalance", "averaging")
    assert [getattr(recipe, name) for name in ours] == [0, 0, 0, 0]
    assert (recipe.classes, recipe.marginal_weight, recipe.geometric_weight) == (6, 1, 1)


@pytest.mark.parametrize(("start", "warm"), [(0, 0), (0, 1), (0.5, 0.5), (1, 1)])
def test_phases_may_be_empty(start: float, warm: float) -> None:
    assert Recipe(start_share=start, warm_share=warm).warm_share == warm


@pytest.mark.parametrize("name", [None, "orthophoto"])
def test_few_classes_of_orthophotos_are_learnt_as_those_of_the_protocols(name: RecipeName | None) -> None:
    plain, few = RECIPES["orthophoto"], training(recipe=name, classes=12).settled
    assert (plain.classes, training(recipe=name, classes=13).settled) == (24, replace(plain, classes=13))
    assert training(recipe=name, classes=2).settled == replace(few, classes=2)
    same = ("start", "imbalance", "anchor_weight", "marginal_weight", "start_share", "warm_share", "averaging")
    for protocol in ("potsdam6", "cocostuff15", "quick"):
        assert [getattr(few, key) for key in same] == [getattr(RECIPES[protocol], key) for key in same]
    assert (few.classes, few.steps, few.superpixel_size) == (12, plain.steps, plain.superpixel_size)
    assert (few.start, plain.start) == ("auto", "hue")
    assert few.imbalance > plain.imbalance
    own = training(recipe=name, classes=5, steps=7, batch_size=3, patch_size=64, superpixel_size=9).settled
    assert own == replace(few, classes=5, steps=7, batch_size=3, patch_size=64, superpixel_size=9)


@pytest.mark.parametrize("name", [name for name in get_args(RecipeName) if name != "orthophoto"])
@pytest.mark.parametrize("classes", [2, 12, 13, 30])
def test_other_recipes_are_for_any_number_of_classes(name: RecipeName, classes: int) -> None:
    assert training(recipe=name, classes=classes).settled == replace(RECIPES[name], classes=classes)


@pytest.mark.parametrize("name", get_args(RecipeName))
def test_own_values_replace_those_of_the_recipe(name: RecipeName) -> None:
    own = {"classes": 13, "steps": 7, "batch_size": 2, "patch_size": 64, "superpixel_size": 9}
    settled = training(recipe=name, **own).settled
    assert {key: getattr(settled, key) for key in own} == own
    assert settled.learning_rate == RECIPES[name].learning_rate


def test_superpixel_settings_of_a_training() -> None:
    assert training().superpixels == SuperpixelConfig()
    assert training(superpixel_size=9, compactness=2.5).superpixels == SuperpixelConfig(9, 2.5)


def test_resume_and_overwrite_exclude_each_other() -> None:
    with pytest.raises(SettingError, match=r"resume.*overwrite"):
        training(resume=True, overwrite=True)


def test_windows_of_a_prediction_are_the_models_unless_given() -> None:
    model = WindowConfig(256, 64)
    assert predicting().windows(model) == model
    assert predicting(tile_size=512).windows(model) == WindowConfig(512, 64)
    assert predicting(overlap=0).windows(model) == WindowConfig(256, 0)
    with pytest.raises(SettingError, match="overlap 64"):
        predicting(tile_size=96).windows(model)


@pytest.mark.parametrize("blend", get_args(Blend))
def test_every_blend_is_taken(blend: Blend) -> None:
    assert predicting(blend=blend).blend == blend


def test_settings_are_frozen() -> None:
    for config in (SuperpixelConfig(), WindowConfig(), Recipe(), training(), predicting()):
        with pytest.raises(FrozenInstanceError):
            config.size = 5  # type: ignore[misc, union-attr]


def test_settings_are_read_without_heavy_libraries() -> None:
    code = (
        "import sys, geoseg.config, geoseg.errors, geoseg.classes, geoseg.grid; "
        "print([m for m in ('torch', 'numpy', 'rasterio', 'numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tile_size", "64", "tile size is '64'; give a whole number or None"),
        ("block_size", 512.0, "block size is 512.0; give a whole number"),
        ("workers", True, "workers is True; give a whole number or None"),
        ("overwrite", "yes", "overwrite is 'yes'; give True or False"),
        ("nodata", "0", "nodata is '0'; give a number or None"),
        ("assume_crs", 4326, "assume crs is 4326; give text or None"),
        ("confidence", "c.tif", "confidence is 'c.tif'; give a path or None"),
        ("bounds", (0, 0, 1), "bounds is (0, 0, 1); give 4 of these: a number or None"),
        ("bounds", (0, 0, 1, "2"), "bounds is (0, 0, 1, '2'); give 4 of these: a number or None"),
        ("bands", "123", "bands is '123'; give some of these: a whole number or text or None"),
        ("min_area", 5, "min area is 5; give a geoseg.Area or None"),
    ],
)
def test_values_of_another_type_are_refused_as_settings(name: str, value: Any, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        predicting(**{name: value})
    assert str(caught.value) == words


def test_numbers_of_other_libraries_are_numbers() -> None:
    import numpy as np

    config = predicting(
        block_size=np.int64(1024), bounds=[np.float32(0), 0, 1, np.int16(2)], overwrite=np.True_, nodata=np.uint8(3)
    )
    assert [type(value) for value in (config.block_size, config.overwrite, config.nodata)] == [int, bool, float]
    assert config.bounds == (0, 0, 1, 2)
    assert "numpy" not in {type(value).__module__ for value in (*config.bounds, config.block_size)}
