"""The files of a map and its model, and copies of them to go back to. Imports neither QGIS nor geoseg."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dock_classes import LandClass, NamingError, classes_of

_MOST_BYTES = 64 << 20
_TOUCHED = (".gpkg", ".xml")
"""Suffixes of files that QGIS itself writes to when it opens or draws them; geoseg would make them anew."""
_STEPS = 5
"""Changes that can be undone, of each map."""


@dataclass(frozen=True)
class MapRecord:
    """The record beside a map.

    Attributes:
        raster: The class raster.
        path: The record.
        classes: Its classes.
        model_sha256: Of the model that made it; None if that is not known.
        scene: Name of the scene that it was made from; empty if that is not known.
        files: All files of the map, the record last.
    """

    raster: Path
    path: Path
    classes: tuple[LandClass, ...]
    model_sha256: str | None
    scene: str
    files: tuple[Path, ...]


def read_map(raster: Path) -> MapRecord:
    """Return the record of a class raster.

    Raises:
        NamingError: There is none, or it is not that of a map.
    """
    path = raster.with_suffix(".geoseg.json")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_bytes())
        names = list(content["files"])
        if raster.name not in names:
            raise ValueError("it is that of another file")
        files = (*(raster.parent / name for name in names), path)
        scene = content.get("scene") or {}
        return MapRecord(
            raster, path, classes_of(content["classes"]), content.get("model_sha256"), scene.get("name") or "", files
        )
    except FileNotFoundError:
        raise NamingError(f"{raster.name} is no map of geoseg: there is no {path.name} beside it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NamingError(f"{path}: is no record of a map ({error})") from error


@dataclass(frozen=True)
class ModelFile:
    """What a model file says of itself.

    Attributes:
        classes: Its classes.
        sha256: Of the file.
        earlier: SHA-256 that it had before its classes were changed.
        base: SHA-256 of the models that it was taught from, if it was taught.
        taught: The names that its clusters were taught; empty for a model that was not taught.
    """

    classes: tuple[LandClass, ...]
    sha256: str
    earlier: frozenset[str]
    base: frozenset[str]
    taught: tuple[str, ...]

    def made(self, record: MapRecord) -> bool:
        """Return whether it made a map, as it is or with the classes that it had before.

        A model that was taught may hold the earlier checksums of the model that it comes from, whose maps have other
        clusters than its own. So its earlier checksums count only for maps of its clusters, most of whose names it has.
        """
        if record.model_sha256 == self.sha256:
            return True
        if record.model_sha256 not in self.earlier - self.base:
            return False
        if not self.taught:
            return True
        known = {*self.taught, *(entry.name for entry in self.classes if not entry.unnamed)}
        ours, theirs = ({i for entry in each for i in entry.clusters} for each in (self.classes, record.classes))
        return ours == theirs and 2 * sum(entry.name in known for entry in record.classes) > len(record.classes)


def read_model(path: Path) -> ModelFile:
    """Read what a model file says of itself.

    Raises:
        NamingError: It is no model.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MOST_BYTES:
                raise ValueError("it is no safetensors file")
            card: Mapping[str, Any] = json.loads(json.loads(file.read(size))["__metadata__"]["geoseg"])
            digest = hashlib.sha256()
            file.seek(0)
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
        facts, teaching = card["provenance"], card.get("teaching") or {"names": ()}
        earlier, base = (
            facts.get("earlier_sha256") or (),
            [each["model_sha256"] for each in facts.get("teaching") or ()],
        )
        return ModelFile(
            classes_of(card["classes"]),
            digest.hexdigest(),
            frozenset(earlier),
            frozenset(base),
            tuple(teaching["names"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NamingError(f"{path}: is no model of geoseg ({error})") from error


def find_model(record: MapRecord, chosen: Path | None = None) -> Path | None:
    """Return the model that made a map: `chosen` if it did, or one beside the map or in the folder above; None without.

    Of several, the one with the classes of the map comes first, then the very file that made it, then the nearest name.
    """
    if chosen is not None:
        with contextlib.suppress(NamingError):
            if read_model(chosen).made(record):
                return chosen
    folders = (record.raster.parent, record.raster.parent.parent)
    paths = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    paths.sort(key=lambda path: path.stem != f"{record.raster.stem}-model")
    found: list[tuple[bool, bool, int, Path]] = []
    for place, path in enumerate(paths):
        with contextlib.suppress(NamingError):
            model = read_model(path)
            other = not same_classes(model.classes, record.classes)
            if model.made(record):
                found.append((other, model.sha256 != record.model_sha256, place, path))
                if not any(found[-1][:2]):
                    return path  # the others need not be read
    return min(found)[-1] if found else None


def find_scene(record: MapRecord, more: Iterable[Path] = ()) -> Path | None:
    """Return the scene of a map, by its name: one of `more`, or beside the map or in the folder above."""
    folders = (record.raster.parent, record.raster.parent.parent)
    wanted = [*more, *(folder / Path(record.scene).name for folder in folders if record.scene)]
    return next((path for path in wanted if path.name == record.scene and path.is_file()), None)


def same_classes(ours: Sequence[LandClass], theirs: Sequence[LandClass]) -> bool:
    """Return whether two class maps are the same."""
    return [(c.id, c.name, c.colour, c.clusters) for c in ours] == [
        (c.id, c.name, c.colour, c.clusters) for c in theirs
    ]


class History:
    """The last states of a map and its model, kept beside the map in the folder `<map>.undo`.

    A state is made of hard links, which need no space until the files are replaced; geoseg changes no file in place.

    Args:
        raster: The class raster.
    """

    def __init__(self, raster: Path) -> None:
        self.folder = raster.with_name(raster.name + ".undo")

    @property
    def steps(self) -> list[Path]:
        """The folders of the states that are complete, the last one last."""
        found = [path.parent for path in self.folder.glob("*/state.json") if path.parent.name.isdecimal()]
        return sorted(found, key=lambda path: int(path.name))

    def keep(self, files: Iterable[Path]) -> Path:
        """Keep the present state of files, and return its folder. They are restored in this order.

        Raises:
            NamingError: It cannot be kept.
        """
        steps = self.steps
        step = self.folder / str(int(steps[-1].name) + 1 if steps else 1)
        try:
            shutil.rmtree(step, ignore_errors=True)
            step.mkdir(parents=True)
            kept = [str(path.absolute()) for path in files if path.is_file()]
            for number, path in enumerate(kept):
                _link(Path(path), step / str(number))
            _write(step / "state.json", {"files": kept, "after": None})
        except OSError as error:
            raise NamingError(
                f"{step}: the present state cannot be kept there ({error.strerror}); nothing is changed"
            ) from None
        for old in steps[: max(0, len(steps) + 1 - _STEPS)]:
            shutil.rmtree(old, ignore_errors=True)
        return step

    def close(self, step: Path) -> None:
        """Note what the files of a state are after the change; a state that nothing has changed since is dropped."""
        content = json.loads((step / "state.json").read_bytes())
        after = [_stamp(Path(path)) for path in content["files"]]
        if after == [_stamp(step / str(number)) for number in range(len(after))]:
            self.drop(step)
        else:
            _write(step / "state.json", {**content, "after": after})

    def drop(self, step: Path) -> None:
        """Forget a state."""
        shutil.rmtree(step, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def undo(self) -> None:
        """Go back to the last state.

        Raises:
            NamingError: There is none, it is damaged, or a file was changed by somebody else since.
        """
        if not self.steps:
            raise NamingError("there is nothing to undo")
        step = self.steps[-1]
        try:
            content = json.loads((step / "state.json").read_bytes())
            paths = [Path(path) for path in content["files"]]
            for number, path in enumerate(paths):
                kept = step / str(number)
                known = [_stamp(kept), *([content["after"][number]] if content["after"] else [])]
                touched = content["after"] and _stamp(path) not in known and path.suffix not in _TOUCHED
                if touched or not kept.is_file():
                    raise NamingError(f"{path}: was changed since by another program; going back would lose that")
            for number, path in enumerate(paths):
                _link(step / str(number), path.with_name(f"{path.name}.back"))
                path.with_name(f"{path.name}.back").replace(path)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise NamingError(f"{step}: cannot go back ({error})") from error
        self.drop(step)


def _link(path: Path, to: Path) -> None:
    to.unlink(missing_ok=True)
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without links
        shutil.copy2(path, to)


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), "utf-8")
    part.replace(path)
