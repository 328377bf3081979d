"""Virtual rasters (VRT), written as text."""

from __future__ import annotations

from pathlib import Path


def vrt(
    path: Path, source: str, relative: int = 1, band: str = "", more: str = "", element: str = "SimpleSource"
) -> Path:
    """Write a VRT of 60 x 70 pixels of the three bands of `source`."""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}" {band}><{element}>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>{number}</SourceBand>'
        f"</{element}></VRTRasterBand>"
        for number in (1, 2, 3)
    )
    path.write_text(
        '<VRTDataset rasterXSize="70" rasterYSize="60"><SRS>EPSG:32633</SRS><GeoTransform>400000, 0.5, 0, 5800000, 0, '
        f"-0.5</GeoTransform>{more}{bands}</VRTDataset>"
    )
    return path
