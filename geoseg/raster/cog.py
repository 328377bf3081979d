"""Parts -> cloud-optimised GeoTIFF. A raster value of 0 is nodata, always.

The parts are joined by a VRT and copied once by GDAL's COG driver. The copy is canonical: the same pixels give
the same bytes, in whatever order the parts were made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises: no RasterioError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import ClassMap
from geoseg.errors import WriteError
from geoseg.files.atomic import check_space, publishing
from geoseg.files.record import parse_provenance
from geoseg.grid import Block, Window
from geoseg.raster.georeference import Georeference

TIFF_BLOCK = 512
GDAL_VERSION = str(rasterio.__gdal_version__)

COPY_CACHE = 64 << 20
"""Bytes of GDAL's cache while parts are copied to the COG and read back; a few rows of TIFF blocks are all it needs."""
_SIDECARS = (".aux.xml", ".ovr", ".msk")
"""What would change the meaning of a raster that it lies beside."""

_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32"}


@dataclass(frozen=True)
class RasterSpec:
    """What is written besides pixels: where they lie, their type, and for a class raster its classes.

    extent: the part of the scene that is written; georeference: of the extent's first pixel.
    tags: written as TIFF metadata. description: name of the band.
    resampling: of overviews, by GDAL's name; unless given, MODE for classes and AVERAGE for a continuous band.
    """

    extent: Window
    georeference: Georeference
    dtype: str
    description: str
    tags: Mapping[str, str]
    area_or_point: str = "Area"
    classes: ClassMap | None = None
    resampling: str | None = None


def write_part(path: Path, values: NDArray[Any]) -> None:
    """Write one block (rows, cols) as a tiled TIFF at `path`, atomically, once it reads back as it was written.

    Raises:
        WriteError: the file system failed, or what reads back differs.
    """
    rows, cols = values.shape
    layout = {"tiled": True, "blockxsize": TIFF_BLOCK, "blockysize": TIFF_BLOCK, "compress": "deflate", "zlevel": 1}
    # Parts lie in pixel space; a transform that is not the identity keeps rasterio from warning about each of them.
    layout["transform"] = Affine.translation(1, 1)
    try:
        with publishing(path) as temporary:
            with rasterio.open(
                temporary, "w", driver="GTiff", height=rows, width=cols, count=1, dtype=values.dtype, **layout
            ) as file:
                file.write(values, 1)
            # A full disk can go unnoticed until the file is closed, and even then.
            with rasterio.open(temporary, driver="GTiff") as file:
                if not np.array_equal(file.read(1), values):
                    raise WriteError(f"{path}: reads back other pixels than were written; is the disk full or failing?")
    except RasterioError as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error


def write_cog(path: Path, spec: RasterSpec, parts: Sequence[tuple[Block, Path]]) -> None:
    """Join the parts to one COG at `path`, atomically, after its stale sidecars are gone.

    Blocks without a part stay nodata.

    Raises:
        WriteError: not enough space (checked first), or the file system failed; an old file is intact.
    """
    _check_space(path.parent, spec)
    vrt = _vrt(spec, parts)
    options = {
        "COMPRESS": "DEFLATE",
        "BLOCKSIZE": TIFF_BLOCK,
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "IGNORE_EXISTING",
        "OVERVIEW_RESAMPLING": spec.resampling or ("MODE" if spec.classes else "AVERAGE"),
        "NUM_THREADS": "ALL_CPUS",
    }
    target = path.resolve()
    try:
        with publishing(path) as temporary:
            with rasterio.Env(GDAL_CACHEMAX=COPY_CACHE):
                rasterio.shutil.copy(vrt, temporary, driver="COG", **options)
                with _opened(temporary) as file:
                    _compare(path, file, spec, parts)
            produced = temporary.with_name(temporary.name + ".aux.xml")
            names = produced.read_bytes() if produced.exists() else None
            for beside in raster_sidecars(target):
                beside.unlink(missing_ok=True)
        if names is not None:
            with publishing(target.with_name(target.name + ".aux.xml")) as temporary:
                temporary.write_bytes(names)
    except (RasterioError, CPLE_BaseError) as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error


def raster_sidecars(path: Path) -> list[Path]:
    """Return what may lie beside a raster, and tells of that one only."""
    return [*(path.with_name(path.name + suffix) for suffix in _SIDECARS), path.with_suffix(".qml")]


def read_small(path: Path, limit: int) -> NDArray[Any]:
    """Return the first band of a raster, at most `limit` pixels a side, by nearest pixel from its overviews."""
    with _opened(path) as file:
        scale = max(1.0, max(file.shape) / limit)
        shape = tuple(max(1, round(length / scale)) for length in file.shape)
        small: NDArray[Any] = file.read(1, out_shape=shape, resampling=Resampling.nearest)
        return small


def read_rows(spec: RasterSpec, parts: Sequence[tuple[Block, Path]], height: int) -> Iterator[NDArray[Any]]:
    """Yield the raster that the parts make up in bands of `height` rows, (rows, cols), from the top down."""
    rows, cols = spec.extent.shape
    with rasterio.Env(GDAL_CACHEMAX=COPY_CACHE), rasterio.open(_vrt(spec, parts), driver="VRT") as file:
        for start in range(0, rows, height):
            yield file.read(1, window=RasterioWindow(0, start, cols, min(height, rows - start)))


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the provenance geoseg wrote into the raster `path`, with its "layer"; None for any other raster."""
    try:
        with _opened(path) as file:
            tags, layer = file.tags(), file.descriptions[0]
    except RasterioError:
        return None
    return parse_provenance(tags, layer)


def _opened(path: Path) -> Any:
    with warnings.catch_warnings():
        # A map in pixel space is as it should be: the scene's reader said so.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver="GTiff")


def _compare(path: Path, file: Any, spec: RasterSpec, parts: Sequence[tuple[Block, Path]]) -> None:
    """Read the raster back, and hold it against the parts it was made of."""
    if file.shape != spec.extent.shape or file.dtypes[0] != spec.dtype:
        raise WriteError(f"{path}: reads back as {file.shape} {file.dtypes[0]}; is the disk full?")
    for block, part in parts:
        row, col = block.window.rows.start - spec.extent.rows.start, block.window.cols.start - spec.extent.cols.start
        region = RasterioWindow(col, row, len(block.window.cols), len(block.window.rows))
        with rasterio.open(part, driver="GTiff") as source:
            if not np.array_equal(file.read(1, window=region), source.read(1)):
                raise WriteError(f"{path}: reads back other pixels than were written; is the disk full or failing?")


def _check_space(folder: Path, spec: RasterSpec) -> None:
    # Overviews are a third more; the temporary overviews stand beside the file while it is written.
    check_space(folder, spec.extent.pixels * np.dtype(spec.dtype).itemsize * 5 // 12)


def _vrt(spec: RasterSpec, parts: Sequence[tuple[Block, Path]]) -> str:
    rows, cols = spec.extent.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=str(cols), rasterYSize=str(rows))
    if spec.georeference.wkt:
        ElementTree.SubElement(root, "SRS").text = spec.georeference.wkt
    if not spec.georeference.transform.is_identity:
        coefficients = spec.georeference.transform.to_gdal()
        ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(float(value)) for value in coefficients)
    _describe_points(root, spec.georeference)
    metadata = ElementTree.SubElement(root, "Metadata")
    for key, value in {"AREA_OR_POINT": spec.area_or_point, **spec.tags}.items():
        ElementTree.SubElement(metadata, "MDI", key=key).text = value
    band = ElementTree.SubElement(
        root, "VRTRasterBand", dataType=_GDAL_TYPES[spec.dtype], band="1",
        blockXSize=str(TIFF_BLOCK), blockYSize=str(TIFF_BLOCK),
    )  # fmt: skip
    ElementTree.SubElement(band, "Description").text = spec.description
    ElementTree.SubElement(band, "NoDataValue").text = "0"
    ElementTree.SubElement(band, "ColorInterp").text = "Palette" if spec.classes else "Gray"
    if spec.classes:
        _describe_classes(band, spec.classes)
    for block, path in parts:
        source = ElementTree.SubElement(band, "SimpleSource")
        ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
        ElementTree.SubElement(source, "SourceBand").text = "1"
        height, width = block.window.shape
        size = {"xSize": str(width), "ySize": str(height)}
        ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
        row, col = block.window.rows.start - spec.extent.rows.start, block.window.cols.start - spec.extent.cols.start
        ElementTree.SubElement(source, "DstRect", {"xOff": str(col), "yOff": str(row), **size})
    return ElementTree.tostring(root, encoding="unicode")


def _describe_points(root: ElementTree.Element, georeference: Georeference) -> None:
    """Ground control points and rational polynomials of imagery that is not rectified."""
    if georeference.points:
        points = ElementTree.SubElement(root, "GCPList", Projection=georeference.points_wkt)
        for number, point in enumerate(georeference.points, start=1):
            place = {"Pixel": point.col, "Line": point.row, "X": point.x, "Y": point.y, "Z": point.z}
            attributes = {"Id": str(number), **{key: repr(value) for key, value in place.items()}}
            ElementTree.SubElement(points, "GCP", attributes)
    if georeference.rpcs:
        metadata = ElementTree.SubElement(root, "Metadata", domain="RPC")
        for key, value in georeference.rpcs:
            ElementTree.SubElement(metadata, "MDI", key=key).text = value


def _describe_classes(band: ElementTree.Element, classes: ClassMap) -> None:
    names = ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "ColorTable")
    ElementTree.SubElement(names, "Category").text = "nodata"
    ElementTree.SubElement(table, "Entry", c1="0", c2="0", c3="0", c4="0")
    for entry in classes.classes:
        red, green, blue = entry.rgb
        ElementTree.SubElement(names, "Category").text = entry.name
        ElementTree.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")
