"""Settings of geoseg superpixels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from geoseg.bands import Bands
from geoseg.config.common import Opening, check_bands, check_blocks
from geoseg.config.engine import Computing
from geoseg.config.predict import PredictConfig
from geoseg.location import Location
from geoseg.recipes import SuperpixelConfig, check_choice, check_range

SegmentFormat = Literal["gpkg", "fgb", "tif"]


@dataclass(frozen=True, kw_only=True)
class SegmentSettings(Opening, Computing):
    """How superpixels are cut, whatever the number of scenes.

    Attributes:
        size: See `SuperpixelConfig`.
        compactness: See `SuperpixelConfig`.
        iterations: See `SuperpixelConfig`.
        min_size: Superpixels of fewer pixels are merged into a neighbour; None is a quarter of `size` squared.
        bands: Band numbers, counted from 1, or names; None is all bands except alpha.
        block_size: See `PredictConfig`.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace an existing output.
        run: Run directory; with several scenes, the folder of these. None is beside the output.
        keep_run: See `PredictConfig`.
        restart: See `PredictConfig`.
    """

    size: int = SuperpixelConfig.size
    compactness: float = SuperpixelConfig.compactness
    iterations: int = SuperpixelConfig.iterations
    min_size: int | None = None
    bands: Bands | None = None
    block_size: int = PredictConfig.block_size
    assume_crs: str | None = None
    overwrite: bool = False
    run: Location | None = None
    keep_run: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.superpixels
        check_bands(self.bands)
        check_blocks(self.block_size, self.workers)
        self.check_engine()
        if self.min_size is not None:
            check_range("min size", self.min_size, 0, 9 * self.size**2)

    @property
    def superpixels(self) -> SuperpixelConfig:
        """The settings that training and prediction have as well."""
        return SuperpixelConfig(self.size, self.compactness, self.iterations)


@dataclass(frozen=True)
class SegmentConfig(SegmentSettings):
    """Settings of the superpixels of one scene.

    Attributes:
        scene: The scene.
        out: Raster of ids or vector file of polygons to write.
    """

    scene: Location
    out: Path


@dataclass(frozen=True)
class SegmentScenesConfig(SegmentSettings):
    """Settings of `geoseg superpixels`.

    Attributes:
        scenes: As in `PredictConfig`.
        out: File to write, or a folder: one that exists, or a name without a suffix.
        format: Format of the files in a folder.
        tree: As in `PredictConfig`.
        json: As in `PredictConfig`.
    """

    scenes: tuple[Location, ...]
    out: Path
    format: SegmentFormat | None = None
    tree: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format is not None:
            check_choice("format", self.format, get_args(SegmentFormat))

    def of(self, scene: Location, out: Path, run: Location | None) -> SegmentConfig:
        """Return the settings of one scene."""
        shared = {entry.name: getattr(self, entry.name) for entry in fields(SegmentSettings)}
        return SegmentConfig(scene=scene, out=out, **{**shared, "run": run})
