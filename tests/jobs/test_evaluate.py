"""geoseg evaluate: two rasters, a model with images and labels, what it prints and draws, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers.commandline import Outcome, assert_refused, first_band, geoseg, untouched
from helpers.models import make_model, with_experts
from helpers.rasters import TRANSFORM, landscape, make_raster
from numpy.typing import NDArray
from PIL import Image

from geoseg.config import EvaluateConfig
from geoseg.errors import SettingError
from geoseg.evaluation.confusion import Confusion
from geoseg.evaluation.label_map import LabelMap
from geoseg.evaluation.rasters import RasterEvaluation, find_pairs
from geoseg.evaluation.report import Counted, Report
from geoseg.evaluation.sources import ModelSource, open_source
from geoseg.files.atomic import sha256
from geoseg.grid import Span
from geoseg.jobs.evaluate import EvaluateJob
from geoseg.model.file import save_model
from geoseg.raster.class_raster import ClassRaster

Evaluate = Callable[..., Outcome]

BARE: dict[str, Any] = {"crs": None, "transform": Affine.identity()}


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Return a function: `geoseg -q evaluate ...`."""
    return lambda *arguments: geoseg(capsys, "-q", "evaluate", *arguments)


@pytest.fixture
def scored(evaluate: Evaluate) -> Callable[..., dict[str, Any]]:
    """Return a function: what `geoseg evaluate --json ...` prints; nothing else is said."""

    def run(*arguments: object) -> dict[str, Any]:
        outcome = evaluate(*arguments, "--json")
        assert (outcome.code, outcome.err) == (0, ""), outcome
        report: dict[str, Any] = json.loads(outcome.out)
        return report

    return run


def raster(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """One band (rows, cols) as a raster; PNG by its name, without a georeference."""
    if path.suffix == ".png":
        profile = {"driver": "PNG", **BARE, **profile}
    return make_raster(path, values[None], **profile)


def fields(rows: int = 30, cols: int = 40, classes: int = 3) -> NDArray[np.uint8]:
    """Labels 1.. in fields: (rows, cols)."""
    y, x = np.mgrid[:rows, :cols]
    labels: NDArray[np.uint8] = ((y // 8 + x // 9) % classes + 1).astype(np.uint8)
    return labels


def test_images_off_the_model_are_refused_told_or_rescaled(
    tmp_path: Path, evaluate: Evaluate, scored: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    save_model(make_model(), tmp_path / "model.safetensors")
    for kind, gain in (("plain", 1), ("deep", 250), ("dark", 1 / 8)):
        for name in ("a", "b"):
            pixels = landscape(60, 70, seed=ord(name)).astype(np.float64) * gain
            (tmp_path / kind).mkdir(exist_ok=True)
            make_raster(tmp_path / kind / f"{name}.tif", pixels.astype("uint16" if kind == "deep" else "uint8"))
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        raster(tmp_path / "labels" / f"{name}.tif", fields(60, 70))

    def arguments(kind: str, *more: str) -> tuple[object, ...]:
        return (tmp_path / "model.safetensors", "--data", tmp_path / kind, "--labels", tmp_path / "labels", *more)

    assert_refused(evaluate(*arguments("deep")), 65, "a.tif", "uint16", "uint8", "--rescale")
    same = scored(*arguments("plain", "--rescale"))["confusion"]
    assert scored(*arguments("deep", "--rescale"))["confusion"] == same
    assert not caplog.messages
    scored(*arguments("dark"))
    assert ["a.tif" in message and "--rescale" in message for message in caplog.messages] == [True]
    with pytest.raises(SettingError, match="--rescale"):
        EvaluateConfig(tmp_path / "map.tif", labels=tmp_path / "labels", rescale=True)


def test_a_map_with_other_names_is_perfect(tmp_path: Path, scored: Callable[..., dict[str, Any]]) -> None:
    labels = fields()
    classes = raster(tmp_path / "c.tif", np.array([0, 3, 1, 2], np.uint8)[labels])
    report = scored(classes, "--labels", raster(tmp_path / "l.tif", labels))
    assert (report["kind"], report["images"], report["pixels"]) == ("classes", 1, 1200)
    assert (report["ignored_pixels"], report["uncovered_pixels"]) == (0, 0)
    for match in ("one_to_one", "many_to_one"):
        assert (report[match]["accuracy"], report[match]["mean_iou"]) == (1, 1)
        assert [entry["clusters"] for entry in report[match]["classes"]] == [[3], [1], [2]]
    assert report["adjusted_rand_index"] == report["normalised_mutual_information"] == 1
    assert [entry["name"] for entry in report["clusters"]] == ["cluster 1", "cluster 2", "cluster 3"]
    assert [entry["id"] for entry in report["classes"]] == [1, 2, 3]


def test_what_is_ignored_uncovered_or_nodata_is_not_scored(
    tmp_path: Path, scored: Callable[..., dict[str, Any]], evaluate: Evaluate
) -> None:
    labels = fields()
    classes = labels.copy()
    labels[:2] = 0  # ignored
    labels[2:4] = 9  # ignored too
    labels[4:5] = 255  # nodata of the file
    classes[5:8] = 200  # nodata by the file's own word
    classes[:6, :5] = 200  # nothing either side: ignored
    paths = (
        raster(tmp_path / "c.tif", classes, nodata=200),
        "--labels",
        raster(tmp_path / "l.tif", labels, nodata=255),
    )
    report = scored(*paths, "--ignore", 0, "--ignore", 9)
    assert report["ignored_pixels"] == 5 * 40
    assert report["uncovered_pixels"] == 3 * 40
    assert report["pixels"] == 22 * 40
    assert report["one_to_one"]["accuracy"] == 1
    assert sum(entry["uncovered_pixels"] for entry in report["classes"]) == 120
    assert sum(map(sum, report["confusion"])) == report["pixels"]
    table = evaluate(*paths, "--ignore", 0, "--ignore", 9).out
    assert "16.7% of all pixels ignored, 12.0% of the labelled ones uncovered (nodata in the map)" in table


def zero_based(folder: Path, **profile: Any) -> tuple[Path, Path, float]:
    """A map of classes 0..3 in which every 2 is called 0, its labels, and the best share of one-to-one matches."""
    labels = fields(classes=4) - 1
    guess = np.where(labels == 2, 0, labels).astype(np.uint8)
    called = [int((labels[guess == 0] == value).sum()) for value in (0, 2)]
    share = 1 - min(called) / labels.size
    return raster(folder / "c.tif", guess, **profile), raster(folder / "l.tif", labels), share


@pytest.mark.parametrize("profile", [{}, {"nodata": 255}, {"nodata": 200, "dtype": "int16"}])
def test_zero_is_a_class_where_the_file_does_not_say_otherwise(
    profile: dict[str, Any], tmp_path: Path, scored: Callable[..., dict[str, Any]]
) -> None:
    classes, labels, share = zero_based(tmp_path, **profile)
    report = scored(classes, "--labels", labels)
    assert (report["pixels"], report["uncovered_pixels"]) == (1200, 0)
    assert report["one_to_one"]["accuracy"] == pytest.approx(share)
    assert [(entry["id"], entry["name"]) for entry in report["clusters"]] == [(i, f"cluster {i}") for i in range(4)]
    assert [entry["pixels"] for entry in report["clusters"]] == [(first_band(classes) == i).sum() for i in range(4)]
    matched = {entry["id"]: entry["clusters"] for entry in report["many_to_one"]["classes"]}
    assert (matched[1], matched[3], sorted(matched[0] + matched[2])) == ([1], [3], [0])
    # As `polygonize` has it.
    with ClassRaster(classes) as found:
        assert (found.read(Span(0, 30)) != 0).all()


def test_a_table_and_a_picture_know_cluster_zero(tmp_path: Path, evaluate: Evaluate) -> None:
    labels = fields(classes=2) + 1
    guess = np.where(np.arange(40) < 4, 0, labels).astype(np.uint8)
    classes, truth = raster(tmp_path / "c.tif", guess, nodata=255), raster(tmp_path / "l.tif", labels)
    outcome = evaluate(classes, "--labels", truth, "--picture", tmp_path / "m.png")
    assert "one to one, cluster 0 stands for no class: 10.0% of the pixels" in outcome.out
    assert not outcome.err


def test_zero_is_nodata_where_the_file_says_so_or_geoseg_wrote_it(
    tmp_path: Path, scored: Callable[..., dict[str, Any]]
) -> None:
    classes, labels, _ = zero_based(tmp_path)
    zeros = int((first_band(classes) == 0).sum())
    assert scored(classes, "--labels", labels, "--nodata", 0)["uncovered_pixels"] == zeros
    with rasterio.open(classes, "r+") as file:
        file.update_tags(GEOSEG_PROVENANCE="{}")
        file.set_band_description(1, "classes")
    report = scored(classes, "--labels", labels)
    assert (report["uncovered_pixels"], report["one_to_one"]["accuracy"]) == (zeros, 1)


def test_zero_in_a_file_without_nodata_is_told_where_labels_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    labels = fields()
    guess = np.where(np.arange(40) < 4, 0, labels).astype(np.uint8)
    arguments = ("evaluate", raster(tmp_path / "c.tif", guess), "--labels", raster(tmp_path / "l.tif", labels))
    assert geoseg(capsys, *arguments).code == 0
    (said,) = caplog.messages
    assert "its value 0 is scored as a class (10.0 % of pixels)" in said
    assert "--nodata 0" in said
    caplog.clear()
    assert geoseg(capsys, *arguments, "--nodata", 0).code == 0
    assert not caplog.messages


def test_heights_play_no_part_in_where_labels_lie(tmp_path: Path, scored: Callable[..., dict[str, Any]]) -> None:
    classes = raster(tmp_path / "c.tif", fields(), crs="EPSG:5555")
    assert scored(classes, "--labels", raster(tmp_path / "l.tif", fields(), crs="EPSG:25832"))["pixels"] == 1200


@pytest.mark.parametrize(("dtype", "highest"), [("uint8", 255), ("int16", 1000), ("uint16", 65535), ("int64", 300)])
def test_ids_may_be_as_high_as_the_type_holds(
    dtype: str, highest: int, tmp_path: Path, scored: Callable[..., dict[str, Any]]
) -> None:
    classes = raster(tmp_path / "c.tif", fields().astype(dtype) + np.array(highest - 3, dtype))
    report = scored(classes, "--labels", raster(tmp_path / "l.tif", fields()))
    assert report["one_to_one"]["accuracy"] == 1
    assert [entry["clusters"] for entry in report["one_to_one"]["classes"]] == [[highest - 2], [highest - 1], [highest]]


def test_a_png_is_compared_by_its_size(tmp_path: Path, scored: Callable[..., dict[str, Any]]) -> None:
    labels = fields()
    georeferenced, bare = raster(tmp_path / "c.tif", labels), raster(tmp_path / "c.png", labels)
    png = raster(tmp_path / "l.png", labels)
    for classes in (georeferenced, bare):
        assert scored(classes, "--labels", png)["one_to_one"]["accuracy"] == 1


def exhausted(evaluation: RasterEvaluation) -> tuple[list[Counted], Report]:
    """What an evaluation yields, and its report."""
    counted: list[Counted] = []
    run = evaluation.run()
    while True:
        try:
            counted.append(next(run))
        except StopIteration as end:
            return counted, end.value


def test_block_by_block_as_at_once(tmp_path: Path, scored: Callable[..., dict[str, Any]]) -> None:
    random = np.random.default_rng(0)
    classes = raster(tmp_path / "c.tif", random.integers(0, 7, (70, 90)).astype(np.uint8), nodata=0)
    labels = raster(tmp_path / "l.png", random.integers(0, 5, (70, 90)).astype(np.uint8))
    whole = scored(classes, "--labels", labels, "--ignore", 3)
    expected = [
        [((first_band(classes) == k) & (first_band(labels) == c)).sum() for c in (0, 1, 2, 4)] for k in range(1, 7)
    ]
    assert whole["confusion"] == np.array(expected).tolist()
    config = EvaluateConfig(classes, labels, ignore=(3,))
    evaluation = RasterEvaluation(config, open_source(config, 16), find_pairs(config))
    counted, report = exhausted(evaluation)
    assert len(counted) == evaluation.total == 5 * 6
    assert report.to_json() == whole


def test_more_clusters_than_classes_are_told(tmp_path: Path, evaluate: Evaluate) -> None:
    labels = fields(classes=2)
    classes = labels.copy()
    classes[:6][labels[:6] == 1] = 5
    outcome = evaluate(raster(tmp_path / "c.tif", classes), "--labels", raster(tmp_path / "l.tif", labels))
    lost = (classes == 5).mean()
    assert outcome.out.splitlines()[-1] == (
        f"one to one, cluster 5 stands for no class: {lost:.1%} of the pixels, counted as wrong"
    )
    lines = {line.split("  ")[0]: line.split() for line in outcome.out.splitlines()}
    assert lines["accuracy"] == ["accuracy", f"{1 - lost:.1%}", "100.0%"]
    assert lines["label 2"][2:] == [f"{(labels == 2).mean():.1%}", "100.0%", "100.0%", "100.0%", "2", "100.0%", "2"]
    assert lines["label 1"][-3:] == ["100.0%", "1,", "5"]


@pytest.mark.parametrize("palette", [False, True])
def test_colours_are_named_by_a_label_map(
    palette: bool, tmp_path: Path, scored: Callable[..., dict[str, Any]], evaluate: Evaluate
) -> None:
    labels = fields(classes=4)
    table = np.array([[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 0], [255, 0, 0]], np.uint8)
    if palette:
        coloured = raster(tmp_path / "l.tif", labels, photometric="palette")
        with rasterio.open(coloured, "r+") as file:
            file.write_colormap(1, {i: (*colour, 255) for i, colour in enumerate(table.tolist())})
    else:
        coloured = make_raster(tmp_path / "l.tif", np.moveaxis(table[labels], -1, 0).copy())
    names = tmp_path / "names.json"
    names.write_text('{"255,255,255": "road", "0,0,255": "house", "255,255,0": "road", "255,0,0": null}')
    classes = raster(tmp_path / "c.tif", np.array([0, 2, 1, 2, 2], np.uint8)[labels])
    report = scored(classes, "--labels", coloured, "--label-map", names)
    assert [(entry["id"], entry["name"]) for entry in report["classes"]] == [(1, "road"), (2, "house")]
    assert report["one_to_one"]["accuracy"] == 1
    assert report["ignored_pixels"] == (labels == 4).sum()
    names.write_text('{"255,255,255": "road", "0,0,255": "house", "255,0,0": null}')
    unknown = evaluate(classes, "--labels", coloured, "--label-map", names)
    assert_refused(unknown, 65, f"{coloured}: has colours 255,255,0", names, "as null")
    both = evaluate(classes, "--labels", coloured, "--label-map", names, "--ignore", 4)
    assert_refused(both, 78, "--ignore 4", names, "null")
    if not palette:
        assert_refused(evaluate(classes, "--labels", coloured), 65, coloured, "--label-map")


def test_values_are_named_by_a_label_map(
    tmp_path: Path, scored: Callable[..., dict[str, Any]], evaluate: Evaluate
) -> None:
    labels = raster(tmp_path / "l.png", fields(classes=4))
    classes = raster(tmp_path / "c.tif", np.array([0, 1, 1, 2, 2], np.uint8)[fields(classes=4)])
    names = tmp_path / "names.csv"
    names.write_text("value,name\n1,a\n2,a\n3,b\n4,c\n")
    report = scored(classes, "--labels", labels, "--label-map", names, "--ignore", 4)
    assert [(entry["id"], entry["name"]) for entry in report["classes"]] == [(1, "a"), (3, "b")]
    assert report["one_to_one"]["accuracy"] == 1
    names.write_text("value,name\n1,a\n")
    outcome = evaluate(classes, "--labels", labels, "--label-map", names)
    assert_refused(outcome, 65, f"{labels}: has values 2 and 3 and 4, which {names} does not name")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"transform": TRANSFORM @ Affine.translation(0, 1)}, "is up to 1 px off"),
        ({"transform": TRANSFORM @ Affine.scale(1.01)}, "px off"),
        ({"transform": TRANSFORM @ Affine.rotation(1)}, "px off"),
        ({"crs": "EPSG:32634"}, "is in WGS 84 / UTM zone 34N (EPSG:32634)"),
    ],
)
def test_rasters_that_lie_elsewhere_are_refused(
    profile: dict[str, Any], words: str, tmp_path: Path, evaluate: Evaluate
) -> None:
    classes = raster(tmp_path / "c.tif", fields())
    labels = raster(tmp_path / "l.tif", fields(), **profile)
    assert_refused(evaluate(classes, "--labels", labels), 65, f"{labels}: ", words, classes, "gdalwarp")


def test_a_georeference_may_be_rounded(tmp_path: Path, scored: Callable[..., dict[str, Any]]) -> None:
    classes = raster(tmp_path / "c.tif", fields())
    labels = raster(tmp_path / "l.tif", fields(), transform=TRANSFORM @ Affine.translation(0.004, -0.004))
    assert scored(classes, "--labels", labels)["pixels"] == 1200


def test_sizes_that_differ_are_refused(tmp_path: Path, evaluate: Evaluate) -> None:
    classes, labels = raster(tmp_path / "c.tif", fields()), raster(tmp_path / "l.png", fields(30, 41))
    assert_refused(
        evaluate(classes, "--labels", labels), 65, f"{labels}: is 41 x 30 px, {classes} is 40 x 30 px", "gdalwarp"
    )


def test_a_file_that_is_not_a_class_raster_is_refused(tmp_path: Path, evaluate: Evaluate) -> None:
    labels = raster(tmp_path / "l.tif", fields())
    several = make_raster(tmp_path / "rgb.tif", landscape(30, 40))
    many = make_raster(tmp_path / "many.tif", landscape(30, 40, bands=6))
    real = raster(tmp_path / "real.tif", fields().astype(np.float32))
    negative = raster(tmp_path / "negative.tif", fields().astype(np.int16) - 2)
    large = raster(tmp_path / "large.tif", fields().astype(np.int32) + 65533)
    empty = raster(tmp_path / "empty.tif", fields() * 0, nodata=0)
    for path, words in (
        (several, "has 3 bands of uint8; a class raster has one"),
        (many, "more than one band"),
        (real, "has 1 band of float32; a class raster has one, of integers"),
        (negative, "has the value -1; class ids are 0 to 65535"),
        (large, "has the value 65536"),
        (empty, f"is nodata wherever {labels} has a label"),
        (tmp_path / "none.tif", "no such file"),
    ):
        outcome = evaluate(path, "--labels", labels)
        assert_refused(outcome, 66 if "none" in path.name else 65, f"{path}: ", words)
    ids = [number for number in (1, 2, 3) for _ in ("--ignore",)]
    nothing = evaluate(labels, "--labels", labels, *(part for number in ids for part in ("--ignore", number)))
    assert_refused(nothing, 65, f"{labels}: every pixel is ignored or nodata")
    assert_refused(evaluate(labels, "--labels", tmp_path / "none.png"), 66, tmp_path / "none.png")


def test_what_does_not_go_together_is_78(tmp_path: Path, model_path: Path, evaluate: Evaluate) -> None:
    labels = raster(tmp_path / "l.tif", fields())
    assert_refused(evaluate(model_path, "--labels", labels), 78, model_path, "--data FOLDER")
    assert_refused(evaluate(labels, "--labels", labels, "--data", tmp_path), 78, labels, "omit --data")
    assert_refused(evaluate(labels, "--labels", labels, "--bands", "1"), 78, labels, "omit --bands")
    with pytest.raises(SettingError, match="precision"):
        EvaluateConfig(labels, labels, precision="float16")  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder with images/ (two GeoTIFFs, one with nodata) and labels/ of 190 x 260 and 60 x 150 px."""
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    first, second = landscape(190, 260, seed=1), landscape(60, 150, seed=2)
    second[:, 10:30, 20:60] = 0
    make_raster(tmp_path / "set/images/a.tif", first)
    make_raster(tmp_path / "set/images/b.tif", second, nodata=0)
    raster(tmp_path / "set/labels/a.png", fields(190, 260, 4) - 1)
    raster(tmp_path / "set/labels/b_label.tif", fields(60, 150, 4) - 1)
    return tmp_path / "set"


def test_a_model_is_scored_as_its_maps_would_be(
    tmp_path: Path, dataset: Path, scored: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    # Windows overlap far enough for the way they are blended to matter.
    model_path = tmp_path / "wide.safetensors"
    save_model(with_experts(make_model(overlap=64)), model_path)
    arguments = (model_path, "--data", dataset / "images", "--labels", dataset / "labels", "--ignore", 0)
    with untouched(tmp_path):
        report = scored(*arguments)
    expected = np.zeros((5, 3), int)
    uncovered = ignored = 0
    for name, label in (("a", "a.png"), ("b", "b_label.tif")):
        out = tmp_path / f"{name}-classes.tif"
        assert geoseg(capsys, "-q", "predict", dataset / f"images/{name}.tif", "-m", model_path, "-o", out).code == 0
        classes, labels = first_band(out), first_band(dataset / "labels" / label)
        for k, c in zip(classes[labels > 0], labels[labels > 0], strict=True):
            if k:
                expected[k - 1, c - 1] += 1
        uncovered += int(((classes == 0) & (labels > 0)).sum())
        ignored += int((labels == 0).sum())
    assert report["confusion"] == expected.tolist()
    assert (report["uncovered_pixels"], report["ignored_pixels"]) == (uncovered, ignored)
    assert uncovered > 300
    assert (report["kind"], report["images"], report["sha256"]) == ("model", 2, sha256(model_path))
    assert [entry["name"] for entry in report["clusters"]] == [f"class {i}" for i in range(1, 6)]
    assert scored(*arguments) == report
    confidence = ("--confidence", tmp_path / "confidence.tif", "--overwrite")
    geoseg(capsys, "-q", "predict", dataset / "images/a.tif", "-m", model_path, "-o", tmp_path / "c.tif", *confidence)
    wrong = geoseg(capsys, "evaluate", tmp_path / "confidence.tif", "--labels", dataset / "labels/a.png")
    assert_refused(wrong, 65, tmp_path / "confidence.tif", "holds the confidence of a map; give its class raster")
    record = scored(tmp_path / "a-classes.tif", "--labels", dataset / "labels/a.png", "--ignore", 0)
    assert record["model_sha256"] == sha256(model_path)
    assert [entry["name"] for entry in record["clusters"]] == [f"class {i}" for i in range(1, 6)]


def test_a_model_says_which_weights_it_holds(tmp_path: Path, dataset: Path, evaluate: Evaluate) -> None:
    model = make_model()
    path = tmp_path / "selected.safetensors"
    save_model(replace(model, provenance={**model.provenance, "weights": "selected"}), path)
    outcome = evaluate(path, "--data", dataset / "images/a.tif", "--labels", dataset / "labels/a.png")
    first = outcome.out.splitlines()[0]
    assert first.startswith(f"model {path}: weights selected, steps 0, device cpu")
    assert first.endswith("images 1")


def test_pairs_that_do_not_fit_are_refused_before_anything_is_mapped(
    tmp_path: Path, dataset: Path, model_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelSource, "predict", lambda *_: pytest.fail("it was mapped"))
    arguments = (model_path, "--data", dataset / "images", "--labels", dataset / "labels")
    small = raster(dataset / "labels" / "b_label.tif", fields(60, 149))
    assert_refused(evaluate(*arguments), 65, f"{small}: is 149 x 60 px, {dataset / 'images/b.tif'} is 150 x 60")
    small.unlink()
    assert_refused(
        evaluate(*arguments), 65, f"{dataset / 'images/b.tif'}: has no label raster", dataset / "labels", "_gt"
    )
    two = make_raster(dataset / "images/b.tif", landscape(60, 150, bands=2))
    raster(dataset / "labels" / "b.png", fields(60, 150))
    assert_refused(evaluate(*arguments), 65, f"{two}: 2 bands", "has too few")
    assert_refused(evaluate(*arguments[:3], "--labels", dataset / "labels/a.png"), 65, "is one file for 2 images")
    assert_refused(evaluate(model_path, "--data", tmp_path / "no", "--labels", dataset), 66, tmp_path / "no")


def test_labels_beside_their_images(tmp_path: Path, dataset: Path, model_path: Path, evaluate: Evaluate) -> None:
    whole = evaluate(model_path, "--data", dataset / "images", "--labels", dataset / "labels", "--json")
    inside = evaluate(model_path, "--data", dataset, "--labels", dataset / "labels", "--json")
    assert json.loads(inside.out) == json.loads(whole.out)
    (dataset / "labels/a.png").rename(dataset / "images/a_mask.png")
    (dataset / "labels/b_label.tif").rename(dataset / "images/b_label.tif")
    beside = evaluate(model_path, "--data", dataset / "images", "--labels", dataset / "images", "--json")
    assert json.loads(beside.out) == json.loads(whole.out)


def test_progress_goes_to_standard_error_json_alone_to_standard_output(
    dataset: Path, model_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # Where on Earth an image lies does not matter here, and is not remarked on.
    make_raster(dataset / "images/a.tif", landscape(190, 260), **BARE)
    arguments = ("--data", dataset / "images", "--labels", dataset / "labels", "--json")
    outcome = geoseg(capsys, "evaluate", model_path, *arguments)
    assert json.loads(outcome.out)["images"] == 2
    assert not caplog.messages
    first, last = outcome.said
    assert first.startswith("block 1/2: 50%, ")
    assert first.endswith(", a.tif, 0.0 Mpx")
    assert last.startswith("block 2/2: 100%, ")
    assert last.endswith(", b.tif, 0.0 Mpx")


def test_the_picture_is_a_matrix(tmp_path: Path, evaluate: Evaluate) -> None:
    labels = raster(tmp_path / "l.tif", fields())
    picture = tmp_path / "m.png"
    renamed = raster(tmp_path / "c.tif", np.array([0, 3, 1, 2], np.uint8)[fields()])
    assert evaluate(renamed, "--labels", labels, "--picture", picture).code == 0
    with Image.open(picture) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
    rows, cols, _ = pixels.shape
    assert rows > 3 * 44
    assert cols > 3 * 44
    # Perfect: the three framed cells are dark blue, and no other is.
    dark = (pixels == (8, 48, 107)).all(axis=-1)
    assert 3 * 35 * 35 < dark.sum() < 3 * 44 * 44
    tops = np.flatnonzero(np.diff(dark.any(axis=1).astype(int)) == 1) + 1
    lefts = np.array([np.flatnonzero(dark[top])[0] for top in tops])
    assert np.diff(tops).tolist() == np.diff(lefts).tolist() == [44, 44]
    assert (pixels[tops - 1, lefts] == (213, 94, 0)).all()
    with untouched(tmp_path):
        again = evaluate(labels, "--labels", labels, "--picture", picture)
        named = evaluate(labels, "--labels", labels, "--picture", tmp_path / "m.jpg")
        itself = evaluate(labels, "--labels", labels, "--picture", labels, "--overwrite")
    assert_refused(again, 73, f"{picture}: exists already", "--overwrite")
    assert_refused(named, 73, "name it m.png")
    assert_refused(itself, 73, "is the input itself")
    assert evaluate(labels, "--labels", labels, "--picture", picture, "--overwrite").code == 0


@pytest.mark.parametrize(("classes", "clusters"), [(3, 3), (30, 30), (6, 3), (2, 9), (3, 500), (60, 60)])
def test_pictures_of_every_shape(classes: int, clusters: int) -> None:
    confusion = Confusion(clusters, classes)
    confusion.counts += np.random.default_rng(0).integers(0, 9, (clusters, classes))
    confusion.counts[:, 1] = 0
    label_map = LabelMap(tuple(range(classes)), tuple(f"a class of a long name {i}" for i in range(classes)), {})
    report = Report.from_confusion({"file": "f"}, [f"class {i + 1}" for i in range(clusters)], label_map, confusion)
    picture = report.picture()
    # One column per class at least, and of the rest no more than fit.
    columns = classes + min(40, len(report.unmatched_clusters(report.one_to_one)))
    cell = 44 if columns <= 40 else 22
    assert picture.shape[0] == 64 + picture_head(picture.shape[0], classes, cell) + classes * cell
    assert columns * cell < picture.shape[1] < columns * cell + 500
    assert (picture == 200).all(axis=-1).any(), "a class without a pixel is grey"
    json.dumps(report.to_json(), allow_nan=False)


def test_a_picture_leaves_out_the_smallest_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        "geoseg.evaluation.report.draw_matrix", lambda shares, **texts: drawn.update(texts, shares=shares)
    )
    confusion = Confusion(60, 2)
    confusion.counts[:, 0] = np.random.default_rng(0).permutation(60) + 1
    confusion.counts[7, 1] = 1000
    Report.from_confusion({}, [str(i + 1) for i in range(60)], LabelMap((0, 1), ("a", "b"), {}), confusion).picture()
    shares, columns, legend = drawn["shares"], drawn["columns"], drawn["legend"]
    largest = np.flatnonzero(confusion.counts[:, 0] > 18) + 1
    matched = [str(confusion.counts[:, 0].argmax() + 1), "8"]
    assert columns[:2] == matched
    assert set(columns[2:]) <= {str(i) for i in largest} - set(matched)
    assert columns[2:] == sorted(columns[2:], key=int)
    assert len(columns) == 42
    assert "(18 small ones left out)" in legend
    np.testing.assert_allclose(
        shares[0, 2:], [confusion.counts[int(i) - 1, 0] / confusion.counts[:, 0].sum() for i in columns[2:]]
    )


def picture_head(rows: int, classes: int, cell: int) -> int:
    """What is left for the names of columns, which must be there."""
    head = rows - 64 - classes * cell
    assert 20 < head < 300
    return head


def test_evaluate_reads_a_large_raster_in_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read at once is a block, however large the raster is."""
    labels = raster(tmp_path / "l.tif", fields(300, 260))
    classes = raster(tmp_path / "c.tif", fields(300, 260))
    sizes = []
    add = Confusion.add
    monkeypatch.setattr(Confusion, "add", lambda self, p, t: (sizes.append(p.size), add(self, p, t))[1])
    config = EvaluateConfig(classes, labels)
    evaluation = RasterEvaluation(config, open_source(config, 64), find_pairs(config))
    counted, _ = exhausted(evaluation)
    assert max(sizes) == 64 * 64
    assert sum(sizes) == sum(block.pixels for block in counted) == 300 * 260
    assert len(counted) == evaluation.total


def test_a_job_has_a_report_once_it_has_run(tmp_path: Path) -> None:
    labels = raster(tmp_path / "l.tif", fields())
    picture = tmp_path / "m.png"
    with EvaluateJob(EvaluateConfig(labels, labels, picture=picture)) as job:
        with pytest.raises(RuntimeError, match="no report"):
            _ = job.report
        assert not picture.exists()
        assert [counted.pixels for counted in job.run()] == [1200]
    assert (job.total, job.unit, job.report.pixels) == (1, "block", 1200)
    assert picture.exists()


@pytest.mark.parametrize("name", ["images/a.png", "labels/a.png", "labels/b_label.tif"])
def test_the_picture_replaces_neither_images_nor_labels(
    name: str, tmp_path: Path, dataset: Path, model_path: Path, evaluate: Evaluate
) -> None:
    make_raster(dataset / "images/a.png", landscape(190, 260), driver="PNG", **BARE)
    (dataset / "images/a.tif").unlink()
    arguments = (model_path, "--data", dataset / "images", "--labels", dataset / "labels")
    with untouched(tmp_path):
        refused = evaluate(*arguments, "--picture", dataset / name, "--overwrite")
    assert_refused(refused, 73, f"{dataset / name}: is the input itself")


def test_the_picture_does_not_replace_the_label_map(tmp_path: Path, evaluate: Evaluate) -> None:
    labels, names = raster(tmp_path / "l.tif", fields()), tmp_path / "names.png"
    names.write_text("value,name\n1,a\n2,b\n3,c\n")
    arguments = (labels, "--labels", labels, "--label-map", names)
    assert evaluate(*arguments).code == 0
    assert_refused(evaluate(*arguments, "--picture", names, "--overwrite"), 73, f"{names}: is the input itself")
