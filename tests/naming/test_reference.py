"""References: which superpixels they make known, and what is told of those that make none known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.errors import InputError, SettingError
from geoseg.grid import Window
from geoseg.naming.reference import EMPTY, NOWHERE, OUTSIDE, RasterReference, VectorReference
from geoseg.raster.scene import Scene

SIDE, CELL = 96, 8


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(make_raster(tmp_path / "scene.tif", landscape(SIDE, SIDE))) as opened:
        yield opened


def labels() -> NDArray[np.int32]:
    rows, cols = np.mgrid[:SIDE, :SIDE] // CELL
    return (rows * (SIDE // CELL) + cols + 1).astype(np.int32)


def label(row: int, col: int) -> int:
    return int(labels()[row, col])


def placed(shape: Any) -> Any:
    """A shape in (col, row) of the scene, in its CRS."""
    return shapely.transform(shape, lambda xy: np.array([TRANSFORM @ tuple(point) for point in xy]))


def reference(scene: Scene, features: list[tuple[Any, Any]], crs: str = UTM, name: str = "r.gpkg") -> VectorReference:
    path = scene.path.with_name(name)  # type: ignore[union-attr]
    shapes = [None if shape is None else placed(shape) for shape, _ in features]
    frame = geopandas.GeoDataFrame({"cover": [value for _, value in features]}, geometry=shapes, crs=UTM)
    frame.to_crs(crs).to_file(path)
    return VectorReference(path, "cover", None, scene.georeference, scene.extent, CELL)  # type: ignore[arg-type]


def known(found: VectorReference | RasterReference, window: Window | None = None) -> dict[int, Any]:
    """Superpixel -> the name of its class, or "several"."""
    window = window or Window.of(0, 0, SIDE, SIDE)
    area = np.ascontiguousarray(labels()[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop])
    classes = found.evidence(window, area, 144).classes()
    return {int(s): found.values[classes[s]] if classes[s] >= 0 else "several" for s in np.flatnonzero(classes != -1)}


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_points_lines_and_polygons_make_superpixels_known(scene: Scene, crs: str) -> None:
    found = reference(
        scene,
        [
            (shapely.Point(4.5, 4.5), "water"),
            (shapely.MultiPoint([(20.5, 4.5), (28.5, 4.5)]), "water"),
            (shapely.LineString([(4, 44), (44, 44)]), "road"),
            (shapely.box(48.5, 60.5, 64.5, 76.5), "field"),
            (shapely.Point(90, 90).buffer(1), "tree"),
        ],
        crs,
    )
    expected = {label(4, 4): "water", label(4, 20): "water", label(4, 28): "water", label(90, 90): "tree"}
    expected |= {label(44, col): "road" for col in range(4, 45, 8)}
    # The box covers its four superpixels wholly or by half, and of the others less.
    expected |= {label(row, col): "field" for row in (66,) for col in (50, 58)}
    assert known(found) == expected
    assert dict(found.counts) == {0: 2, 1: 1, 2: 1, 3: 1}
    assert not any(found.left_out.values())


def test_evidence_in_a_part_is_that_of_the_whole(scene: Scene) -> None:
    found = reference(
        scene, [(shapely.Point(20.5, 36.5), 1), (shapely.box(30, 30, 50, 50), 2), (shapely.Point(90, 4), 1)]
    )
    part = Window.of(16, 8, 48, 56)
    inside = set(np.unique(labels()[16:64, 8:64]).tolist())
    assert known(found, part) == {s: value for s, value in known(found).items() if s in inside}
    assert [found.touches(Window.of(*each)) for each in ((16, 8, 48, 56), (0, 0, 16, 16), (0, 80, 16, 16))] == [
        True, False, True,
    ]  # fmt: skip


def test_two_classes_on_one_superpixel_are_a_contradiction(scene: Scene) -> None:
    found = reference(
        scene,
        [
            (shapely.Point(1, 1), "a"), (shapely.Point(5, 5), "b"),
            (shapely.Point(17, 1), "a"), (shapely.Point(21, 5), "a"),
            (shapely.box(32, 32, 48, 48), "a"), (shapely.Point(36, 36), "b"),
        ],
    )  # fmt: skip
    classes = known(found)
    assert classes[label(1, 1)] == classes[label(36, 36)] == "several"
    assert classes[label(1, 17)] == classes[label(44, 44)] == "a"


def test_what_is_left_out_is_counted(scene: Scene) -> None:
    found = reference(
        scene,
        [
            (shapely.Point(1, 1), "a"), (shapely.Point(-1, 1), "a"), (shapely.Point(1, 96.5), "b"),
            (shapely.box(200, 200, 250, 250), "b"), (shapely.Point(9, 9), None), (shapely.Point(9, 9), "  "),
            (None, "a"), (shapely.Point(95.9, 95.9), "b"),
        ],
    )  # fmt: skip
    assert found.left_out == {OUTSIDE: 3, EMPTY: 2, NOWHERE: 1}
    assert dict(found.counts) == {0: 1, 1: 1}
    empty = np.zeros((SIDE, SIDE), np.int32)
    assert found.lost(scene.extent, empty) == 2
    assert found.lost(scene.extent, labels()) == 0


def test_a_raster_makes_superpixels_known_of_which_it_covers_more_than_half(scene: Scene, tmp_path: Path) -> None:
    values = np.zeros((SIDE, SIDE), np.uint8)
    values[:8, :5], values[:8, 5:8] = 7, 2
    values[8:16, :4] = 7
    values[16:24, 0:8] = 2
    path = make_raster(tmp_path / "labels.tif", values[None], nodata=0)
    found = RasterReference(path, scene, Opening())
    assert found.values == [2, 7]
    assert known(found) == {label(0, 0): 7, label(16, 0): 2}
    assert dict(found.counts) == {0: 24 + 64, 1: 40 + 32}
    assert found.touches(Window.of(0, 0, 8, 8))
    assert not found.touches(Window.of(40, 40, 8, 8))
    found.close()


def test_a_raster_that_does_not_lie_on_the_scene_is_refused(scene: Scene, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "labels.tif", np.ones((1, 40, 40), np.uint8))
    with pytest.raises(InputError, match="resample the labels to its grid"):
        RasterReference(path, scene, Opening())


def test_another_field_or_layer_is_refused_with_those_that_there_are(scene: Scene) -> None:
    reference(scene, [(shapely.Point(1, 1), "a")])
    path = scene.path.with_name("r.gpkg")  # type: ignore[union-attr]
    given: Any = (scene.georeference, scene.extent, CELL)
    with pytest.raises(SettingError, match="has no field 'class'; it has cover: name one with --field"):
        VectorReference(path, "class", None, *given)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="has no layer 'x'; it has r"):
        VectorReference(path, "cover", "x", *given)  # type: ignore[arg-type]
    geopandas.read_file(path).to_file(path, layer="more")
    with pytest.raises(SettingError, match="several layers, r, more; choose one with --reference-layer"):
        VectorReference(path, "cover", None, *given)  # type: ignore[arg-type]
    assert VectorReference(path, "cover", "more", *given).values == ["a"]  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".geojson", ".geojsonl", ".fgb", ".shp", ".parquet"])
def test_any_format_is_read(scene: Scene, suffix: str) -> None:
    path = scene.path.with_name(f"r{suffix}")  # type: ignore[union-attr]
    shapes = [placed(shapely.Point(1, 1)), placed(shapely.Point(33, 1))]
    frame = geopandas.GeoDataFrame({"cover": [3.0, 4.0]}, geometry=shapes, crs=UTM)
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_crs(4326 if "json" in suffix else UTM).to_file(
            path, driver="GeoJSONSeq" if suffix == ".geojsonl" else None
        )
    found = VectorReference(path, "cover", None, scene.georeference, scene.extent, CELL)  # type: ignore[arg-type]
    assert known(found) == {label(1, 1): 3, label(1, 33): 4}


def test_fractions_are_no_classes(scene: Scene) -> None:
    with pytest.raises(InputError, match=r"cover is 1.5 in a feature; classes are texts or whole numbers"):
        reference(scene, [(shapely.Point(1, 1), 1.5)])


def test_a_file_that_is_not_what_its_name_says_is_refused(scene: Scene) -> None:
    path = scene.path.with_name("r.gpkg")  # type: ignore[union-attr]
    path.write_text("<OGRVRTDataSource/>")  # type: ignore[union-attr]
    with pytest.raises(InputError, match="is not a GeoPackage file as its name says"):
        VectorReference(path, "cover", None, scene.georeference, scene.extent, CELL)  # type: ignore[arg-type]
