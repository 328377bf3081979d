"""geoseg classes: changes of the class map of a model, of finished maps, or of both at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from geoseg.classes import ClassMap
from geoseg.errors import InputError, OutputError
from geoseg.files.atomic import sha256
from geoseg.files.lock import OutputLocks
from geoseg.files.record import EARLIER
from geoseg.files.targets import check_target
from geoseg.jobs.relabel import RelabelJob
from geoseg.model.card_file import read_card
from geoseg.model.rewriting import write_with_card
from geoseg.naming.legend_file import SUFFIXES, read_legend_file, write_legend
from geoseg.outputs.found import record_of_map
from geoseg.outputs.names import run_directory
from geoseg.raster.guards import regular_file
from geoseg.units import Area

Change = Callable[[ClassMap], ClassMap]


@dataclass(frozen=True)
class _Owner:
    """A file with a class map.

    Attributes:
        path: The file.
        classes: Its class map.
        models: SHA-256 of the model file, under all class maps that it had, or of the model that made the map.
        card: The card of a model; None for a map.
    """

    path: Path
    classes: ClassMap
    models: frozenset[str]
    card: dict[str, Any] | None


class ClassEdit:
    """A change of the class map of some files. A context manager.

        with ClassEdit([model, map], change) as edit:
            edit.save_models()
            for job in edit.jobs:
                ...                  # run the job

    Everything is checked on construction. A model is replaced at once; maps need a job each.

    Args:
        files: Models and maps. They must belong together: all of one model.
        change: Makes the new class map of that of the first file, or of each file if `each` is set.
        each: Whether every file is changed by itself.
        out: Where to write the first file instead of replacing it.
        min_area: Smaller regions of maps are merged into a neighbour.
        overwrite: Whether an existing `out` may be replaced.

    Attributes:
        new: The new class map of the first file.
        jobs: Those of the maps.
        written: The files that are changed or written, in the order of `files`.

    Raises:
        InputMissingError, InputError: A file is missing, has no class map, or is of another model.
        SettingError: The change is not possible.
        OutputError: `out` cannot or must not be written.
        LockedError: Another process changes one of the models.
    """

    def __init__(
        self, files: Sequence[Path], change: Change, each: bool = False, out: Path | None = None,
        min_area: Area | None = None, overwrite: bool = False,
    ) -> None:  # fmt: skip
        self.jobs: list[RelabelJob] = []
        self.written: list[Path] = []
        self._models: list[tuple[_Owner, ClassMap, Path]] = []
        with ExitStack() as stack:
            for path in files:
                regular_file(path)
            # Locked before they are read: of two changes at the same time, none is lost.
            models = [path for path in files if is_model(path)]
            stack.enter_context(OutputLocks(*models, *([out] if out and models else [])))
            owners = [_owner(path) for path in files]
            self.new = change(owners[0].classes)
            if not each:
                _check_together(owners)
            for index, owner in enumerate(owners):
                classes = change(owner.classes) if each else self.new
                target = out if index == 0 else None
                self.written.append(target or owner.path)
                if owner.card is not None:
                    if target is not None:
                        check_target(target, overwrite, tuple(files))
                        if not is_model(target):
                            raise OutputError(f"{target}: the output is a model; name it {target.stem}.safetensors")
                    self._models.append((owner, classes, target or owner.path))
                    continue
                job = RelabelJob(owner.path, classes, target, min_area, overwrite)
                self.jobs.append(stack.enter_context(job))
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def save_models(self) -> None:
        """Write the models with their new class maps.

        Raises:
            WriteError: The file system failed; the old file is intact.
        """
        for owner, classes, target in self._models:
            assert owner.card is not None
            provenance = {**owner.card["provenance"], EARLIER: sorted(owner.models)}
            card = {**owner.card, "classes": classes.to_json(), "provenance": provenance}
            write_with_card(owner.path, card, target)


def is_model(path: Path) -> bool:
    """Return whether a file is a model by its name."""
    return path.suffix.lower() == ".safetensors"


def classes_of(path: Path) -> ClassMap:
    """Return the class map of a model or of a finished map.

    Raises:
        InputMissingError, InputError: There is none.
    """
    return _owner(path).classes


def first_names(path: Path) -> dict[int, str]:
    """Return the names that a model was taught for its outputs, by cluster; empty for other models and for maps."""
    if not is_model(path):
        return {}
    taught = read_card(path).get("teaching")
    return {} if taught is None else dict(enumerate(taught["names"], start=1))


def require_one_model(*paths: Path) -> None:
    """Refuse models and maps that are not of one model.

    Raises:
        InputMissingError, InputError: They are not, or one has no class map.
    """
    _check_together([_owner(path) for path in paths])


def changed_by(legend: Path, first: Path) -> tuple[Change, bool]:
    """Return the change that a file of classes makes, and whether it makes it of each file by itself.

    Args:
        legend: A CSV or JSON file of classes, a model, or a map.
        first: A file that is changed, to compare a model or a map with.

    Raises:
        InputMissingError, InputError: There is no class map, or it is of another model than `first`.
    """
    if legend.suffix.lower() in SUFFIXES:
        return lambda classes: read_legend_file(legend, classes), True
    source = _owner(legend)
    _check_together([source, _owner(first)])
    return lambda _: source.classes, False


def export_classes(file: Path, out: Path, overwrite: bool = False) -> None:
    """Write the class map of a model or a map to a CSV or JSON file.

    Raises:
        InputMissingError, InputError: There is no class map.
        OutputError: `out` cannot or must not be written.
    """
    check_target(out, overwrite, (file,))
    write_legend(classes_of(file), out)


def _owner(path: Path) -> _Owner:
    if is_model(path):
        card = read_card(path)
        earlier = card["provenance"].get(EARLIER, [])
        known = {each for each in earlier if isinstance(each, str)} if isinstance(earlier, list) else set()
        return _Owner(path, ClassMap.from_json(card["classes"]), frozenset({sha256(path), *known}), card)
    record, _ = record_of_map(path, run_directory(path))
    assert record.classes is not None
    model = record.content.get("model_sha256")
    return _Owner(path, record.classes, frozenset({model} if model else ()), None)


def _check_together(owners: Sequence[_Owner]) -> None:
    """Refuse files of different models.

    Raises:
        InputError: Two files are.
    """
    first = owners[0]
    for other in owners[1:]:
        if not first.models & other.models:
            raise InputError(
                f"{other.path}: is not of the model that {first.path} is of; their classes have nothing in common but "
                "their numbers. Name its classes by themselves, or by a CSV file: geoseg classes import"
            )
