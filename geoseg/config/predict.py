"""Settings of geoseg predict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from geoseg.bands import Bands
from geoseg.config.common import Opening, Precision, check_bands, check_blocks
from geoseg.config.engine import Computing
from geoseg.errors import SettingError
from geoseg.extras import Extra, check_extras
from geoseg.location import Location
from geoseg.recipes import WindowConfig, check_choice, check_range
from geoseg.units import Area, Period

Blend = Literal["hann", "linear", "crop"]
Match = Literal["moments", "percentiles"]

ROUNDS = 3
"""Default number of rounds of smoothing."""

MAX_ROUNDS = 10
"""The most rounds of smoothing; each one widens the halo by three superpixels."""


@dataclass(frozen=True)
class PredictConfig(Opening, Computing):
    """Settings of `geoseg predict`.

    Attributes:
        scenes: The scenes to map, or folders, patterns and lists of them; see `geoseg.datasets.given`.
        out: Class raster to write, or a folder: one that exists, or a name without a suffix.
        model: Model file. None is `MODEL_NAME` in the working directory; if it does not exist, the model that an
            earlier prediction left beside the output, or else one that is learnt from the scenes.
        relearn: Learn the model from the scenes, even if there is one.
        confidence: Raster of confidence to write, or a folder.
        polygons: Vector file of the regions to write, or a folder.
        areas: Table of the areas of classes to write, or a folder.
        min_area: Smaller regions are merged into a neighbour.
        sld: Also write the style as SLD.
        legend: Also write a picture of the legend.
        stac: Also write a STAC Item.
        datetime: Acquisition time of the scenes, for `stac`; None reads it from each scene.
        bands: Band numbers, counted from 1, or names, in the model's order.
        extra: The rasters whose bands the model learnt from beside those of the scenes.
        rescale: Map the values of each band onto the model's range: percentiles of the scene onto those of the model.
        match: Give the bands of each scene, as a whole, the statistics of the imagery that the model learnt from: mean
            and standard deviation ('moments'), or 2nd percentile, mean and 98th percentile ('percentiles'). None is
            off.
        smooth: Rounds in which superpixels follow similar neighbours, 0..10; 0 is off and None is `ROUNDS`. It has no
            effect on a model without a mixture.
        aoi: Vector file; pixels outside its polygons become nodata.
        aoi_layer: Layer of `aoi`, a GeoPackage, to use; None for the only one with polygons.
        bounds: Left, bottom, right and top, in the scene's CRS, of the part to write.
        tile_size: Side of a window of the network in pixels; None is the model's.
        overlap: Overlap of the windows in pixels; None is the model's.
        blend: How overlapping windows are combined.
        block_size: Side of a block in pixels, a multiple of 512. It affects memory, not the result.
        batch_size: Windows per forward pass; None is 1 on a CPU and 4 on a GPU.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: Arithmetic of the network.
        assume_crs: CRS of scenes that have none.
        overwrite: Replace existing outputs.
        run: Run directory, or with several scenes the folder of theirs; None is beside the output.
        keep_run: Keep the run directory.
        restart: Discard the finished blocks of an interrupted run.
        dry_run: Only plan.
        tree: Keep the folders of the scenes below their common one, in each folder that is written to.
        json: Print what became of each scene as JSON.
    """

    scenes: tuple[Location, ...]
    out: Path
    model: Path | None = None
    relearn: bool = False
    confidence: Path | None = None
    polygons: Path | None = None
    areas: Path | None = None
    min_area: Area | None = None
    sld: bool = False
    legend: bool = False
    stac: bool = False
    datetime: Period | None = None
    bands: Bands | None = None
    extra: tuple[Extra, ...] = ()
    rescale: bool = False
    match: Match | None = None
    smooth: int | None = None
    aoi: Path | None = None
    aoi_layer: str | None = None
    bounds: tuple[float, float, float, float] | None = None
    tile_size: int | None = None
    overlap: int | None = None
    blend: Blend = "hann"
    block_size: int = 2048
    batch_size: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    assume_crs: str | None = None
    overwrite: bool = False
    run: Location | None = None
    keep_run: bool = False
    restart: bool = False
    dry_run: bool = False
    tree: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("blend", self.blend, get_args(Blend))
        check_choice("precision", self.precision, get_args(Precision))
        check_bands(self.bands)
        check_extras(self.extra)
        if self.match is not None:
            check_choice("match", self.match, get_args(Match))
            if self.rescale:
                raise SettingError(
                    f"match {self.match} maps the values of the scene, and so does rescale: choose one of --match and "
                    "--rescale"
                )
        if self.smooth is not None:
            check_range("smooth", self.smooth, 0, MAX_ROUNDS)
        check_blocks(self.block_size, self.workers)
        self.check_engine(self.device)
        if self.batch_size is not None:
            check_range("batch size", self.batch_size, 1, 4096)
        if self.relearn and self.model is not None:
            raise SettingError(f"relearn learns a model, and {self.model} is one: choose one of --relearn and --model")
        if self.datetime is not None and not self.stac:
            raise SettingError(f"datetime {self.datetime} is for the STAC Item; give --stac too")
        if self.aoi_layer is not None and self.aoi is None:
            raise SettingError(f"aoi layer {self.aoi_layer!r} is a layer of the area of interest; give --aoi too")
        if self.bounds is not None:
            left, bottom, right, top = self.bounds
            if not (-math.inf < left < right < math.inf and -math.inf < bottom < top < math.inf):
                raise SettingError(f"bounds {self.bounds} are empty or infinite; the order is: left bottom right top")

    @property
    def rounds(self) -> int:
        """Rounds of smoothing, for a model with a mixture."""
        return ROUNDS if self.smooth is None else self.smooth

    def windows(self, model: WindowConfig) -> WindowConfig:
        """Return the model's window settings with the values that this configuration sets."""
        return WindowConfig(
            model.tile_size if self.tile_size is None else self.tile_size,
            model.overlap if self.overlap is None else self.overlap,
        )
