"""STAC Items of models: by the letter of STAC 1.1.0 and of the MLM extension 1.5."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.models import make_model
from helpers.stac import assert_classes

from geoseg.classes import ClassMap, LandClass
from geoseg.model.file import Model, save_model
from geoseg.outputs.mlm import MLM, Artifact, mlm_item
from geoseg.raster.scaling import Scaling

CLASSES = ClassMap((LandClass(1, "Wald (Bäume)", "#009e73", (1, 4)), LandClass(5, "water", "#0072b2", (2, 3, 5))))


def item_of(folder: Path, kind: str, **changes: Any) -> tuple[Model, dict[str, Any]]:
    """A model, and the Item about the file of a kind."""
    model = save_model(replace(make_model(), classes=CLASSES, **changes), folder / "my model.safetensors")
    source = folder / "my model.safetensors"
    artifact = Artifact(source, "safetensors", str(model.sha256))
    if kind == "onnx":
        artifact = Artifact.of_onnx(folder / "out 50%.onnx", b"graph", 512)
    return model, json.loads(mlm_item(folder / "card.json", model, artifact, source))


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_the_item_is_by_the_letter(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    _, item = item_of(tmp_path, kind)
    assert set(item) == {
        "type", "stac_version", "stac_extensions", "id", "geometry", "properties", "links", "assets",
    }  # fmt: skip
    assert (item["type"], item["stac_version"], item["geometry"], item["links"]) == ("Feature", "1.1.0", None, [])
    assert MLM == "https://stac-extensions.github.io/mlm/v1.5.1/schema.json"
    assert [e.split("/")[3] for e in item["stac_extensions"]] == ["mlm", "classification", "file"]
    properties = item["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] < properties["end_datetime"]
    for name in ("mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output", "mlm:framework"):
        assert properties[name]
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", properties["mlm:name"])
    assert properties["mlm:tasks"] == ["semantic-segmentation"]
    assert all(re.fullmatch("[0-9a-zA-Z_.-]+", key) for key in properties["mlm:hyperparameters"])
    (entry,), (output,) = properties["mlm:input"], properties["mlm:output"]
    # Every band of the input is described.
    assert [band["name"] for band in properties["bands"]] == entry["bands"] == ["red", "green", "blue"]
    assert item["assets"]["model"]["bands"] == properties["bands"]
    for structure in (entry["input"], output["result"]):
        assert set(structure) == {"shape", "dim_order", "data_type"}
        assert len(structure["shape"]) == len(structure["dim_order"])
    assert_classes([{k: v for k, v in c.items() if k != "description"} for c in output["classification:classes"]])
    assert [c["description"] for c in output["classification:classes"]] == ["Wald (Bäume)", "water"]
    assert sum("mlm:model" in asset["roles"] for asset in item["assets"].values()) == 1


def test_the_onnx_file_is_described_with_what_it_takes_and_gives(tmp_path: Path) -> None:
    model, item = item_of(tmp_path, "onnx", pixel_size=(0.4, 0.5))
    properties, assets = item["properties"], item["assets"]
    (entry,), (output,) = properties["mlm:input"], properties["mlm:output"]
    assert properties["mlm:framework"] == "ONNX"
    assert properties["gsd"] == 0.4
    assert entry["input"]["shape"] == [-1, 3, 512, 512]
    assert entry["value_scaling"] == [{"type": "z-score", "mean": 120, "stddev": 50}] * 3
    assert output["result"]["shape"] == [-1, 2, 512, 512]
    assert [c["value"] for c in output["classification:classes"]] == [0, 1]
    assert properties["mlm:total_parameters"] == sum(p.numel() for p in model.network.parameters())
    assert assets["model"]["href"] == "./out%2050%25.onnx"
    assert assets["model"]["file:size"] == properties["file:size"] == 5
    assert assets["model"]["file:checksum"] == "1220" + hashlib.sha256(b"graph").hexdigest()
    assert assets["source"]["href"] == "./my%20model.safetensors"
    assert assets["source"]["file:checksum"] == f"1220{model.sha256}"


def test_without_an_onnx_file_the_model_of_geoseg_is_described(tmp_path: Path) -> None:
    model, item = item_of(tmp_path, "safetensors", scaling=Scaling((0.1,) * 3, (0.0,) * 3))
    properties = item["properties"]
    assert properties["mlm:framework"] == "PyTorch"
    (output,) = properties["mlm:output"]
    assert [c["value"] for c in output["classification:classes"]] == [1, 5]
    assert output["result"] == {"shape": [-1, -1], "dim_order": ["height", "width"], "data_type": "uint8"}
    assert item["assets"]["model"]["file:checksum"] == f"1220{model.sha256}"
    assert [band["raster:scale"] for band in properties["bands"]] == [0.1] * 3
    assert any("/raster/" in extension for extension in item["stac_extensions"])


@pytest.mark.parametrize("stem", ["水", "_.", "a b!", "x" * 80])
def test_any_file_name_makes_a_name_as_the_extension_allows_it(stem: str, tmp_path: Path) -> None:
    model, source = make_model(), tmp_path / "m.safetensors"
    model = save_model(model, source)
    artifact = Artifact.of_onnx(tmp_path / f"{stem}.onnx", b"", None)
    name = json.loads(mlm_item(tmp_path / "c.json", model, artifact, source))["properties"]["mlm:name"]
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_the_library_of_the_extension_accepts_it(kind: str, tmp_path: Path) -> None:
    schema = pytest.importorskip("stac_model.schema", reason="package stac-model, of the extension, is not installed")
    assert "/mlm/v1." in schema.SCHEMA_URI
    properties = item_of(tmp_path, kind)[1]["properties"]
    read = schema.MLModelProperties.model_validate(properties)
    assert (read.name, read.framework) == (properties["mlm:name"], properties["mlm:framework"])
    assert read.total_parameters == properties["mlm:total_parameters"]
    assert read.file_size == properties["file:size"]
    assert [(scaling.mean, scaling.stddev) for scaling in read.input[0].value_scaling] == [(120, 50)] * 3
    assert [c.to_dict() for c in read.output[0].classes] == properties["mlm:output"][0]["classification:classes"]
    broken = {**properties, "mlm:input": [{**properties["mlm:input"][0], "value_scaling": [{"type": "z-score"}]}]}
    with pytest.raises(ValueError, match="mean"):
        schema.MLModelProperties.model_validate(broken)


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_it_is_valid_by_the_schema_of_stac(kind: str, tmp_path: Path) -> None:
    """That of Items, which pystac ships; schemas of extensions have to be downloaded."""
    jsonschema = pytest.importorskip("jsonschema", reason="package jsonschema is not installed")
    pystac = pytest.importorskip("pystac", reason="package pystac is not installed")
    referencing = pytest.importorskip("referencing")
    folder = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    base = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/"
    places = {base + path.name: path for path in (folder / "stac-spec" / "v1.1.0").glob("*.json")}
    places |= {f"https://geojson.org/schema/{path.name}": path for path in (folder / "geojson").glob("*.json")}
    schemas = {uri: json.loads(path.read_text()) for uri, path in places.items()}
    registry = referencing.Registry().with_resources(
        (uri, referencing.Resource.from_contents(schema)) for uri, schema in schemas.items()
    )
    validator = jsonschema.Draft7Validator(schemas[f"{base}item.json"], registry=registry)
    item = item_of(tmp_path, kind)[1]
    assert [error.message for error in validator.iter_errors(item)] == []
    assert list(validator.iter_errors({**item, "geometry": 5}))
    assert list(validator.iter_errors({**item, "properties": {**item["properties"], "datetime": 5}}))
