"""The files of a map, from the parts of its run: rasters, styles, preview, polygons, and the record that makes them
count."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassMap
from geoseg.config import PredictConfig
from geoseg.files.atomic import Staging, publish_bytes, sha256
from geoseg.grid import Block, Window
from geoseg.model.file import Model
from geoseg.outputs import Outputs
from geoseg.pictures import painted, save_png, with_legend
from geoseg.polygonization import ClassLayer
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.cog import RasterSpec, provenance_tags, read_small, write_cog
from geoseg.raster.scene import Scene
from geoseg.raster.sieve import sieve_parts
from geoseg.runs.directory import Run
from geoseg.sidecars import write_item, write_styles
from geoseg.units import Period

_PREVIEW_PIXELS = 1200


@dataclass(frozen=True, eq=False)
class MapFiles:
    """What the files of a map are made of, besides the parts of its run.

    extent: the part of the scene that is written. provenance: for the rasters and the record. taken: when the scene was
    taken, where a STAC Item is wanted. blocks: all of the run.
    """

    config: PredictConfig
    scene: Scene
    extent: Window
    model: Model
    provenance: Mapping[str, Any]
    taken: Period | None
    blocks: Sequence[Block]

    def publish(self, run: Run, outputs: Outputs) -> None:
        """Write all files, put them in place together, and discard the run, unless it is to be kept.

        Raises:
            WriteError: the file system failed; the run is kept, and old files are whole until the new ones are.
        """
        with Staging(outputs.classes) as staging:
            self._write(run, outputs.moved(staging.path))
            staging.commit(outputs.stale)
            self._record(outputs)
            if not self.config.keep_run:
                run.discard()

    def _write(self, run: Run, outputs: Outputs) -> None:
        """Write every file but the record and the STAC Item, which tell of the others."""
        classes = self.model.classes
        tags = provenance_tags(json.dumps(self.provenance, sort_keys=True))
        georeference = self.scene.georeference.shifted(self.extent)
        layers: list[tuple[str, Path, str, ClassMap | None]] = [("classes", outputs.classes, classes.dtype, classes)]
        if outputs.confidence is not None:
            layers.append(("confidence", outputs.confidence, "uint8", None))
        for layer, path, dtype, class_map in layers:
            spec = RasterSpec(self.extent, georeference, dtype, layer, tags, self.scene.area_or_point, class_map)
            every = [(block, run.part(block, layer)) for block in self.blocks]
            parts = [(block, part) for block, part in every if part.exists()]
            if class_map is not None and self.config.min_area is not None:
                parts = sieve_parts(run.path, spec, parts, self.config.min_area)
            write_cog(path, spec, parts)
        write_styles(outputs, classes, self.config.sld, self.config.legend)
        save_png(_preview(outputs.classes, self.model), outputs.preview)
        if outputs.polygons is not None:
            self._write_polygons(outputs, outputs.polygons)

    def _record(self, outputs: Outputs) -> None:
        """Write the STAC Item, where asked for, and the record of all files, which makes them count."""
        classes, provenance = self.model.classes, self.provenance
        hashes = {path: sha256(path) for path in outputs.files if path.exists()}
        if self.taken is not None:
            write_item(outputs, self.scene, self.extent, self.taken, classes, hashes, provenance)
            hashes[outputs.item] = sha256(outputs.item)
        folder = outputs.record.parent
        files = {os.path.relpath(path, folder): digest for path, digest in hashes.items()}
        record = {**provenance, "classes": classes.to_json(), "files": files}
        publish_bytes(outputs.record, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())

    def _write_polygons(self, outputs: Outputs, path: Path) -> None:
        """Write the polygons of the class raster that is written."""
        classes, confidence = outputs.classes, outputs.confidence
        with ExitStack() as stack:
            raster = stack.enter_context(ClassRaster(classes, known=self.model.classes))
            sure = stack.enter_context(Confidence(confidence, raster.scene)) if confidence is not None else None
            layer = ClassLayer(path, raster, confidence=sure)
            for _ in layer.write():
                pass
        layer.style(replace=path.with_suffix(".qml") != outputs.style, sld=self.config.sld)


def _preview(path: Path, model: Model) -> Any:
    small = read_small(path, _PREVIEW_PIXELS)
    counts = np.bincount(small.ravel(), minlength=len(model.classes) + 1)[1:]
    return with_legend(painted(small, model.classes), model.classes, list(counts / max(1, counts.sum())))
