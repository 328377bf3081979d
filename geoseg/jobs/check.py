"""geoseg check: read all of a file, and of what belongs to it, and say whether it is whole. Nothing is ever written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.checks.findings import MOST, Finding, Report
from geoseg.checks.polygons import Layer, check_layer
from geoseg.checks.rasters import check_raster
from geoseg.checks.results import check_result, record_of
from geoseg.errors import GeosegError, InputError, InputMissingError, SettingError
from geoseg.files.lock import holder
from geoseg.files.record import RECORD
from geoseg.outputs.names import POLYGONS
from geoseg.raster.cog import read_provenance
from geoseg.raster.guards import raster_driver, regular_file
from geoseg.runs.directory import manifest_of, parts


def check(path: Path, scene: Path | None = None) -> Iterator[Finding]:
    """Yield what was found in a scene, a model, a result that geoseg wrote (by any of its files), a run directory or
    the folder of an interrupted training.

    scene: what a map or superpixels were made of.

    Raises:
        InputMissingError, InputError: there is nothing, or nothing that can be checked.
        SettingError: a scene is given for what is not made of one.
    """
    if not path.exists():
        raise InputMissingError(f"{path}: no such file or folder")
    record = None if path.is_dir() else record_of(path)
    if scene is not None:
        regular_file(scene)
        if record is None:
            raise SettingError(f"{path}: is no map that geoseg wrote, with its record: leave --scene out")
    if record is not None:
        return check_result(record, scene)
    if path.is_dir():
        return _check_folder(path)
    regular_file(path)
    if path.suffix == ".safetensors":
        return _check_model(path)
    if path.suffix.lower() in POLYGONS:
        return _check_polygons(path)
    raster_driver(path)
    return _check_raster(path)


def _check_raster(path: Path) -> Iterator[Finding]:
    report = Report(path)
    try:
        provenance = read_provenance(path)
        if provenance is not None and provenance["layer"] == "confidence":
            yield report.fine("record", f"no record ({RECORD}) beside it names it: check the map that it belongs to")
        elif provenance is not None:
            yield report.wrong("record", f"geoseg wrote it, but its record ({RECORD}) is not there: was it published?")
    except ValueError as error:
        yield report.wrong("provenance", f"cannot be read ({error})")
    try:
        yield from check_raster(path)
    except (OSError, GeosegError) as error:
        yield report.wrong("header", error)


def _check_polygons(path: Path) -> Iterator[Finding]:
    report = Report(path)
    yield report.fine("record", f"no record ({RECORD}) names it: it is held against itself alone")
    try:
        yield from check_layer(report, Layer(path, POLYGONS[path.suffix.lower()]), None)
    except (OSError, GeosegError) as error:
        yield report.wrong("features", error)


def _check_model(path: Path) -> Iterator[Finding]:
    # Torch is for those who check what it made: importing it takes longer than reading most rasters.
    from geoseg.model.file import load_model

    report = Report(path)
    try:
        model = load_model(path)
    except GeosegError as error:
        yield report.wrong("model", error)
        return
    tensors = len(model.network.state_dict())
    yield report.fine("model", f"card and {tensors} tensors match their checksums, and every weight is finite")
    yield report.fine("sha256", str(model.sha256))


def _check_folder(folder: Path) -> Iterator[Finding]:
    if (folder / "manifest.json").is_file():
        return _check_run(folder)
    if any(folder.glob("step-*.json")):
        return _check_training(folder)
    raise InputError(f"{folder}: is neither a run directory nor a folder of checkpoints; give a file")


def _check_run(folder: Path) -> Iterator[Finding]:
    report = Report(folder)
    yield from _at_work(report)
    manifest = manifest_of(folder)
    yield report.either("manifest", None if manifest else "its manifest.json is damaged", "its manifest can be read")
    whole, damaged = parts(folder)
    for name in damaged[:MOST]:
        yield report.wrong("parts", f"{name} is not what was recorded; the same command computes it again")
    if len(damaged) > MOST:
        yield report.wrong("parts", f"{len(damaged) - MOST} more parts are not what was recorded")
    yield report.fine("parts", f"{len(whole)} parts are whole; {_missing(manifest or {}, whole, damaged)}")


def _missing(manifest: dict[str, Any], whole: list[str], damaged: list[str]) -> str:
    """How many blocks have no part yet, as far as the manifest says how many there are."""
    blocks = manifest.get("blocks")
    if not isinstance(blocks, int):
        return "how many are missing is not said"
    return f"{blocks - len(whole) - len(damaged)} of {blocks} are missing"


def _check_training(folder: Path) -> Iterator[Finding]:
    from geoseg.learning.checkpoints import records, verify

    report = Report(folder)
    yield from _at_work(report)
    for record in records(folder):
        problem = verify(record)
        yield report.either("checkpoint", f"{record.stem} {problem}" if problem else None, f"{record.stem} is whole")


def _at_work(report: Report) -> Iterator[Finding]:
    found = holder(report.file / "lock")
    if found is not None and found.alive:
        yield report.fine("lock", f"{found} is at work there")
