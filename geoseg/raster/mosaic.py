"""A raster as the parts it is made of: its description, and the VRT through which GDAL reads parts as one raster.

GDAL keeps all sources of a VRT in memory, and looks at each of them for each block that it reads. So each row of blocks
is a VRT of its own, of which GDAL opens those that it is reading, and the raster is a VRT of the rows: memory grows
with their number, which is the root of that of the parts. A value of 0 is nodata, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from geoseg.classes import ClassMap
from geoseg.grid import Block, Span, Window
from geoseg.raster.georeference import Georeference

TIFF_BLOCK = 512
"""Pixels along a side of the blocks in which rasters are stored."""

Parts = Iterable[tuple[Block, Path]]
"""Blocks of a raster and the TIFFs that hold them; pixels of other blocks are nodata. It may be iterated several times,
and need not be a list. Its order makes no difference to what is read; in raster order, reading is fastest."""

_Source = tuple[Window, Path]

_MAX_SOURCES = 4096
"""Parts in the VRT of a row of blocks."""

_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32"}


@dataclass(frozen=True)
class RasterSpec:
    """What is written besides pixels.

    Attributes:
        extent: The part of the scene that is written.
        georeference: Of the extent's first pixel.
        dtype: 'uint8', 'uint16' or 'uint32'.
        description: Name of the band.
        tags: TIFF metadata.
        area_or_point: What a pixel stands for: 'Area' or 'Point'.
        classes: Of a class raster, for its palette and category names.
        resampling: Of the overviews, by GDAL's name; None for MODE in a class raster and AVERAGE in any other.
    """

    extent: Window
    georeference: Georeference
    dtype: str
    description: str
    tags: Mapping[str, str]
    area_or_point: str = "Area"
    classes: ClassMap | None = None
    resampling: str | None = None


def mosaic_vrt(spec: RasterSpec, parts: Parts, folder: Path) -> str:
    """Return the text of a VRT of the raster.

    Args:
        spec: What the raster is.
        parts: Blocks of the extent and their TIFFs.
        folder: Where to write the VRTs of rows of blocks; they have to stay there while the raster is read.

    Raises:
        OSError: The file system failed.
    """
    rows, cols = spec.extent.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=str(cols), rasterYSize=str(rows))
    _add_georeference(root, spec.georeference)
    metadata = ElementTree.SubElement(root, "Metadata")
    for key, value in {"AREA_OR_POINT": spec.area_or_point, **spec.tags}.items():
        ElementTree.SubElement(metadata, "MDI", key=key).text = value
    band = _add_band(root, spec.dtype)
    ElementTree.SubElement(band, "Description").text = spec.description
    ElementTree.SubElement(band, "NoDataValue").text = "0"
    ElementTree.SubElement(band, "ColorInterp").text = "Palette" if spec.classes else "Gray"
    if spec.classes:
        _add_classes(band, spec.classes)
    for number, sources in enumerate(_rows(parts)):
        window, path = sources[0]
        if len(sources) > 1:
            window = Window(window.rows, Span(window.cols.start, sources[-1][0].cols.stop))
            path = folder / f"{number:06d}.vrt"
            path.write_bytes(_row_vrt(spec.dtype, window, sources).encode())
        _add_source(band, spec.dtype, window, spec.extent, path)
    return ElementTree.tostring(root, encoding="unicode")


def _rows(parts: Parts) -> Iterator[list[_Source]]:
    """Yield the parts in each row of blocks, as far as they follow one another, from left to right.

    The VRT of a row is 0 where it has no part, and would hide what an earlier one has there. So a row has gaps only
    where it lies below all rows before it; elsewhere it is cut at the gaps.
    """
    bottom = None
    for rows, blocks in groupby(parts, key=lambda part: part[0].window.rows):
        sources = sorted((block.window, path) for block, path in blocks)
        if bottom is None or rows.start >= bottom:
            yield from (sources[i : i + _MAX_SOURCES] for i in range(0, len(sources), _MAX_SOURCES))
        else:
            yield from _without_gaps(sources)
        bottom = max(rows.stop, bottom or rows.stop)


def _without_gaps(sources: list[_Source]) -> Iterator[list[_Source]]:
    run = sources[:1]
    for source in sources[1:]:
        if source[0].cols.start != run[-1][0].cols.stop or len(run) == _MAX_SOURCES:
            yield run
            run = []
        run.append(source)
    yield run


def _row_vrt(dtype: str, extent: Window, sources: Iterable[_Source]) -> str:
    rows, cols = extent.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=str(cols), rasterYSize=str(rows))
    band = _add_band(root, dtype)
    for window, path in sources:
        _add_source(band, dtype, window, extent, path)
    return ElementTree.tostring(root, encoding="unicode")


def offset_in(extent: Window, window: Window) -> tuple[int, int]:
    """Return (row, col) of the first pixel of `window`, counted from the first pixel of `extent`."""
    return window.rows.start - extent.rows.start, window.cols.start - extent.cols.start


def _add_band(root: ElementTree.Element, dtype: str) -> ElementTree.Element:
    side = str(TIFF_BLOCK)
    attributes = {"dataType": _GDAL_TYPES[dtype], "band": "1", "blockXSize": side, "blockYSize": side}
    return ElementTree.SubElement(root, "VRTRasterBand", attributes)


def _add_georeference(root: ElementTree.Element, georeference: Georeference) -> None:
    if georeference.wkt:
        epoch = {} if georeference.epoch is None else {"coordinateEpoch": repr(georeference.epoch)}
        ElementTree.SubElement(root, "SRS", epoch).text = georeference.wkt
    if not georeference.transform.is_identity:
        coefficients = georeference.transform.to_gdal()
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(float(value)) for value in coefficients)
    if georeference.points:
        points = ElementTree.SubElement(root, "GCPList", Projection=georeference.points_wkt)
        for number, point in enumerate(georeference.points, start=1):
            position = {"Pixel": point.col, "Line": point.row, "X": point.x, "Y": point.y, "Z": point.z}
            attributes = {"Id": str(number), **{key: repr(value) for key, value in position.items()}}
            ElementTree.SubElement(points, "GCP", attributes)
    if georeference.rpcs:
        metadata = ElementTree.SubElement(root, "Metadata", domain="RPC")
        for key, value in georeference.rpcs:
            ElementTree.SubElement(metadata, "MDI", key=key).text = value


def _add_classes(band: ElementTree.Element, classes: ClassMap) -> None:
    names = ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "ColorTable")
    ElementTree.SubElement(names, "Category").text = "nodata"
    ElementTree.SubElement(table, "Entry", c1="0", c2="0", c3="0", c4="0")
    entries = {entry.id: entry for entry in classes.classes}
    for value in range(1, classes.highest + 1):
        entry = entries.get(value)
        red, green, blue = entry.rgb if entry else (0, 0, 0)
        ElementTree.SubElement(names, "Category").text = entry.name if entry else ""
        ElementTree.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")


def _add_source(band: ElementTree.Element, dtype: str, window: Window, extent: Window, path: Path) -> None:
    source = ElementTree.SubElement(band, "SimpleSource")
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
    ElementTree.SubElement(source, "SourceBand").text = "1"
    height, width = window.shape
    # With these, GDAL opens the file when it is read, and keeps no more than a number of files open.
    ElementTree.SubElement(
        source, "SourceProperties", RasterXSize=str(width), RasterYSize=str(height), DataType=_GDAL_TYPES[dtype],
        BlockXSize=str(TIFF_BLOCK), BlockYSize=str(TIFF_BLOCK),
    )  # fmt: skip
    size = {"xSize": str(width), "ySize": str(height)}
    ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    row, col = offset_in(extent, window)
    ElementTree.SubElement(source, "DstRect", {"xOff": str(col), "yOff": str(row), **size})
