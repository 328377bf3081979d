"""Call the command line in this process, and look at what it left behind."""

from __future__ import annotations

import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from geoseg.cli.main import main

if TYPE_CHECKING:
    from geoseg.jobs.train import TrainJob


def training_with(**recipe: Any) -> Callable[..., TrainJob]:
    """`TrainJob` with values of the recipe that no option has; the command runs it in place of the original."""
    from geoseg.jobs.train import TrainJob

    return lambda config, *given, **more: TrainJob(config, *given, recipe=replace(config.settled, **recipe), **more)


@dataclass(frozen=True)
class Outcome:
    """Exit status, standard output and standard error of a command."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """Lines of standard error."""
        return self.err.splitlines()


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """All commands by the words that call them: "train", "classes set"."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= (
            commands(command, f"{prefix}{name} ") if isinstance(command, click.Group) else {f"{prefix}{name}": command}
        )
    return found


def geoseg(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run `geoseg ARGUMENTS` in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, captured.out, captured.err)


def assert_refused(outcome: Outcome, code: int, *words: object) -> None:
    """Assert that the command ended with `code` and one line on standard error that contains every word."""
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert len(outcome.said) == 1, outcome.err
    assert outcome.said[0].startswith("geoseg: error: ")
    for word in words:
        assert str(word) in outcome.said[0]


def contents(folder: Path) -> dict[str, Any]:
    """Return what lies under `folder`: relative path -> bytes of a file, target of a link, kind of anything else."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[str(path.relative_to(folder))] = path.readlink()
        else:
            found[str(path.relative_to(folder))] = path.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)
    return found


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Within this context nothing under `folder` is written, changed or left behind."""
    before = contents(folder)
    yield
    after = contents(folder)
    assert sorted(after) == sorted(before), sorted(set(after) ^ set(before))
    assert after == before


def first_band(path: Path) -> NDArray[Any]:
    """The first band of a raster."""
    with rasterio.open(path) as file:
        band: NDArray[Any] = file.read(1)
        return band


def assert_map_of(out: Path, scene: Path, valid: NDArray[np.bool_]) -> NDArray[Any]:
    """`out` is a class raster on the pixels of `scene`: 0 exactly where `valid` is not; return its pixels."""
    with rasterio.open(scene) as source, rasterio.open(out) as file:
        assert file.shape == source.shape == valid.shape
        assert file.transform == source.transform
        assert (file.crs.to_wkt() if file.crs else None) == (source.crs.to_wkt() if source.crs else None)
        assert (file.count, file.dtypes, file.nodata) == (1, ("uint8",), 0)
        classes: NDArray[Any] = file.read(1)
    np.testing.assert_array_equal(classes > 0, valid)
    assert classes.max() <= 5
    return classes
