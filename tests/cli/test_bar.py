"""The progress bar fits every terminal, keeps its bar and whole words, and the estimate is what is left."""

from __future__ import annotations

import io
import logging
import os
import re

import pytest

from geoseg.cli.bar import Bar, Clock, duration
from geoseg.cli.main import _Handler
from geoseg.cli.progress import Lines
from geoseg.jobs.job import Progress

MESSAGE = "loss 1.234, 12 of 24 classes in use, separating classes, 55 patches/s"


def step(done: int, total: int, seconds: float, message: str = MESSAGE) -> Progress:
    return Progress("train", "step", done, total, "step", seconds, message)


def start(total: int, done: int = 0) -> Progress:
    return Progress("train", "start", done, total, "step", 0.0, "begins")


def frames(text: str) -> list[str]:
    """What was on the line, one state after the other."""
    return [frame for line in text.split("\n") for frame in line.split("\r\033[K") if frame]


@pytest.mark.parametrize("columns", [30, 50, 80, 120, 250])
def test_a_bar_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    monkeypatch.setattr("geoseg.cli.bar._INTERVAL", 0.0)
    stream = io.StringIO()
    with Bar(stream) as bar:
        bar.show(start(600))
        for done in (1, 2, 300, 599, 600):
            bar.show(step(done, 600, done * 7.0))
    found = frames(stream.getvalue())
    assert found[0] == "begins"
    assert max(map(len, found)) < columns
    assert stream.getvalue().endswith("\n")
    if columns >= 50:
        assert all(len(re.findall(r"\[[#.]{10,20}\]", frame)) == 1 for frame in found[1:])
        assert found[4].startswith("step 300/600  50% [")
        assert "] 35:00, 35:00 left" in found[4]
    parts = ["loss 1.234", "12 of 24 classes in use", "separating classes", "55 patches/s"]
    shown = found[4].partition(" left")[2]
    assert shown in {", ".join(["", *parts[:count]]) for count in range(5)}
    assert shown.count(",") >= {80: 1, 120: 3, 250: 4}.get(columns, 0)


def test_a_message_stands_above_the_bar() -> None:
    stream = io.StringIO()
    handler = _Handler(stream)
    with Bar(stream) as bar:
        bar.show(start(3))
        handler.emit(logging.LogRecord("geoseg", logging.WARNING, "", 0, "beware", (), None))
        bar.show(step(3, 3, 1.0))
    assert "\r\033[Kbeware\n" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7322, "2:02:02")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_estimate_leaves_out_what_was_finished_before_and_the_first_of_many_units() -> None:
    clock = Clock()
    for event in (start(10), step(1, 10, 0.1, "reused"), step(2, 10, 0.2, "reused"), step(3, 10, 5.2)):
        clock.update(event)
    assert clock.text(step(4, 10, 10.2)) == "0:10, 0:30 left"
    many = Clock()
    for event in (start(600), step(1, 600, 60.0)):
        many.update(event)
    assert many.text(step(1, 600, 60.0)) == "1:00"
    assert many.text(step(101, 600, 160.0)) == "2:40, 8:19 left"
    assert many.text(step(600, 600, 700.0)) == "11:40"


def test_the_estimate_of_a_resumed_training_is_of_its_own_steps() -> None:
    clock = Clock()
    for event in (start(120, 100), step(101, 120, 10.0)):
        clock.update(event)
    assert clock.text(start(120, 100)) == "0:00"
    assert clock.text(step(106, 120, 60.0)) == "1:00, 2:20 left"
    many = Clock()
    for event in (start(600, 100), step(101, 600, 60.0), step(102, 600, 61.0)):
        many.update(event)
    assert many.text(step(201, 600, 160.0)) == "2:40, 6:39 left"


def test_lines_come_at_least_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.show(start(1000))
    for done in range(1, 1001):
        lines.show(step(done, 1000, done * 31.0, "x"))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "begins"
    assert len(said) > 400
    assert said[1] == "step 2/1000: 0%, 1:02, 8:35:38 left, x"
    assert said[-1] == "step 1000/1000: 100%, 8:36:40, x"
