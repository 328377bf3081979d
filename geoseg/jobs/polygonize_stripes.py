"""geoseg polygonize in stripes of rows, each of which any process computes, as a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.config import PolygonizeConfig
from geoseg.files.atomic import Staging
from geoseg.files.record import versions
from geoseg.grid import Block
from geoseg.jobs.blocks import BlockJob
from geoseg.jobs.polygonize import PolygonizeJob
from geoseg.jobs.results import PolygonsResult
from geoseg.outputs.names import run_directory
from geoseg.outputs.polygon_stripes import stripes
from geoseg.outputs.polygons import MAX_VERTICES
from geoseg.raster.cog import GDAL_VERSION
from geoseg.runs.local import Receipt, Stages
from geoseg.runs.parts import VECTOR_PART
from geoseg.runs.run import Run

_LAYER = "polygons"


@dataclass(frozen=True)
class _Part:
    """The part of a stripe; see `geoseg.runs.local.Result`."""

    layers: Mapping[str, bytes]
    seconds: Mapping[str, float]
    windows: int = 0


class StripedPolygonizeJob(BlockJob):
    """The polygons of one class raster, in stripes. A context manager.

    The output is the same as that of `PolygonizeJob`, to the byte.

    Args:
        config: The settings.
        max_vertices: Limit of vertices for `config.simplify`.

    Attributes:
        whole: The job that does the same in one sweep, and that publishes.
        blocks: The stripes.

    Raises:
        InputMissingError, InputError, BandError, SettingError, OutputError: As by `PolygonizeJob`.
    """

    stage = "polygonize"

    def __init__(self, config: PolygonizeConfig, *, max_vertices: int = MAX_VERTICES) -> None:
        self.run_path, self.restart = config.run or run_directory(config.out), config.restart
        self.whole = PolygonizeJob(replace(config, run=self.run_path), max_vertices=max_vertices)
        self.raster, self.scene = self.whole.raster, self.whole.raster.scene
        self.blocks = stripes(self.whole.raster)
        self.total = len(self.blocks)

    def close(self) -> None:
        """Close the rasters."""
        self.whole.close()

    @property
    def config(self) -> PolygonizeConfig:
        """The settings, with the place of the run."""
        return self.whole.config

    @config.setter
    def config(self, config: PolygonizeConfig) -> None:
        self.whole.config = config

    def difference(self) -> str | None:
        """Return how the output that is there differs from this job's; see `PolygonizeJob.difference`."""
        return self.whole.difference()

    @property
    def result(self) -> PolygonsResult:
        """The files, once `run` is exhausted."""
        return self.whole.result

    def describe(self, receipt: Receipt) -> str:
        """Return which rows were polygonized, and what that took."""
        rows = receipt.block.window.rows
        return f"rows {rows.start}-{rows.stop}, {receipt.summary()}"

    def closing(self) -> str:
        """Return the number of polygons, and how many stripes were finished before."""
        return "; ".join(filter(None, [self.whole.closing(), super().closing()]))

    def main_outputs(self) -> tuple[Path, ...]:
        return (self.config.out, *([self.config.areas] if self.config.areas else []))

    def worker_settings(self) -> PolygonizeConfig:
        """Return the settings, with the place of the run."""
        return replace(self.config, restart=False)

    @contextmanager
    def stages(self) -> Iterator[Stages[Any, Any]]:
        """Yield what computes a stripe."""
        with self.whole.layer.caching():
            yield Stages(lambda block: block, self._part, lambda _, part: part, self._check_scene)

    def _part(self, block: Block) -> _Part:
        began = time.perf_counter()
        part = self.whole.layer.striped.part(block.window.rows)
        return _Part({_LAYER: part}, {_LAYER: time.perf_counter() - began})

    def publish(self, run: Run) -> None:
        """Publish the polygons of a run that has all parts.

        Raises:
            InputError: The raster or its confidence has changed meanwhile.
            SettingError: There are too many vertices to simplify.
            WriteError: The file system failed; the run is kept.
        """
        # It looks whether the rasters have changed after the polygons are written, and before they are published.
        self._publish(run)

    def _publish(self, run: Run) -> None:
        parts = (run.part(block, _LAYER, VECTOR_PART).read_bytes() for block in self.blocks)
        with Staging(self.config.out) as staging:
            for _ in self.whole.write(staging, parts):
                pass
            if not self.config.keep_run:
                run.discard()

    def _check_scene(self) -> None:
        self.whole.check_unchanged("when it is complete, start over with --restart", network=False)

    def _check_outputs(self) -> None:
        self.whole.check_output()

    def _output_files(self) -> tuple[Path, ...]:
        return self.main_outputs()

    def _fingerprint(self) -> dict[str, Any]:
        # All but the raster: of the settings only those that a part depends on would have to be here, but other ones
        # under the same name are more likely a mistake than meant.
        return {
            "scene": self.scene.identity(),
            "confidence": [scene.identity() for scene in self.whole.scenes[1:]],
            "settings": self.whole.settings
            | {"stripe_rows": len(self.blocks[0].window.rows), "assume_crs": self.config.assume_crs}
            | {"format": self.config.out.suffix.lower()},
            "layers": [_LAYER],
            "versions": versions("numba", "pyarrow") | {"gdal": GDAL_VERSION},
        }


def polygonize_job(config: PolygonizeConfig) -> PolygonizeJob | StripedPolygonizeJob:
    """Return the job with these settings: in one sweep, or in stripes if there is a run to keep them in."""
    return PolygonizeJob(config) if config.run is None else StripedPolygonizeJob(config)
