"""geoseg superpixels: a scene to a raster of ids, or to polygons with statistics."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from geoseg.config import SegmentConfig
from geoseg.files.atomic import Staging, remove_leftovers
from geoseg.files.record import provenance_tags, record_path, versions, write_record
from geoseg.grid import partition
from geoseg.jobs.job import Job
from geoseg.jobs.results import SuperpixelsResult
from geoseg.outputs.names import VECTORS, check_segments, run_beside
from geoseg.prediction.segmenter import LAYER, Segmenter
from geoseg.raster.cog import GDAL_VERSION, raster_sidecars, write_cog
from geoseg.raster.georeference import require_rectified
from geoseg.raster.mosaic import RasterSpec
from geoseg.raster.scene import Scene
from geoseg.runs.directory import VECTOR_PART, Run, work_facts
from geoseg.runs.local import Receipt, compute
from geoseg.vector.arrow import VectorSpec
from geoseg.vector.writer import vector_sidecars, write_layer
from geoseg.version import __version__

_MAX_WORKERS = 8
"""More threads than this wait for the reading of the next block."""


class SuperpixelsJob(Job[Receipt]):
    """The superpixels of one scene. A context manager.

    Raises:
        InputMissingError, InputError, BandError, SettingError: The scene; see `Scene`.
        OutputError: An output that cannot or must not be written.
    """

    stage = "superpixels"
    unit = "block"

    def __init__(self, config: SegmentConfig) -> None:
        self.config = config
        self.record, self.run_path = record_path(config.out), run_beside(config.out)
        self.scene = Scene(config.scene, config.bands, config.assume_crs, opening=config)
        try:
            check_segments(config.out, config.overwrite, (config.scene, *self.scene.files))
            if config.out.suffix.lower() in VECTORS:
                require_rectified(config.scene, self.scene.georeference)
        except BaseException:
            self.scene.close()
            raise
        self.blocks = tuple(partition(self.scene.extent, config.block_size))
        workers = config.workers or min(_MAX_WORKERS, os.cpu_count() or 1)
        self.segmenter = Segmenter(self.scene, config, workers, VECTORS.get(config.out.suffix.lower()))

        self.total = len(self.blocks)
        self._reused = 0
        self._count: int | None = None

    def close(self) -> None:
        """Close the scene."""
        self.scene.close()

    def run(self, command: str = "") -> Generator[Receipt]:
        """Compute the blocks that the run directory lacks, yield the receipts of all, then publish the output.

        Raises:
            RunError: The run directory belongs to something else.
            LockedError: Another process is at work there.
            WriteError: The disk failed; the run is kept.
        """
        config, work = self.config, self.segmenter
        facts = work_facts(command, self.total)
        with Run(self.run_path, self._fingerprint(), facts, config.restart) as run:
            with run.beginning():
                # Another process may have finished since the output was checked.
                check_segments(config.out, config.overwrite, (config.scene, *self.scene.files))
            remove_leftovers(config.out.parent, config.out.stem)
            rows = max(len(block.window.rows) for block in self.blocks) + 2 * work.halo
            with self.scene.caching(rows):
                yield from compute(work.read, work.cut, work.finish, run, self.blocks)
            self._publish(run)

    def describe(self, receipt: Receipt) -> str:
        """Return pixels and seconds over all threads."""
        self._reused += receipt.reused
        return receipt.summary()

    def closing(self) -> str:
        """Return how many blocks were there already."""
        return f"{self._reused} of {self.total} blocks were there already" if self._reused else ""

    @property
    def result(self) -> SuperpixelsResult:
        """The file, once `run` has come to its end."""
        return SuperpixelsResult(self.config.out, self.record, self._count)

    def kept(self) -> str:
        """Return where the finished blocks are."""
        return f"{self.run_path} holds the finished blocks"

    def _publish(self, run: Run) -> None:
        out, provenance = self.config.out, self._provenance()
        record = {**provenance}
        with Staging(out) as staging:
            staged = staging.path(out)
            if self.segmenter.spec is None:
                self._write_raster(staged, run, provenance)
            else:
                record["superpixels"] = self._count = self._write_polygons(staged, run, self.segmenter.spec)
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
