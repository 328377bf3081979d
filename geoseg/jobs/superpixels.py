"""The superpixels of one scene from file to file: checks, blocks, run, publication."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.config import SegmentConfig
from geoseg.files.atomic import Staging, remove_leftovers
from geoseg.files.record import provenance_tags, record_path, versions, write_record
from geoseg.grid import partition
from geoseg.outputs.names import VECTORS, check_segments, run_beside
from geoseg.prediction.segmenter import LAYER, Segmenter
from geoseg.raster.cog import GDAL_VERSION, RasterSpec, raster_sidecars, write_cog
from geoseg.raster.georeference import require_rectified
from geoseg.raster.scene import Scene
from geoseg.runs.directory import VECTOR_PART, Run, work_facts
from geoseg.runs.local import Receipt, compute
from geoseg.vector.arrow import VectorSpec
from geoseg.vector.writer import vector_sidecars, write_layer

_MOST_WORKERS = 8
"""More threads than this wait for the reading of the next block."""


class SegmentJob:
    """One scene, one output: everything is checked, nothing is written yet. Use it as a context manager.

    Raises:
        InputMissingError, InputError, BandError, SettingError: the scene; see `Scene`.
        OutputError: an output that cannot or must not be written.
    """

    def __init__(self, config: SegmentConfig) -> None:
        self.config = config
        check_segments(config.out, config.overwrite, (config.scene,))
        self.record, self.run_path = record_path(config.out), run_beside(config.out)
        self.scene = Scene(config.scene, config.bands, config.assume_crs, opening=config)
        try:
            check_segments(config.out, config.overwrite, self.scene.files)
            if config.out.suffix.lower() in VECTORS:
                require_rectified(config.scene, self.scene.georeference)
        except BaseException:
            self.scene.close()
            raise
        self.blocks = tuple(partition(self.scene.extent, config.block_size))
        workers = config.workers or min(_MOST_WORKERS, os.cpu_count() or 1)
        self.segmenter = Segmenter(self.scene, config, workers, VECTORS.get(config.out.suffix.lower()))

    def __enter__(self) -> SegmentJob:
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.close()

    def run(self, command: str = "") -> Generator[Receipt]:
        """Compute the blocks that are missing in the run directory, yield their receipts, then publish the output.

        command: what goes on if this is interrupted, for the manifest to tell.

        Raises:
            RunError: the run directory belongs to something else. LockedError: another process is at work there.
            WriteError: the disk failed; the run is kept.
        """
        config, work = self.config, self.segmenter
        facts = work_facts(command, len(self.blocks))
        with Run(self.run_path, self._fingerprint(), facts, config.restart) as run:
            with run.beginning():
                # Another process may have finished since the output was looked at.
                check_segments(config.out, config.overwrite, self.scene.files)
            remove_leftovers(config.out.parent, config.out.stem)
            rows = max(len(block.window.rows) for block in self.blocks) + 2 * work.halo
            with self.scene.caching(rows):
                yield from compute(work.read, work.cut, work.finish, run, self.blocks)
            self._publish(run)

    def _publish(self, run: Run) -> None:
        out, provenance = self.config.out, self._provenance()
        record = {**provenance}
        with Staging(out) as staging:
            staged = staging.path(out)
            if self.segmenter.spec is None:
                self._write_raster(staged, run, provenance)
            else:
                record["superpixels"] = self._write_polygons(staged, run, self.segmenter.spec)
            sidecars = raster_sidecars if self.segmenter.spec is None else vector_sidecars
            staging.commit([self.record, *sidecars(out)])
            write_record(self.record, record, [out])
            if not self.config.keep_run:
                run.discard()

    def _write_raster(self, path: Path, run: Run, provenance: dict[str, Any]) -> None:
        tags = provenance_tags(provenance)
        scene = self.scene
        spec = RasterSpec(
            scene.extent, scene.georeference, "uint32", LAYER, tags, scene.area_or_point, resampling="NEAREST"
        )
        parts = [(block, run.part(block, LAYER)) for block in self.blocks]
        write_cog(path, spec, [(block, part) for block, part in parts if part.exists()])

    def _write_polygons(self, path: Path, run: Run, spec: VectorSpec) -> int:
        parts = [run.part(block, LAYER, VECTOR_PART) for block in self.blocks]
        return write_layer(path, spec, [part for part in parts if part.exists()])

    def _settings(self) -> dict[str, Any]:
        config = self.config
        return {
            "bands": list(self.scene.bands),
            "superpixels": {**vars(config.superpixels), "min_size": config.min_size},
        }

    def _provenance(self) -> dict[str, Any]:
        return {"geoseg": __version__, "scene": self.scene.summary(), "settings": self._settings()}

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "scene": self.scene.identity(),
            "settings": self._settings() | {"block_size": self.config.block_size, "assume_crs": self.config.assume_crs},
            "layers": [LAYER],
            "versions": versions("numba") | {"gdal": GDAL_VERSION},
        }
