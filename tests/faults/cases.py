"""The commands that are run under faults, their small inputs, and the tally of the results."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers.class_maps import make_map
from helpers.models import make_model, with_experts
from helpers.rasters import landscape, make_raster
from PIL import Image

from faults.commands import Commands, Ended, hashes
from faults.points import Fault
from geoseg.classes import ClassMap
from geoseg.errors import OutputError
from geoseg.model.file import save_model

BRIEF = {"mixture_superpixels": 300, "checkpoint_every": 4}
"""Of the recipe of a training of few steps, with several checkpoints."""

_OLD = b"an older file"

PREDICT = (
    "predict", "{inputs}/scene.tif", "-m", "{inputs}/model.safetensors", "-o", "{folder}/map.tif", "--confidence",
    "{folder}/confidence.tif", "--polygons", "{folder}/map.gpkg", "--legend", "--sld", "--stac", "--datetime",
    "2020-07-14", "--min-area", "6px", "--block-size", "512", "--precision", "float32",
)  # fmt: skip
SUPERPIXELS = ("superpixels", "{inputs}/scene.tif", "--block-size", "512", "--size", "8", "-o")
POLYGONIZE = ("polygonize", "{inputs}/classes.tif", "--sld", "--overwrite", "-o")
CHANGE = (
    "change", "{inputs}/old.tif", "{inputs}/new.tif", "--sld", "--min-area", "4px", "--overwrite", "--polygons",
    "{folder}/change.gpkg", "-o", "{folder}/change.tif",
)  # fmt: skip
TRAIN = (
    "train", "--data", "{inputs}/data", "--steps", "10", "--classes", "3", "--patch-size", "64", "--batch-size", "2",
    "--superpixel-size", "8", "--precision", "float32", "-o", "{folder}/model.safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command, and what is known about its outputs.

    Attributes:
        name: shown in findings and as the test id.
        arguments: of `geoseg`; "{inputs}" and "{folder}" stand for the folders of inputs and outputs.
        last: the output that appears last.
        changing: outputs replaced while the command works, so that an earlier complete version may be found; a log
            among them may end in the middle of a line.
        first: options of the first run only.
        again: options of the run that resumes.
        theirs: outputs that belong to the user, and stay, if they exist beforehand.
        recipe: values of the recipe of a training that no option has.
    """

    name: str
    arguments: tuple[str, ...]
    last: str
    changing: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def command(self, inputs: Path, folder: Path, quiet: bool, again: bool) -> list[str]:
        """Return the arguments, for outputs in `folder`."""
        more = self.again if again else self.first
        return [*["-q"] * quiet, *(part.format(inputs=inputs, folder=folder) for part in (*self.arguments, *more))]


CASES = (
    Case("predict", PREDICT, "map.geoseg.json"),
    Case("superpixels .tif", (*SUPERPIXELS, "{folder}/ids.tif"), "ids.geoseg.json"),
    Case("superpixels .gpkg", (*SUPERPIXELS, "{folder}/cut.gpkg"), "cut.gpkg.geoseg.json"),
    Case("polygonize .gpkg", (*POLYGONIZE, "{folder}/classes.gpkg"), "classes.gpkg.geoseg.json"),
    Case("polygonize .fgb", (*POLYGONIZE, "{folder}/classes.fgb"), "classes.fgb.geoseg.json", theirs=("classes.qml",)),
    Case("change", CHANGE, "change.geoseg.json"),
    Case("train", TRAIN, "model.safetensors", ("model.png", "model.metrics.jsonl"), (), ("--resume",), (), BRIEF),
)


def overwriting(case: Case) -> Case:
    """Return the case as a command that replaces existing outputs."""
    if case.again:
        return replace(case, first=("--overwrite",))
    return replace(case, arguments=(*case.arguments, "--overwrite"))


@dataclass
class Tally:
    """The results of trials.

    Attributes:
        trials: how many were run.
        codes: exit statuses under the fault.
        again: exit statuses of the same command run again.
        torn: files at their final path that are neither complete nor the old ones.
        different: outputs that differ from those of an uninterrupted run in the end.
        left: files left beside the outputs in the end.
        wrong: anything else that should not happen.
        noise: lines that libraries wrote to standard error besides geoseg's own.
        seconds: the longest time, of whatever a trial measures.
    """

    trials: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> Tally:
        """Add the trials of another tally to this one, and return it."""
        self.trials += other.trials
        self.codes += other.codes
        self.again += other.again
        for name in ("torn", "different", "left", "wrong", "noise"):
            getattr(self, name).extend(getattr(other, name))
        self.seconds = max(self.seconds, other.seconds)
        return self

    @property
    def bad(self) -> list[str]:
        """All findings except leftovers and noise."""
        return [*self.torn, *self.different, *self.wrong]


class Bench:
    """Runs cases: holds the inputs, the process that forks commands, and the results of uninterrupted runs."""

    def __init__(self, root: Path, commands: Commands) -> None:
        self.inputs, self.commands = root / "inputs", commands
        self._root, self._count = root, 0
        self._known: dict[str, tuple[dict[str, str], Ended]] = {}
        make_inputs(self.inputs)
        done = self.run(CASES[0], self.folder())
        assert done.code == 0, done.err
        shutil.copy(self._root / "1" / "map.tif", self.inputs / "classes.tif")

    def folder(self, old: Sequence[str] = ()) -> Path:
        """Return a new folder that contains old files of these names."""
        self._count += 1
        folder = self._root / str(self._count)
        folder.mkdir()
        for name in old:
            (folder / name).write_bytes(_OLD)
        return folder

    def run(self, case: Case, folder: Path, fault: Fault | None = None, **options: Any) -> Ended:
        """Run a case under a fault."""
        return self.commands.wait(self.start(case, folder, fault, **options))

    def start(
        self, case: Case, folder: Path, fault: Fault | None = None, *, quiet: bool = True, again: bool = False,
        **options: Any,
    ) -> int:  # fmt: skip
        """Start a case under a fault and return its process id."""
        arguments = case.command(self.inputs, folder, quiet, again)
        return self.commands.start(arguments, fault, recipe=case.recipe, **options)

    def whole(self, case: Case) -> tuple[dict[str, str], Ended]:
        """Return the hashes of an uninterrupted run's files, and how that run ended."""
        if case.name not in self._known:
            folder = self.folder()
            done = self.run(case, folder, Fault(str(folder)))
            assert (done.code, done.err) == (0, ""), done.err
            self._known[case.name] = hashes(folder), done
        return self._known[case.name]

    def operations(self, case: Case) -> tuple[str, ...]:
        """Return the operations of a run, up to the appearance of its last output."""
        every = self.whole(case)[1].operations
        return every[: max(n for n, name in enumerate(every, 1) if name.startswith(f"replace {case.last} "))]

    def replaced(self, case: Case) -> list[str]:
        """Return the names of the outputs that a run replaces if they exist."""
        return [name for name in self.whole(case)[0] if name not in case.theirs]

    def torn(self, case: Case, folder: Path) -> list[str]:
        """Return the outputs in `folder` that are neither absent, old, nor those of an uninterrupted run."""
        wanted, _ = self.whole(case)
        found = []
        for name, digest in wanted.items():
            path = folder / name
            if not path.exists() or path.read_bytes() == _OLD or hashes_of(folder)[name] == digest:
                continue
            if not (name in case.changing and _whole(path)):
                found.append(name)
        return found

    def finish(self, tally: Tally, label: str, case: Case, folder: Path, **options: Any) -> Ended:
        """Run the same command again without a fault, and compare its outputs with those of an uninterrupted run."""
        done = self.run(case, folder, again=True, **options)
        tally.again[done.code] += 1
        if done.code == OutputError.exit_code and case.first:
            # There was nothing to resume yet; the command says so, and the first one starts over.
            done = self.run(case, folder, **options)
        self.compare(tally, f"{label} (then exit {done.code}: {done.err.strip()})", case, folder)
        return done

    def compare(self, tally: Tally, label: str, case: Case, folder: Path) -> None:
        """Compare the files in `folder` with those of an uninterrupted run, and delete them."""
        wanted, found = self.whole(case)[0], hashes(folder)
        for name in wanted:
            if found.get(name) != wanted[name]:
                tally.different.append(f"{case.name}, {label}: {name}")
        tally.left += [f"{case.name}, {label}: {name}" for name in found if name not in wanted]
        shutil.rmtree(folder)


def hashes_of(folder: Path) -> dict[str, str]:
    """The hashes of the files directly in `folder`."""
    return {name: digest for name, digest in hashes(folder).items() if "/" not in name}


def _whole(path: Path) -> bool:
    if path.suffix != ".png":
        return True
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError):
        return False
    return True


def make_inputs(folder: Path) -> None:
    """Make a scene of three blocks, the last one empty, a model for it, and imagery to train on."""
    (folder / "data").mkdir(parents=True)
    ids = landscape(540, 130)[0] // 64 + 1
    for name, values in (("old", ids), ("new", np.roll(ids, 9, axis=1))):
        make_map(folder / f"{name}.tif", values, ClassMap.default(4))
    pixels = landscape(64, 1100)
    pixels[:, :, 1024:] = 0
    make_raster(folder / "scene.tif", pixels, nodata=0)
    save_model(with_experts(make_model()), folder / "model.safetensors")
    make_raster(folder / "data" / "a.tif", landscape(130, 150))
