"""Settings of geoseg evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from geoseg.bands import Bands
from geoseg.config.common import Opening, Precision, check_bands
from geoseg.config.predict import MAX_ROUNDS, ROUNDS
from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.recipes import ProtocolName, check_choice, check_range


@dataclass(frozen=True)
class EvaluateConfig(Opening):
    """Settings of `geoseg evaluate`.

    Attributes:
        file: A model, which maps the images of `data`; or a class raster.
        labels: Label raster; for several images, a folder of label rasters with the images' names.
        data: Folder of images, or one image, that a model maps.
        protocol: The benchmark that `data` holds, with its own labels. For a model without `labels`, None is the
            benchmark that it was trained on.
        ignore: Label values that are not scored.
        label_map: File that names label values or colours.
        bands: Band numbers, counted from 1, or names, in the model's order.
        rescale: See `PredictConfig`.
        smooth: See `PredictConfig`. None is 0 by a protocol, whose published tables judge patches.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: Arithmetic of the network.
        picture: PNG file for the confusion matrix.
        overwrite: Replace an existing picture.
        json: Print JSON.
    """

    file: Location
    labels: Path | None = None
    data: Path | None = None
    protocol: ProtocolName | None = None
    ignore: tuple[int, ...] = ()
    label_map: Path | None = None
    bands: Bands | None = None
    rescale: bool = False
    smooth: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    picture: Path | None = None
    overwrite: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("precision", self.precision, get_args(Precision))
        check_bands(self.bands)
        if self.smooth is not None:
            check_range("smooth", self.smooth, 0, MAX_ROUNDS)
        if self.is_model and self.data is None:
            raise SettingError(f"{self.file}: is a model; name the images to map and score with --data FOLDER")
        if not self.is_model and (self.data is not None or self.bands is not None):
            name = "--bands" if self.data is None else "--data"
            raise SettingError(f"{self.file}: is not a model (.safetensors), so nothing is mapped; omit {name}")
        if not self.is_model and (self.rescale or self.smooth is not None):
            name = "--rescale" if self.rescale else "--smooth"
            raise SettingError(f"{self.file}: is not a model (.safetensors), so nothing is mapped; omit {name}")
        self._check_labels()

    @property
    def is_model(self) -> bool:
        """Whether `file` is a model rather than a class raster, by its suffix."""
        return self.file.suffix == ".safetensors"

    @property
    def rounds(self) -> int:
        """Rounds of smoothing, for a model with a mixture."""
        if self.smooth is not None:
            return self.smooth
        return 0 if self.labels is None else ROUNDS

    def _check_labels(self) -> None:
        if self.protocol is not None:
            check_choice("protocol", self.protocol, get_args(ProtocolName))
        if self.labels is not None and self.protocol is not None:
            raise SettingError(f"protocol {self.protocol} has its own labels; omit --labels or --protocol")
        if self.labels is None and not self.is_model:
            raise SettingError(f"{self.file}: is a class raster; name the label raster with --labels FILE")
        given = (("--ignore", self.ignore), ("--label-map", self.label_map), ("--bands", self.bands))
        for name, value in given if self.labels is None else ():
            if value:
                raise SettingError(f"{name} goes with --labels; a protocol has its own labels and bands")
