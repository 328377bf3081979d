"""geoseg export: files that appear together, and refusals before any work."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commandline import assert_refused, contents, geoseg, untouched
from helpers.models import make_model

import geoseg as api
from geoseg.config import ExportConfig
from geoseg.indices import IndexBand
from geoseg.jobs.export import ExportJob
from geoseg.model.file import save_model
from geoseg.raster.scaling import Scaling

onnx = pytest.importorskip("onnx", reason="package onnx is not installed")


def test_both_files_are_written_and_belong_together(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, card = tmp_path / "m.onnx", tmp_path / "m.json"
    outcome = geoseg(capsys, "export", model_path, "--onnx", graph, "--mlm", card, "--tile-size", 128)
    assert (outcome.code, outcome.out.split()) == (0, [str(graph), str(card)])
    assert outcome.said[-1] == f"{graph}: the network alone, pixel by pixel, without superpixels"
    assert sorted(contents(tmp_path)) == ["m.json", "m.onnx"]
    item = json.loads(card.read_text())
    assert item["assets"]["model"]["href"] == "./m.onnx"
    assert item["assets"]["model"]["file:checksum"] == "1220" + hashlib.sha256(graph.read_bytes()).hexdigest()
    meta = {entry.key: json.loads(entry.value) for entry in onnx.load(graph).metadata_props}
    assert meta["geoseg"]["model_sha256"] == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert meta["tile_size"] == 128


def test_a_file_of_any_size_says_what_deepness_needs(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = geoseg(capsys, "export", model_path, "--onnx", tmp_path / "m.onnx")
    assert outcome.said[-1].endswith("without superpixels; it takes images of any size, where Deepness needs one: "
                                     "--tile-size 128")  # fmt: skip


def test_a_card_of_the_model_alone_needs_no_package(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = api.export(model_path, mlm=tmp_path / "card.json")
    assert (result.onnx, result.mlm) == (None, tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text())["properties"]["mlm:framework"] == "PyTorch"
    with untouched(tmp_path), pytest.raises(api.UnavailableError, match="pip install"):
        api.export(model_path, onnx=tmp_path / "m.onnx", mlm=tmp_path / "new.json")


def test_the_python_function_returns_files_and_classes(model_path: Path, tmp_path: Path) -> None:
    told: list[api.Progress] = []
    result = api.export(model_path, onnx=tmp_path / "m.onnx", progress=told.append)
    assert result.onnx == tmp_path / "m.onnx"
    assert [entry.name for entry in result.classes] == [f"class {i}" for i in range(1, 6)]
    assert [(event.kind, event.done, event.total) for event in told] == [("start", 0, 1), ("step", 1, 1), ("end", 1, 1)]
    assert "class 3" in result._repr_html_()


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ((), 78, ["nothing to write", "--onnx"]),
        (("--mlm", "c.json", "--tile-size", 64), 78, ["tile size is that of an ONNX file"]),
        (("--onnx", "m.onnx", "--tile-size", 8), 78, ["tile size", "8"]),
        (("--onnx", "m.pb"), 73, ["m.pb", "name it m.onnx"]),
        (("--onnx", "m.onnx", "--mlm", "c.yaml"), 73, ["name it c.json"]),
        (("--onnx", "old.onnx"), 73, ["old.onnx: exists already", "--overwrite"]),
        (("--onnx", "no/m.onnx"), 73, ["no does not exist"]),
        (("--onnx", ""), 73, ["--onnx: is empty"]),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(
    more: tuple[object, ...], code: int, words: list[str], model_path: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("old.onnx").write_bytes(b"old")
    with untouched(tmp_path):
        outcome = geoseg(capsys, "export", model_path, *more)
    assert_refused(outcome, code, *words)


def test_a_missing_model_and_one_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(geoseg(capsys, "export", tmp_path / "no.safetensors", "--mlm", tmp_path / "c.json"), 66, "no.safe")
    (tmp_path / "x.safetensors").write_bytes(b"12345678")
    outcome = geoseg(capsys, "export", tmp_path / "x.safetensors", "--mlm", tmp_path / "c.json")
    assert_refused(outcome, 65, "is not a geoseg model")


def test_an_old_file_is_replaced_only_when_asked_and_only_whole(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {tmp_path / "m.onnx": b"old", tmp_path / "m.json": b"old too"}
    for path, content in old.items():
        path.write_bytes(content)

    def fail(*_: object) -> bytes:
        raise api.WriteError("the disk is full")

    with monkeypatch.context() as patch, untouched(tmp_path):
        patch.setattr("geoseg.jobs.export.mlm_item", fail)
        with pytest.raises(api.WriteError):
            api.export(model_path, onnx=tmp_path / "m.onnx", mlm=tmp_path / "m.json", overwrite=True)
    api.export(model_path, onnx=tmp_path / "m.onnx", mlm=tmp_path / "m.json", overwrite=True)
    assert all(path.read_bytes() != content for path, content in old.items())


def test_what_a_file_cannot_have_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = replace(make_model(), scaling=Scaling((0.1,) * 3, (1.0,) * 3))
    save_model(model, tmp_path / "m.safetensors")
    with caplog.at_level(logging.WARNING):
        api.export(tmp_path / "m.safetensors", mlm=tmp_path / "m.json")
        assert caplog.messages == []
        config = ExportConfig(tmp_path / "m.safetensors", tmp_path / "m.onnx")
        ExportJob(config).close()
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'm.onnx'}: its scenes declare scale and offset")


def test_bands_that_other_programs_do_not_add_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("red", "green", "blue", "exg")
    model = replace(make_model(4), bands=names, dtype="float32", indices=(IndexBand("exg", (0, 1, 2)),))
    save_model(model, tmp_path / "m.safetensors")
    with caplog.at_level(logging.WARNING):
        ExportJob(ExportConfig(tmp_path / "m.safetensors", tmp_path / "m.onnx")).close()
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'm.onnx'}: it takes exg as further bands")


def test_the_snippet_of_the_page_about_onnx_runs(
    scene_path: Path, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="package onnxruntime is not installed")
    page = (Path(__file__).resolve().parents[2] / "docs" / "onnx.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    api.export(model_path, onnx="model.onnx", tile_size=128)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/onnx.md", "exec"), names)
    ids = set(np.unique(names["ids"]).tolist())
    assert ids <= {1, 2, 3, 4, 5}
    assert len(ids) > 1
