"""Frozen, validated settings. A default lives here and nowhere else; the command line reads it from here.

This module imports neither torch nor rasterio: `geoseg --help` has to be quick.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.recipes import (
    COMPACT,
    LAND_COVER,
    MAX_LAND_COVER_CLASSES,
    RECIPES,
    ProtocolName,
    Recipe,
    RecipeName,
    SuperpixelConfig,
    WindowConfig,
    check_choice,
    check_range,
)
from geoseg.units import Area, Period

Blend = Literal["hann", "linear", "crop"]
Precision = Literal["auto", "bfloat16", "float32"]
Weights = Literal["selected", "last"]

MODEL_NAME = "geoseg-model.safetensors"
"""What `train` writes and `predict` reads where no path is given."""

POLYGON_FIELDS = (
    "fid", "class", "area_m2", "area_px", "perimeter_m", "perimeter_px", "perim_m", "perim_px", "confidence",
    "geometry", "geom", "ogc_fid",
)  # fmt: skip
"""What columns of polygons other than that of class ids are called, in any format."""


def _check_bands(bands: tuple[int, ...] | None) -> None:
    if bands is not None and (not bands or min(bands) < 1):
        raise SettingError(f"bands {bands} must be band numbers, counted from 1")


def _check_work(block_size: int, workers: int | None) -> None:
    check_range("block size", block_size, 512, 65536)
    if block_size % 512:
        raise SettingError(f"block size is {block_size}; it must be a multiple of 512")
    if workers is not None:
        check_range("workers", workers, 1, 1024)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What may be opened as a raster, and how. Settings of every command that reads one.

    allow_vrt: GDAL's virtual rasters, of sources under their own folder. allow_remote: URLs, cloud stores, archives.
    max_pixels: of a page. The default, a million times a million, is a thousand gigapixels: more than one survey of a
        country takes, and as many as can still be planned in memory.
    page: of a TIFF with several, counted from 1; None reads the first and says how many there are.
    nodata: the value that marks invalid pixels; None takes what the file declares.
    """

    allow_vrt: bool = False
    allow_remote: bool = False
    max_pixels: int = 2**40
    page: int | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        check_range("max pixels", self.max_pixels, 1, 2**62)
        if self.page is not None:
            check_range("page", self.page, 1, 2**16)

    @property
    def beside(self) -> Opening:
        """The same for what is read beside the raster that page and nodata are about: labels, a confidence."""
        return Opening(allow_vrt=self.allow_vrt, allow_remote=self.allow_remote, max_pixels=self.max_pixels)


def opening_of(config: Opening) -> dict[str, Any]:
    """Return those settings of `config` that say how rasters are opened, for another configuration."""
    return {entry.name: getattr(config, entry.name) for entry in fields(Opening)}


@dataclass(frozen=True)
class TrainConfig(Opening):
    """Settings of `geoseg train`; what is None is taken from the recipe.

    recipe: None for the protocol whose data the folder looks like, orthophoto where it looks like none.
    weights: which average of the weights the model gets: that of the best criterion, or the last.
    max_bad: images that cannot be used and are left out, at most.
    """

    data: Location
    out: Path = Path(MODEL_NAME)
    recipe: RecipeName | None = None
    classes: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    patch_size: int | None = None
    encoder: str = COMPACT
    encoder_weights: str | None = None
    bands: tuple[int, ...] | None = None
    superpixel_size: int | None = None
    compactness: float = SuperpixelConfig.compactness
    device: str = "auto"
    precision: Precision = "auto"
    seed: int = 0
    weights: Weights = "selected"
    max_bad: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe is not None:
            check_choice("recipe", self.recipe, get_args(RecipeName))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("weights", self.weights, get_args(Weights))
        _check_bands(self.bands)
        check_range("seed", self.seed, 0, 2**32 - 1)
        check_range("max bad", self.max_bad, 0, 2**32 - 1)
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise SettingError(f"minutes is {self.minutes}; it must be a finite number greater than 0")
        if self.resume and self.overwrite:
            raise SettingError("resume continues a training and overwrite begins anew: choose one")
        _ = self.settled, self.superpixels

    @property
    def settled(self) -> Recipe:
        """The recipe, orthophoto where it is None, with this configuration's own values in place.

        Few classes (`MAX_LAND_COVER_CLASSES`) asked of orthophoto are learnt as those of the protocols are.
        """
        base = RECIPES[self.recipe or "orthophoto"]
        if base is RECIPES["orthophoto"] and self.classes is not None and self.classes <= MAX_LAND_COVER_CLASSES:
            base = replace(LAND_COVER, steps=base.steps)
        names = ("classes", "steps", "batch_size", "patch_size", "superpixel_size")
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return Recipe(**{**base.__dict__, **own})

    @property
    def superpixels(self) -> SuperpixelConfig:
        """Superpixel settings that the model file will carry."""
        return SuperpixelConfig(self.settled.superpixel_size, self.compactness)


@dataclass(frozen=True)
class PredictConfig(Opening):
    """Settings of `geoseg predict`; a tile size or overlap of None is the model's own.

    model: None takes `MODEL_NAME` in the working directory, and learns one from the scenes where there is none.
    min_area: regions below it are given to a neighbour. polygons: vector file of the regions.
    sld, legend, stac: also write these beside the map. datetime: when the scenes were taken, for `stac`; None takes
    what each says. keep_run: keep the run directory. restart: forget what an interrupted run has finished.
    """

    scenes: tuple[Location, ...]
    out: Path
    model: Path | None = None
    confidence: Path | None = None
    polygons: Path | None = None
    min_area: Area | None = None
    sld: bool = False
    legend: bool = False
    stac: bool = False
    datetime: Period | None = None
    bands: tuple[int, ...] | None = None
    aoi: Path | None = None
    bounds: tuple[float, float, float, float] | None = None
    tile_size: int | None = None
    overlap: int | None = None
    blend: Blend = "hann"
    block_size: int = 2048
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    assume_crs: str | None = None
    overwrite: bool = False
    keep_run: bool = False
    restart: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("blend", self.blend, get_args(Blend))
        check_choice("precision", self.precision, get_args(Precision))
        _check_bands(self.bands)
        _check_work(self.block_size, self.workers)
        if self.batch_size is not None:
            check_range("batch size", self.batch_size, 1, 4096)
        if self.datetime is not None and not self.stac:
            raise SettingError(f"datetime {self.datetime} is for the STAC Item; give --stac too")
        if self.bounds is not None:
            left, bottom, right, top = self.bounds
            if not (-math.inf < left < right < math.inf and -math.inf < bottom < top < math.inf):
                raise SettingError(f"bounds {self.bounds} are empty or infinite; they read: left bottom right top")

    def windows(self, model: WindowConfig) -> WindowConfig:
        """Return the window settings: the model's, with this configuration's own values in place."""
        return WindowConfig(
            model.tile_size if self.tile_size is None else self.tile_size,
            model.overlap if self.overlap is None else self.overlap,
        )


@dataclass(frozen=True)
class SegmentConfig(Opening):
    """Settings of `geoseg superpixels`; size, compactness and iterations as in `SuperpixelConfig`.

    min_size: pixels below which a superpixel is given to a neighbour; a quarter of a cell where it is None.
    keep_run, restart: as in `PredictConfig`.
    """

    scene: Location
    out: Path
    size: int = SuperpixelConfig.size
    compactness: float = SuperpixelConfig.compactness
    iterations: int = SuperpixelConfig.iterations
    min_size: int | None = None
    bands: tuple[int, ...] | None = None
    block_size: int = PredictConfig.block_size
    workers: int | None = None
    assume_crs: str | None = None
    overwrite: bool = False
    keep_run: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.superpixels
        _check_bands(self.bands)
        _check_work(self.block_size, self.workers)
        if self.min_size is not None:
            check_range("min size", self.min_size, 0, 9 * self.size**2)

    @property
    def superpixels(self) -> SuperpixelConfig:
        """The settings that training and prediction have too."""
        return SuperpixelConfig(self.size, self.compactness, self.iterations)


@dataclass(frozen=True)
class PolygonizeConfig(Opening):
    """Settings of `geoseg polygonize`.

    raster: one band of integers, a class each; its nodata is no class. confidence: raster on the same pixels.
    min_area: regions below it are given to a neighbour. simplify: tolerance in units of the CRS.
    classes: ids or names of those to write, None for all. field: name of the column of class ids.
    sld: also write the style as SLD.
    """

    raster: Location
    out: Path
    confidence: Location | None = None
    min_area: Area | None = None
    simplify: float | None = None
    classes: tuple[str, ...] | None = None
    field: str = "class_id"
    sld: bool = False
    assume_crs: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.simplify is not None and not 0 < self.simplify < math.inf:
            raise SettingError(f"simplify is {self.simplify}; it must be a finite number greater than 0")
        if self.classes is not None and not self.classes:
            raise SettingError("classes are none; name at least one, or leave --classes out for all")
        if not re.fullmatch(r"[^\W\d]\w*", self.field):
            raise SettingError(f"field is {self.field!r}; it must be a name of letters, digits and _")
        if self.field.lower() in POLYGON_FIELDS:
            raise SettingError(f"field is {self.field!r}; another column has that name: choose another")


@dataclass(frozen=True)
class StatusConfig:
    """Settings of `geoseg status`. run: a run directory, or the output it is beside."""

    run: Path
    json: bool = False


@dataclass(frozen=True)
class InfoConfig(Opening):
    """Settings of `geoseg info`."""

    file: Location
    json: bool = field(default=False)


@dataclass(frozen=True)
class CheckConfig:
    """Settings of `geoseg check`.

    files: scenes, models, results, run directories. scene: what a map or superpixels among them were made of.
    """

    files: tuple[Path, ...]
    scene: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        if self.scene is not None and len(self.files) > 1:
            raise SettingError("scene goes with one result; check the others without it")


@dataclass(frozen=True)
class EvaluateConfig(Opening):
    """Settings of `geoseg evaluate`.

    file: a model, which maps the images of `data`; or a class raster, with 0 as nodata.
    labels: label rasters: one file, or for images a folder of files with their names.
    protocol: says which images of `data` are mapped, and what their labels are; for a model without `labels`, None is
        the one it was trained by.
    ignore: label values that are not scored. label_map: file that says what label values or colours stand for.
    picture: where the confusion matrix is drawn.
    """

    file: Location
    labels: Path | None = None
    data: Path | None = None
    protocol: ProtocolName | None = None
    ignore: tuple[int, ...] = ()
    label_map: Path | None = None
    bands: tuple[int, ...] | None = None
    device: str = "auto"
    precision: Precision = "auto"
    picture: Path | None = None
    overwrite: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("precision", self.precision, get_args(Precision))
        _check_bands(self.bands)
        if self.is_model and self.data is None:
            raise SettingError(f"{self.file}: is a model; name the images to map and score with --data FOLDER")
        if not self.is_model and (self.data is not None or self.bands is not None):
            name = "--bands" if self.data is None else "--data"
            raise SettingError(f"{self.file}: is no model (.safetensors), so there is nothing to map; leave {name} out")
        self._check_labels()

    @property
    def is_model(self) -> bool:
        """Whether `file` is a model rather than a class raster, by its name."""
        return self.file.suffix == ".safetensors"

    def _check_labels(self) -> None:
        if self.protocol is not None:
            check_choice("protocol", self.protocol, get_args(ProtocolName))
        if self.labels is not None and self.protocol is not None:
            raise SettingError(f"protocol {self.protocol} has labels of its own; leave --labels or --protocol out")
        if self.labels is None and not self.is_model:
            raise SettingError(f"{self.file}: is a class raster; name the label raster with --labels FILE")
        given = (("--ignore", self.ignore), ("--label-map", self.label_map), ("--bands", self.bands))
        for name, value in given if self.labels is None else ():
            if value:
                raise SettingError(f"{name} goes with --labels; a protocol has labels and bands of its own")
