"""geoseg superpixels: a scene to a raster of ids, or to polygons with statistics."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.config import SegmentConfig
from geoseg.files.atomic import Staging, interrupted, publish_bytes
from geoseg.files.finished import difference
from geoseg.files.record import provenance_tags, record_path, versions, write_record
from geoseg.grid import Partition, partition
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.imagery import warn_of_fills
from geoseg.jobs.results import SuperpixelsResult
from geoseg.outputs.delivery import SEGMENTED, delivered, undelivered
from geoseg.outputs.layer_style import add_style
from geoseg.outputs.names import VECTORS, check_segments, run_directory
from geoseg.outputs.styles import ids_qml, outline_qml, outline_sld
from geoseg.prediction.plan import default_workers, strip_of
from geoseg.prediction.segmenter import SUPERPIXEL_LAYER, Segmenter
from geoseg.raster.cog import GDAL_VERSION
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import require_rectified
from geoseg.raster.mosaic import RasterSpec
from geoseg.raster.orientation import warn_of_orientation
from geoseg.raster.scene import Scene
from geoseg.raster.sidecars import raster_sidecars
from geoseg.runs.local import Stages
from geoseg.runs.parts import VECTOR_PART
from geoseg.runs.run import Run
from geoseg.vector.arrow import VectorSpec
from geoseg.vector.crs import check_format
from geoseg.vector.writer import GEOPACKAGE_GEOMETRY, vector_sidecars, write_layer
from geoseg.version import __version__

log = logging.getLogger(__name__)

_ABOUT = "Superpixels"


class SuperpixelsJob(BlockJob):
    """The superpixels of one scene. A context manager.

    Args:
        config: The settings.

    Attributes:
        blocks: The blocks that partition the scene.

    Raises:
        InputMissingError, InputError, BandError, SettingError: The scene is missing, damaged or unsuitable; see
            `Scene`.
        OutputError: The output cannot or must not be written.
    """

    stage = "superpixels"
    blocks: Partition

    def __init__(self, config: SegmentConfig) -> None:
        config, self.delivery = delivered(config, SEGMENTED)
        self.config, self.restart = config, config.restart
        self.record, self.run_path = record_path(config.out), config.run or run_directory(config.out)
        driver = VECTORS.get(config.out.suffix.lower())
        self.scene = Scene(config.scene, config.bands, config.assume_crs, opening=config)
        warn_of_orientation([self.scene])
        try:
            self._check_outputs()
            if driver is not None:
                require_rectified(config.scene, self.scene.georeference)
                place = self.scene.georeference
                for remark in check_format(config.out, driver, config.scene, place, self.scene.shape):
                    log.warning("%s", remark)
            warn_of_fills([self.scene])
        except BaseException:
            self.scene.close()
            raise
        self.blocks = partition(self.scene.extent, config.block_size, strip_of(self.scene.block_shape))
        self.segmenter = Segmenter(self.scene, config, config.threads_with(gpu=False) or default_workers(), driver)
        self.total = len(self.blocks)
        self._count: int | None = None

    @property
    def result(self) -> SuperpixelsResult:
        """The file, once `run` is exhausted."""
        found = SuperpixelsResult(self.config.out, self.record, self._count)
        return found if self.delivery is None else self.delivery.relocated(found)

    def difference(self) -> str | None:
        """Return how the superpixels that exist differ from those to make; None if they are finished."""
        return difference(self.record, self._provenance(), [self.config.out], self.scene.files, found=("superpixels",))

    def _check_outputs(self) -> None:
        inputs = (self.config.scene, *self.scene.files)
        check_segments(self.config.out, self.config.overwrite, inputs)
        if self.delivery is not None:
            self.delivery.check(self.main_outputs(), inputs)

    def main_outputs(self) -> tuple[Path, ...]:
        return (self.config.out,)

    def _stale_files(self) -> list[Path]:
        out = self.config.out
        return vector_sidecars(out) if out.suffix.lower() in VECTORS else raster_sidecars(out)

    def _output_files(self) -> tuple[Path, ...]:
        return (self.config.out,)

    @contextmanager
    def stages(self) -> Iterator[Stages[Any, Any]]:
        """Yield what computes a block."""
        segmenter, blocks = self.segmenter, self.blocks
        rows, cols = (length + 2 * segmenter.halo for length in (blocks.block_shape[0], blocks.strip_cols))
        with self.scene.caching(rows, cols=cols):
            yield Stages(segmenter.read, segmenter.cut, segmenter.finish, self._check_scene)

    def worker_settings(self) -> SegmentConfig:
        """Return the settings, with the place of the run."""
        config = replace(self.config.within_worker(gpu=False), run=self.run_path, restart=False)
        return config if self.delivery is None else undelivered(config, self.delivery, SEGMENTED)

    def _publish(self, run: Run) -> None:
        out, spec = self.config.out, self.segmenter.spec
        provenance, files = self._provenance(), [out]
        with Staging(out) as staging:
            if spec is None:
                self._write_raster(staging.path(out), run, provenance)
                publish_bytes(staging.path(out).with_suffix(".qml"), ids_qml())
                files.append(out.with_suffix(".qml"))
            else:
                self._count = self._write_polygons(staging.path(out), run, spec)
                provenance["superpixels"] = self._count
                files += self._write_style(staging.path(out), spec)
            staging.commit([self.record, *self._stale_files()])
            write_record(self.record, provenance, files, staging.permissions(self.record))
            if not self.config.keep_run:
                run.discard()

    def _write_raster(self, path: Path, run: Run, provenance: dict[str, Any]) -> None:
        scene, tags = self.scene, provenance_tags(provenance)
        spec = RasterSpec(
            scene.extent, scene.georeference, "uint32", SUPERPIXEL_LAYER, tags, scene.area_or_point,
            resampling="NEAREST",
        )  # fmt: skip
        write_cog(path, spec, run.parts(SUPERPIXEL_LAYER, self.blocks))

    def _write_polygons(self, path: Path, run: Run, spec: VectorSpec) -> int:
        return write_layer(path, spec, [part for _, part in run.parts(SUPERPIXEL_LAYER, self.blocks, VECTOR_PART)])

    def _write_style(self, staged: Path, spec: VectorSpec) -> list[Path]:
        """Write the style of polygons into a GeoPackage, or else beside them unless there is one; return new files."""
        if spec.driver == "GPKG":
            add_style(
                staged, SUPERPIXEL_LAYER, GEOPACKAGE_GEOMETRY, outline_qml(), outline_sld(SUPERPIXEL_LAYER), _ABOUT
            )
            return []
        style = self.config.out.with_suffix(".qml")
        if style.exists() and not interrupted(self.config.out) and not self._own(style):
            return []
        publish_bytes(staged.with_suffix(".qml"), outline_qml())
        return [style]

    def _own(self, style: Path) -> bool:
        """Whether an existing style is one that this command wrote."""
        return style.read_bytes() == outline_qml()

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
            "layers": [SUPERPIXEL_LAYER],
            "versions": versions("numba") | {"gdal": GDAL_VERSION},
        }
