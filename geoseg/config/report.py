"""Settings of geoseg report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.bands import Bands
from geoseg.config.common import Opening, check_bands
from geoseg.errors import SettingError
from geoseg.location import Location


@dataclass(frozen=True)
class ReportConfig(Opening):
    """Settings of `geoseg report`.

    Attributes:
        raster: Class raster.
        out: HTML file to write; None is <raster>.report.html beside the raster.
        scene: The scene that the map was made from; None is the one that the map names.
        confidence: Raster on the same pixels; None is the one that was written with the map.
        bands: Bands of the scene to show; None is the first three that the map was made from.
        title: Heading; None is made of the name of the scene.
        overwrite: Replace an existing report.
    """

    raster: Location
    out: Path | None = None
    scene: Location | None = None
    confidence: Location | None = None
    bands: Bands | None = None
    title: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bands(self.bands)
        if self.title is not None and not self.title.strip():
            raise SettingError("title is empty; give one, or leave it out")

    @property
    def page_path(self) -> Path:
        """The file that is written.

        Raises:
            SettingError: The raster is remote and no file is given.
        """
        if self.out is not None:
            return self.out
        if not isinstance(self.raster, Path):
            raise SettingError(f"{self.raster}: is not a local file; say with --out where the report goes")
        return self.raster.with_suffix(".report.html")
