"""Settings of geoseg teach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from geoseg.bands import Bands
from geoseg.config.common import Opening, Precision, check_bands
from geoseg.errors import OutputError, SettingError
from geoseg.location import Location
from geoseg.recipes import check_choice, check_range

MAX_SUGGESTIONS = 1000

_TAUGHT = "-taught"
_MODEL = ".safetensors"


@dataclass(frozen=True)
class TeachConfig(Opening):
    """Settings of `geoseg teach`.

    Attributes:
        model: Model file.
        scene: The scene that the references lie in.
        reference: Vector file of points, lines or polygons, or a class raster on the pixels of the scene.
        field: Field of the vector file that names the class of a feature; None for a raster.
        reference_layer: Layer of the vector file; None for the only one.
        out: Model file to write; None is `written`.
        next: GeoPackage of superpixels to look at next; None is `suggested`.
        suggestions: How many superpixels it holds; with 0 it is not written.
        known_only: Leave out references of classes that the model was not taught before.
        bands: Band numbers, counted from 1, or names, in the model's order.
        rescale: See `PredictConfig`.
        workers: Number of threads; None is the number of cores, at most 8.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: Arithmetic of the network.
        assume_crs: CRS of a scene that has none.
        overwrite: Replace existing outputs.
        json: Print JSON.
    """

    model: Path
    scene: Location
    reference: Path
    field: str | None = None
    reference_layer: str | None = None
    out: Path | None = None
    next: Path | None = None
    suggestions: int = 10
    known_only: bool = False
    bands: Bands | None = None
    rescale: bool = False
    workers: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    assume_crs: str | None = None
    overwrite: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("precision", self.precision, get_args(Precision))
        check_bands(self.bands)
        check_range("suggestions", self.suggestions, 0, MAX_SUGGESTIONS)
        if self.workers is not None:
            check_range("workers", self.workers, 1, 1024)
        if self.is_raster and (self.field is not None or self.reference_layer is not None):
            name = "--field" if self.field is not None else "--reference-layer"
            raise SettingError(f"{self.reference}: is a raster, whose values are the classes; omit {name}")
        if not self.is_raster and self.field is None:
            raise SettingError(f"{self.reference}: name the field of its classes with --field")
        if self.out is not None and self.out.suffix.lower() != _MODEL:
            raise OutputError(f"{self.out}: models are safetensors files; name it {self.out.stem}{_MODEL}")
        if self.next is not None and self.next.suffix.lower() != ".gpkg":
            raise OutputError(f"{self.next}: is written as a GeoPackage; name it {self.next.stem}.gpkg")
        if self.next is not None and not self.suggestions:
            raise SettingError("--next is for suggestions; give more than 0")

    @property
    def is_raster(self) -> bool:
        """Whether the references are a raster, by the suffix of the file."""
        return self.reference.suffix.lower() in (".tif", ".tiff", ".png", ".jp2", ".img", ".vrt")

    @property
    def written(self) -> Path:
        """The model file to write: by default the model's name with "-taught", "-taught2" and so on."""
        if self.out is not None:
            return self.out
        stem, found, number = self.model.stem.partition(_TAUGHT)
        if found and (number.isdecimal() or not number):
            return self.model.with_name(f"{stem}{_TAUGHT}{int(number or 1) + 1}{_MODEL}")
        return self.model.with_name(f"{self.model.stem}{_TAUGHT}{_MODEL}")

    @property
    def suggested(self) -> Path | None:
        """The GeoPackage to write: by default beside the model; None without suggestions."""
        return (self.next or self.written.with_suffix(".next.gpkg")) if self.suggestions else None
