"""Settings of geoseg superpixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.bands import Bands
from geoseg.config.common import Opening, check_bands, check_blocks
from geoseg.config.predict import PredictConfig
from geoseg.location import Location
from geoseg.recipes import SuperpixelConfig, check_range


@dataclass(frozen=True)
class SegmentConfig(Opening):
    """Settings of `geoseg superpixels`.

    Attributes:
        scene: The scene.
        out: Raster of ids or vector file of polygons to write.
        size: See `SuperpixelConfig`.
        compactness: See `SuperpixelConfig`.
        iterations: See `SuperpixelConfig`.
        min_size: Superpixels of fewer pixels are merged into a neighbour; None is a quarter of `size` squared.
        bands: Band numbers, counted from 1, or names; None is all bands except alpha.
        block_size: See `PredictConfig`.
        workers: Number of threads; None is the number of cores, at most 8.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace an existing output.
        run: Run directory; None is beside the output.
        keep_run: See `PredictConfig`.
        restart: See `PredictConfig`.
    """

    scene: Location
    out: Path
    size: int = SuperpixelConfig.size
    compactness: float = SuperpixelConfig.compactness
    iterations: int = SuperpixelConfig.iterations
    min_size: int | None = None
    bands: Bands | None = None
    block_size: int = PredictConfig.block_size
    workers: int | None = None
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
        if self.min_size is not None:
            check_range("min size", self.min_size, 0, 9 * self.size**2)

    @property
    def superpixels(self) -> SuperpixelConfig:
        """The settings that training and prediction have as well."""
        return SuperpixelConfig(self.size, self.compactness, self.iterations)
