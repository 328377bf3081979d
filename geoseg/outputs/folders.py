"""The names of the outputs of many scenes: files in folders, each named after its scene."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from geoseg.config import PredictConfig
from geoseg.errors import OutputError
from geoseg.files.targets import first_existing
from geoseg.location import Location, local, within
from geoseg.outputs.names import Outputs, is_folder, run_directory

_CLASSES = "-classes"


def outputs_of(config: PredictConfig, places: Sequence[Path] | None = None) -> list[tuple[Location, Outputs]]:
    """Return each scene of `config` with its outputs: the given files, or files in the given folders.

    A folder is one that exists, or a name without a suffix: that folder is made when it is needed.

    Args:
        config: The settings.
        places: Where in the folders the outputs of each scene lie, relative paths; None puts them in the folders.

    Raises:
        OutputError: There are several scenes but no folder, outputs of two scenes have the same name, or an output is
            one of the scenes.
    """
    named = {"--confidence": config.confidence, "--polygons": config.polygons, "--areas": config.areas}
    require_folders("scenes", len(config.scenes), {"--out": config.out, **named}, config.tree)
    folders = places or [Path()] * len(config.scenes)
    targets = [(scene, _outputs(config, scene, place)) for scene, place in zip(config.scenes, folders, strict=True)]
    refuse_collisions(config.out, ((scene, outputs.classes) for scene, outputs in targets), config.tree)
    if len(targets) > 1:
        refuse_inputs(config.scenes, (path for _, outputs in targets for path in outputs.main))
    return targets


def require_folders(noun: str, count: int, outputs: Mapping[str, Path | None], tree: bool) -> None:
    """Refuse outputs that are no folders where there are several inputs, or where a tree of folders is wanted.

    Args:
        noun: What the inputs are called.
        count: Number of inputs.
        outputs: Option -> the output.
        tree: The folders of the inputs are kept.

    Raises:
        OutputError: An output is a file, or the name of one.
    """
    for option, path in outputs.items():
        if path is None or is_folder(path):
            continue
        there = "is a file" if path.exists() else f"is the name of a {path.suffix} file"
        if count > 1:
            raise OutputError(f"{path}: {there}; for {count} {noun}, {option} must be a folder")
        if tree:
            raise OutputError(f"{path}: {there}; --tree needs a folder: give one as {option}")


def refuse_collisions(out: Path, outputs: Iterable[tuple[Location, Path]], tree: bool) -> None:
    """Raise OutputError where two inputs have the same output.

    Args:
        out: The folder of the outputs.
        outputs: Each input and its output.
        tree: The folders of the inputs are kept.
    """
    owners: dict[Path, Location] = {}
    for location, path in outputs:
        other = owners.setdefault(path, location)
        if other is not location:
            way_out = "rename one of them" if tree else "keep their folders apart with --tree, or rename one of them"
            # As seen from --out, which the user gave.
            name = path.relative_to(out) if path.is_relative_to(out) else path
            raise OutputError(f"{out}: {other} and {location} would both be written to {name}; {way_out}")


def refuse_inputs(inputs: Iterable[Location], outputs: Iterable[Path]) -> None:
    """Raise OutputError where an output is one of the inputs, possibly through a link."""
    files = {status: path for path in local(*inputs) if (status := _file_of(path)) is not None}
    for path in outputs:
        status = _file_of(path)
        if status is not None and status in files:
            raise OutputError(f"{path}: is the input itself ({files[status]}); choose another output")


def check_folders(paths: Iterable[Path], new: Iterable[Path]) -> None:
    """Refuse folders that cannot be written to, each of them once.

    Args:
        paths: Outputs.
        new: Folders that are made when they are needed.

    Raises:
        OutputError: A folder is missing, no folder, or not writable.
    """
    made = set(new)
    for folder in {path.parent for path in paths}:
        existing = first_existing(folder, made)
        if not existing.is_dir():
            raise OutputError(f"{folder}: its folder {existing} does not exist; create it first")
        if not os.access(existing, os.W_OK):
            raise OutputError(f"{existing}: the folder is not writable")


def chain(folder: Path, place: Path) -> Iterator[Path]:
    """Yield a folder and those that lead from there to `place` below it, in the order in which they are made."""
    yield folder
    for part in place.parts:
        folder /= part
        yield folder


def name_in(folder: Path, place: Path, location: Location, kind: str, suffix: str) -> Path:
    """Return the output of an input in a folder: `KIND` of `a.tif` and of `a-classes.tif` are `a-KIND` both."""
    return folder / place / f"{location.stem.removesuffix(_CLASSES)}-{kind}{suffix}"


def run_in(folder: Location, place: Path, out: Path) -> Location:
    """Return the run directory of an output in the folder of all runs, which has no folders for `place`."""
    return within(folder, "--".join([*place.parts, run_directory(out).name]))


def _outputs(config: PredictConfig, scene: Location, place: Path) -> Outputs:
    """The files of the map of one scene."""
    given = (config.out, config.confidence, config.polygons, config.areas)
    names = ("classes.tif", "confidence.tif", "polygons.gpkg", "areas.csv")
    folders = tuple(path for path in given if path is not None and is_folder(path)) if is_folder(config.out) else ()
    classes, confidence, polygons, areas = (
        path / place / f"{scene.stem}-{name}" if path in folders and path is not None else path
        for path, name in zip(given, names, strict=True)
    )
    assert classes is not None
    new = dict.fromkeys(folder for path in folders for folder in chain(path, place))
    return Outputs(classes, confidence, polygons, tuple(new), areas)


def _file_of(path: Path) -> tuple[int, int] | None:
    """What identifies the file at a path, through links; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
