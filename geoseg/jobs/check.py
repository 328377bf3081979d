"""geoseg check: read all of a file, and of what belongs to it, and find everything that is wrong. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.checks.findings import MAX_LISTED, FileFindings, Finding
from geoseg.checks.polygons import check_polygons, summarise
from geoseg.checks.rasters import check_raster
from geoseg.checks.results import check_result, record_of
from geoseg.config import CheckConfig
from geoseg.errors import GeosegError, InputError, InputMissingError, SettingError
from geoseg.files.atomic import sha256
from geoseg.files.lock import holder
from geoseg.files.record import RECORD
from geoseg.outputs.names import POLYGONS
from geoseg.raster.cog import read_provenance
from geoseg.raster.guards import raster_driver, regular_file
from geoseg.runs.folder import FolderStore
from geoseg.runs.manifest import nodata_of, read_manifest
from geoseg.runs.status import check_parts


def check_files(config: CheckConfig) -> Iterator[Finding]:
    """Check the files of `config` one after the other; see `check_file`."""
    for path in config.files:
        yield from check_file(path, config.scene)


def check_file(path: Path, scene: Path | None = None) -> Iterator[Finding]:
    """Check one file or folder; the findings are made as the iterator is advanced.

    Args:
        path: A scene, a model, a result that geoseg wrote (any of its files), a run directory, or the folder of an
            interrupted training.
        scene: The scene that a map or superpixels were made from, to compare them with.

    Raises:
        InputMissingError: There is nothing at `path` or `scene`.
        InputError: There is nothing that can be checked.
        SettingError: `scene` is given, but `path` is not a result with a record.
    """
    if not path.exists():
        raise InputMissingError(f"{path}: no such file or folder")
    record = None if path.is_dir() else record_of(path)
    if scene is not None:
        regular_file(scene)
        if record is None:
            raise SettingError(f"{path}: is not a map or superpixels with a record beside it: leave --scene out")
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
    findings = FileFindings(path)
    try:
        provenance = read_provenance(path)
        if provenance is not None and provenance["layer"] == "confidence":
            yield findings.passed("record", f"no record ({RECORD}) in its folder names it: check the map instead")
        elif provenance is not None:
            problem = f"geoseg wrote it, but its record ({RECORD}) is missing: copy it here, or make the raster again"
            yield findings.failed("record", problem)
    except ValueError as error:
        yield findings.failed("provenance", f"cannot be read ({error})")
    try:
        yield from check_raster(path)
    except (OSError, GeosegError) as error:
        yield findings.failed("header", error)


def _check_polygons(path: Path) -> Iterator[Finding]:
    findings = FileFindings(path)
    yield findings.passed("record", f"no record ({RECORD}) names it: it is checked by itself")
    try:
        yield from check_polygons(findings, summarise(path, POLYGONS[path.suffix.lower()]), None)
    except (OSError, GeosegError) as error:
        yield findings.failed("features", error)


def _check_model(path: Path) -> Iterator[Finding]:
    # Only models need torch, which takes longer to import than most rasters take to read.
    from geoseg.model.file import load_model

    findings = FileFindings(path)
    try:
        model = load_model(path)
    except GeosegError as error:
        yield findings.failed("model", error)
        return
    tensors = len(model.network.state_dict())
    yield findings.passed("model", f"card and {tensors} tensors match their checksums, and every weight is finite")
    yield findings.passed("sha256", sha256(path))


def _check_folder(folder: Path) -> Iterator[Finding]:
    if (folder / "manifest.json").is_file():
        return _check_run(folder)
    if any(folder.glob("step-*.json")):
        return _check_training(folder)
    raise InputError(f"{folder}: is neither a run directory nor a folder of checkpoints; give a file")


def _check_run(folder: Path) -> Iterator[Finding]:
    findings = FileFindings(folder)
    yield from _check_lock(findings)
    store = FolderStore(folder)
    manifest = read_manifest(store)
    yield findings.judge("manifest", None if manifest else "its manifest.json is damaged", "its manifest can be read")
    intact, damaged = check_parts(store)
    for name in damaged[:MAX_LISTED]:
        yield findings.failed("parts", f"{name} differs from its checksum; the same command computes it again")
    if len(damaged) > MAX_LISTED:
        yield findings.failed("parts", f"{len(damaged) - MAX_LISTED} more parts differ from their checksums")
    yield findings.passed("parts", f"{intact} parts are intact; {_missing(manifest or {}, intact, damaged)}")


def _missing(manifest: dict[str, Any], intact: int, damaged: list[str]) -> str:
    """Say how many blocks have no part yet."""
    blocks = manifest.get("blocks")
    if not isinstance(blocks, int):
        return "the number of missing parts is unknown"
    return f"{blocks - len(nodata_of(manifest)) - intact - len(damaged)} of {blocks} are missing"


def _check_training(folder: Path) -> Iterator[Finding]:
    from geoseg.learning.checkpoints import records, verify

    findings = FileFindings(folder)
    yield from _check_lock(findings)
    for record in records(folder):
        problem = verify(record)
        yield findings.judge("checkpoint", f"{record.stem} {problem}" if problem else None, f"{record.stem} is intact")


def _check_lock(findings: FileFindings) -> Iterator[Finding]:
    """Say so if a process is at work in the folder."""
    found = holder(findings.file / "lock")
    if found is not None and found.alive:
        yield findings.passed("lock", f"{found} is at work there")
