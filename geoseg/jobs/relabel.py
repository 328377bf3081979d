"""geoseg classes: other classes for a finished map, without predicting it again.

All files of the map are written anew from its class raster, and put in place together. They are computed from parts in
a run directory, as those of a prediction, so that an interrupted command can be run again: even if it ended while the
old files were being replaced, after which the old classes are known from the run directory only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.errors import InputError, InputMissingError
from geoseg.files.atomic import sha256
from geoseg.files.record import versions
from geoseg.files.targets import check_target
from geoseg.grid import Block, partition
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.results import MapResult
from geoseg.naming.edits import translation
from geoseg.outputs.found import find_map, is_relabelling, made_of, record_of_map, relocated
from geoseg.outputs.map import MapFiles
from geoseg.outputs.names import run_directory
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.cog import GDAL_VERSION
from geoseg.raster.ground import Ground
from geoseg.raster.guards import regular_file
from geoseg.runs.local import Stages
from geoseg.runs.run import Run
from geoseg.units import Area

log = logging.getLogger(__name__)

_BLOCK = 2048

Pixels = tuple[NDArray[Any], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class _Wanted:
    """The settings of `MapFiles`."""

    min_area: Area | None
    sld: bool
    legend: bool
    keep_run: bool = False


@dataclass(frozen=True, eq=False)
class _Result:
    """Layers of a block, for `compute`."""

    layers: Mapping[str, NDArray[Any]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    windows: int = 0


class RelabelJob(BlockJob):
    """New classes for the map at `path`. A context manager.

    Args:
        path: The class raster of a map that geoseg wrote.
        classes: The new classes; they are joined to the old ones by their clusters.
        out: Where to write the class raster; None replaces the map.
        min_area: Smaller regions are merged into a neighbour, after the classes are.
        overwrite: Whether an existing `out` may be replaced.

    Attributes:
        old: The classes that the map has.

    Raises:
        InputMissingError: There is no map, or no record beside it.
        InputError: The map or its record is damaged, or is not what the other describes.
        SettingError: Classes cannot become the new ones, as `translation` says; or `min_area` is in square metres, and
            the map has no CRS with metres.
        OutputError: `out` cannot or must not be written.
    """

    stage = "classes"

    def __init__(
        self, path: Path, classes: ClassMap, out: Path | None = None, min_area: Area | None = None,
        overwrite: bool = False,
    ) -> None:  # fmt: skip
        regular_file(path)
        self.path, self.classes, self.min_area, self.overwrite = path, classes, min_area, overwrite
        self.run_path = run_directory(out or path)
        self._record, begun = record_of_map(path, self.run_path)
        self._torn = begun is not None
        # What an earlier change of this map left is of use only where it was replacing the files.
        self.restart = not self._torn and is_relabelling(self.run_path)
        assert self._record.classes is not None
        self.old = self._record.classes
        self._lookup = _table(translation(self.old, classes), classes)
        # What is not in the record is in the STAC Item, which is the first file to be replaced.
        self.found = find_map(path, self._record, None if begun is None else begun.get("taken"))
        self.outputs = self.found.outputs if out is None else relocated(self.found.outputs, out)
        self._in_place = out is None
        self._inputs: ExitStack | None = None
        self._check_outputs()
        with ExitStack() as stack:
            self._raster = stack.enter_context(ClassRaster(path, known=self.old))
            self.scene = self._raster.scene
            self._confidence = None
            if self.found.outputs.confidence is not None:
                self._confidence = stack.enter_context(self._open_confidence(self.found.outputs.confidence))
            if min_area is not None:
                Ground(self.scene.georeference, self.scene.shape).threshold(min_area)
            if not self._torn and sha256(path) not in self._digests():
                raise InputError(f"{path}: is not the file that {self._record.path.name} describes; predict it again")
            self._inputs = stack.pop_all()
        self.blocks = partition(self.scene.extent, _BLOCK)
        self.total = len(self.blocks)
        self._used: tuple[Any, ...] | None = None

    def close(self) -> None:
        """Close the rasters."""
        if self._inputs is not None:
            self._inputs.close()

    @property
    def result(self) -> MapResult:
        """The files, once `run` is exhausted."""
        outputs = self.outputs
        return MapResult(
            outputs.classes, outputs.confidence, outputs.polygons, outputs.style, outputs.preview, outputs.record,
            self.classes, self._used,
        )  # fmt: skip

    def _open_confidence(self, path: Path) -> Confidence:
        try:
            return Confidence(path, self.scene)
        except InputMissingError as error:
            raise InputMissingError(
                f"{error}, though {self._record.path.name} names it; put it back beside the map, or predict it again"
            ) from None

    def _digests(self) -> list[str]:
        """The SHA-256 of the class raster, as its record has it."""
        return [digest for file, digest in self._record.files.items() if file.name == self.path.name]

    def _check_outputs(self) -> None:
        if not self._in_place:
            self.outputs.check(self.overwrite, [self.path, *self._record.files])
            return
        for path in self.main_outputs():
            check_target(path, overwrite=True, is_open=self._inputs is not None)

    def main_outputs(self) -> Iterable[Path]:
        outputs = self.outputs
        return [path for path in (outputs.classes, outputs.confidence, outputs.polygons, outputs.areas) if path]

    def _output_files(self) -> Iterable[Path]:
        return self.outputs.files

    def _check_scene(self) -> None:
        if self._torn:
            raise InputError(
                f"{self.path}: was being replaced when a process ended, and {self.run_path} lacks a part; predict it "
                "again"
            )
        super()._check_scene()

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "map": dict(self._record.content),
            "taken": None if self.found.taken is None else str(self.found.taken),
            "classes": self.classes.to_json(),
            "settings": {"min_area": str(self.min_area) if self.min_area else None},
            "versions": versions() | {"gdal": GDAL_VERSION},
        }

    @contextmanager
    def stages(self) -> Iterator[Stages[Any, Any]]:
        """Yield what gives a block its new classes."""
        with self.scene.caching(_BLOCK):
            yield Stages(self._read, lambda pixels: pixels, self._translated, self._check_scene)

    def _read(self, block: Block) -> Pixels:
        window = block.window
        confidence = None if self._confidence is None else self._confidence.scene.read_stored(window)[0]
        return self.scene.read_stored(window)[0], confidence

    def _translated(self, pixels: Pixels, _: Pixels) -> _Result:
        ids, confidence = pixels
        if ids.max(initial=0) >= len(self._lookup) or (self._lookup[ids] < 0).any():
            raise InputError(f"{self.path}: has ids that {self._record.path.name} knows no class of; predict it again")
        layers: dict[str, NDArray[Any]] = {"classes": self._lookup[ids].astype(self.classes.dtype)}
        return _Result(layers if confidence is None else {**layers, "confidence": confidence})

    def _publish(self, run: Run) -> None:
        name = self._record.content.get("scene", {}).get("name", self.path.name)
        wanted = _Wanted(self.min_area, self.found.sld, self.found.legend)
        files = MapFiles(
            wanted, name, self.scene, self.scene.extent, self.classes, self._provenance(), self.found.taken,
            self.blocks, len(self.blocks), self.scene.extent, release=self.close if self._in_place else None,
        )  # fmt: skip
        self._used = files.publish(run, self.outputs)
        if self.outputs.areas is not None and self._record.content.get("settings", {}).get("aoi_sha256"):
            log.warning(
                "%s: lists the whole map, because the features of the area of interest are not known here",
                self.outputs.areas,
            )
        for polygons in made_of(self.outputs.classes):
            log.warning(
                "%s: was made of %s as it was; make it again with geoseg polygonize",
                polygons,
                self.outputs.classes.name,
            )

    def _provenance(self) -> dict[str, Any]:
        old = {key: value for key, value in self._record.content.items() if key not in ("files", "classes", "clusters")}
        if self.min_area is not None:
            old["settings"] = {**old.get("settings", {}), "min_area": str(self.min_area)}
        origins = self.classes.origins
        return {**old, **({"clusters": origins} if origins else {})}


def _table(ids: Mapping[int, int], classes: ClassMap) -> NDArray[np.int32]:
    """Return the new id of each old one, int32 (highest + 1,); -1 where there is no class."""
    table = np.full(max(ids) + 1, -1, np.int32)
    for old, new in ids.items():
        table[old] = new
    return table
