"""Formats that geoseg does not read: what a file is by its first bytes, and how it becomes a GeoTIFF."""

from __future__ import annotations

import shlex
from pathlib import Path

_OTHER_SUFFIXES = frozenset(
    [
        ".img",
        ".ntf",
        ".nitf",
        ".nsf",
        ".asc",
        ".bil",
        ".bip",
        ".bsq",
        ".flt",
        ".ers",
        ".ecw",
        ".sid",
        ".bmp",
        ".gif",
        ".webp",
        ".jxl",
        ".heic",
        ".j2k",
        ".jpx",
        ".jpc",
        ".j2c",
        ".vrt",
        ".adf",
        ".hdf",
        ".h4",
        ".h5",
        ".he5",
        ".hdf4",
        ".hdf5",
        ".nc",
        ".grb",
        ".grb2",
        ".grib",
        ".grib2",
        ".rst",
        ".dem",
        ".mbtiles",
        ".dng",
        ".ppm",
        ".pgm",
        ".pix",
        ".fits",
    ]
)
"""Suffixes of rasters, by which files in a folder are told."""

_TRANSLATED = (
    (b"EHFA_HEADER_TAG", "an ERDAS Imagine raster (.img)"),
    (b"NITF", "a NITF raster"),
    (b"NSIF", "a NITF raster"),
    (b"BM", "a BMP image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 codestream"),
    (b"DSAA", "a Surfer grid"),
    (b"DSBB", "a Surfer grid"),
    (b"P5\n", "a PGM image"),
    (b"P6\n", "a PPM image"),
    (b"SIMPLE  =", "a FITS image"),
)
"""First bytes -> kind, of formats that gdal_translate converts as they are."""

_SUBDATASETS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file"),
    (b"\x0e\x03\x13\x01", "an HDF4 file"),
    (b"CDF\x01", "a NetCDF file"),
    (b"CDF\x02", "a NetCDF file"),
    (b"CDF\x05", "a NetCDF file"),
    (b"GRIB", "a GRIB file"),
)
"""First bytes -> kind, of formats that hold several rasters."""

_PACKED = (
    (b"\x1f\x8b", "is compressed by gzip", "gunzip -k {path} unpacks it"),
    (b"PK\x03\x04", "is a ZIP archive", "unzip it and give the raster in it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "unpack it and give the raster in it"),
    (b"Rar!", "is a RAR archive", "unpack it and give the raster in it"),
    (b"BZh", "is compressed by bzip2", "bunzip2 -k {path} unpacks it"),
    (b"\xfd7zXZ", "is compressed by xz", "unxz -k {path} unpacks it"),
    (b"%PDF", "is a PDF", "gdal_translate {path} {out} converts it if it is a GeoPDF"),
)

_VECTORS = (
    (b"\x00\x00\x27\x0a", "a shapefile"),
    (b"fgb\x03", "a FlatGeobuf file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "a SQLite database, such as a GeoPackage"),
)
_HEADERS = ((b"ENVI", "an ENVI raster"), (b"BYTEORDER", "an ESRI raster (.bil)"), (b"NROWS", "an ESRI raster (.bil)"))
_HEAD = 4096


def read_head(path: Path) -> bytes:
    """Return the first 4096 bytes of a regular file."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def other_format(path: Path) -> str:
    """Return how to name the format of a raster in a folder that geoseg does not read; empty for any other file.

    Only names are looked at, and whether an ENVI header lies beside the file.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        inner = Path(path.stem).suffix.lower()
        return f"{inner}.gz" if inner in (".tif", ".tiff", ".jp2", ".img", ".vrt") else ""
    if suffix in _OTHER_SUFFIXES:
        return suffix
    beside = suffix in ("", ".dat", ".raw", ".bin") and (_header(path) is not None)
    return (suffix or "ENVI") if beside else ""


def describe_format(path: Path, head: bytes) -> str:
    """Return what is wrong with a file that is not a raster geoseg reads, and the way out; empty if it is unknown.

    Args:
        path: The file, which messages name.
        head: Its first bytes.
    """
    names = {"path": shlex.quote(str(path)), "out": shlex.quote(str(_converted(path)))}
    convert = "gdal_translate {path} {out} converts it".format_map(names)
    for magic, what, remedy in _PACKED:
        if head.startswith(magic):
            return f"{what}; {remedy.format_map(names)}"
    for magic, kind in _TRANSLATED:
        if head.startswith(magic) and (magic != b"RIFF" or head[8:12] == b"WEBP") and (magic != b"BM" or _is_bmp(head)):
            return f"is {kind}, a format that geoseg does not read; {convert}"
    for magic, kind in _SUBDATASETS:
        if head.startswith(magic):
            return f"is {kind}; gdalinfo lists the rasters in it, and gdal_translate converts one to a GeoTIFF"
    if head.startswith(b"SQLite format 3\x00"):
        return f"is a SQLite database, such as a GeoPackage; if it holds tiles, {convert}"
    vector = vector_format(head)
    if vector:
        return f"is {vector}, not a raster"
    if head[:64].lstrip().lower().startswith((b"ncols", b"nrows")):
        return f"is an ASCII grid, a format that geoseg does not read; {convert}"
    header = _header(path)
    return f"is {header} ({path.stem}.hdr), a format that geoseg does not read; {convert}" if header else ""


def vector_format(head: bytes) -> str:
    """Return the kind of vector file that first bytes belong to; empty if they are no vector file's."""
    for magic, kind in _VECTORS:
        if head.startswith(magic):
            return kind
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"{", b"\x1e{")) and any(word in head for word in (b'"FeatureCollection"', b'"Feature"')):
        return "GeoJSON"
    lowered = start[:1024].lower()
    if b"<kml" in lowered:
        return "a KML file"
    return "a GML file" if b"opengis.net/gml" in lowered else ""


def is_text(head: bytes) -> bool:
    """Return whether first bytes are text; pixels rarely are UTF-8, even without control characters."""
    if not all(byte >= 32 or byte in b"\t\r\n\x0c" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut off.
        return len(head) == _HEAD and error.start >= len(head) - 3
    return True


def _converted(path: Path) -> Path:
    out = path.with_suffix(".tif")
    return out if out != path else path.with_name(f"{path.stem}-converted.tif")


def _is_bmp(head: bytes) -> bool:
    return len(head) > 18 and head[6:10] == b"\0\0\0\0"


def _header(path: Path) -> str | None:
    """The kind of raster whose header, a small text file called .hdr, lies beside `path`."""
    for beside in (path.with_suffix(".hdr"), path.with_name(f"{path.name}.hdr")):
        if beside != path and beside.is_file():
            try:
                head = read_head(beside)
            except OSError:
                continue
            return next((kind for word, kind in _HEADERS if word in head[:_HEAD].upper()), None)
    return None
