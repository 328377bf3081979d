"""Settings of geoseg export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.config.types import check_types
from geoseg.errors import SettingError
from geoseg.recipes import check_range


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `geoseg export`.

    Attributes:
        model: Model file.
        onnx: ONNX file to write; None for none.
        mlm: STAC Item with the Machine Learning Model extension to write; None for none. It describes the ONNX file, or
            the model file if there is none.
        tile_size: Height and width, in pixels, of the images that the ONNX file takes; None for any.
        overwrite: Replace existing files.
    """

    model: Path
    onnx: Path | None = None
    mlm: Path | None = None
    tile_size: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.onnx is None and self.mlm is None:
            raise SettingError("there is nothing to write; name a file with --onnx or --mlm")
        if self.tile_size is not None:
            check_range("tile size", self.tile_size, 64, 1 << 14)
            if self.onnx is None:
                raise SettingError("tile size is that of an ONNX file; name one with --onnx")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(path for path in (self.onnx, self.mlm) if path is not None)
