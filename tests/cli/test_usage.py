"""Help in groups, errors of usage in one line with a way out, and interruptions under rio."""

from __future__ import annotations

import json
import logging
import re
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from helpers.commandline import commands, geoseg
from helpers.rasters import landscape
from PIL import Image

from geoseg.cli.main import geoseg as group
from geoseg.cli.usage import group_of


@pytest.mark.parametrize("name", sorted(commands(group)))
def test_every_option_stands_once_and_in_a_group(name: str) -> None:
    command = commands(group)[name]
    context = click.Context(command, info_name=name, terminal_width=80)
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    other = [option.opts for option in options if group_of(command, option) == "Other"]
    assert [opts[-1] for opts in other] == ["--help"]
    text = command.get_help(context)
    for option in options:
        (record,) = [option.get_help_record(context)]
        assert record is not None
        assert text.count(f"\n  {record[0]}") >= 1, record[0]
    if len(options) > 8:
        headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
        assert headings == [line for line in ("Input:", "Model:", "Training:", "Superpixels:", "Output:", "Tiling:",
                                              "Device:", "Engine:", "Runs and safety:", "Other:")
                            if line in headings]  # fmt: skip
        assert len(headings) > 3


@pytest.mark.parametrize("name", [None, *sorted(commands(group))])
def test_help_fits_a_terminal_of_80_columns(name: str | None) -> None:
    command = commands(group)[name] if name else group
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    # Lines after \\b are kept as they are.
    kept = [line for line in str(command.help).splitlines() if "  " in line.strip()]
    assert all(len(line) <= 80 or line in text for line in text.splitlines() if line.strip() not in kept)
    # An ellipsis stands for more of the same, or for words that were cut off.
    assert "..." not in re.sub(r"(?<=[A-Z])\.\.\.|\[ARGS\]\.\.\.|\[,[A-Z]+\.\.\.\]", "", text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict"], ["predict: SCENES is missing", "geoseg predict --help"]),
        (["predict", "s.tif"], ["predict: -o, --out is missing", "geoseg predict --help"]),
        (["predict", "s.tif", "-o", "m.tif", "--tile-siz", "3"], ["no option --tile-siz; did you mean --tile-size?"]),
        (["predict", "s.tif", "-o", "m.tif", "--tile-size", "x"], ["--tile-size: 'x' is not a valid integer;"]),
        (["predict", "s.tif", "-o", "m.tif", "--min-area", "x"], ["--min-area: area is 'x'; write it as 50, 50m2"]),
        (["predict", "s.tif", "-o", "m.tif", "--bounds", "1", "2"], ["--bounds", "requires 4 arguments"]),
        (["train", "--data", "d", "--recipe", "x"], ["train: --recipe: 'x' is not one of 'orthophoto'"]),
        (["info", "s.tif", "t.tif"], ["info: got unexpected extra argument (t.tif)"]),
        (["superpixel", "s.tif"], ["no such command 'superpixel'; did you mean superpixels? geoseg --help"]),
        (["xyz"], ["no such command 'xyz'; geoseg --help shows what there is"]),
        (["--loud", "info"], ["no option --loud", "geoseg --help"]),
    ],
)
def test_wrong_usage_is_one_line_with_a_way_out(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = geoseg(capsys, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.said
    assert line.startswith("geoseg: error: ")
    for word in words:
        assert word in line


def test_wrong_usage_is_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = geoseg(capsys, "--progress", "json", "predict", "s.tif").said
    assert json.loads(line)["status"] == 2
    assert json.loads(line)["message"].startswith("predict: -o, --out is missing")


def test_no_arguments_are_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = geoseg(capsys)
    assert "geoseg train --data FOLDER" in outcome.out + outcome.err
    assert "geoseg: error" not in outcome.err


def test_under_rio_an_interruption_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geoseg.jobs.info.file_info", interrupted)
    rio = click.Group("rio", commands={"geoseg": group})
    found = CliRunner().invoke(rio, ["geoseg", "info", "scene.tif"])
    assert (found.exit_code, found.output) == (130, "interrupted\n")
    wrong = CliRunner().invoke(rio, ["geoseg", "info"])
    assert wrong.exit_code == 2
    assert wrong.output.startswith("geoseg: error: info: FILE is missing; rio geoseg info --help")


def test_warnings_of_libraries_are_for_verbose_output_only(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def warning(*_: object) -> dict[str, str]:
        warnings.warn("something internal", RuntimeWarning, stacklevel=1)
        return {"kind": "scene"}

    monkeypatch.setattr("geoseg.jobs.info.file_info", warning)
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        outcome = geoseg(capsys, "info", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    (record,) = [record for record in caplog.records if record.name == "geoseg.libraries"]
    assert record.levelno == logging.DEBUG
    assert "RuntimeWarning: something internal" in record.getMessage()


def test_a_picture_without_a_georeference_causes_one_warning_of_ours_and_none_of_libraries(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    picture = tmp_path / "photo.jpg"
    Image.fromarray(np.moveaxis(landscape(70, 80), 0, -1)).save(picture)
    more = ("--min-area", "20px", "--confidence", tmp_path / "sure.tif", "--polygons", tmp_path / "map.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = geoseg(capsys, "predict", picture, "-m", model_path, "-o", tmp_path / "map.tif", *more)
        assert outcome.code == 0, outcome.err
        assert geoseg(capsys, "superpixels", picture, "-o", tmp_path / "ids.tif").code == 0
    assert [message.split(":")[1] for message in caplog.messages] == [
        " has no CRS, and neither has what is made from it (--assume-crs sets one)"
    ] * 2
