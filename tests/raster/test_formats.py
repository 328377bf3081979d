"""Files of formats that geoseg does not read: they are called what they are, with a way out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import rasterio
from helpers.rasters import landscape, make_raster
from rasterio.shutil import copy

from geoseg.errors import InputError
from geoseg.raster.formats import is_text, vector_format
from geoseg.raster.guards import raster_driver


@pytest.mark.parametrize(
    ("driver", "name", "what"),
    [
        ("HFA", "a.img", "an ERDAS Imagine raster"),
        ("ENVI", "a.dat", "an ENVI raster (a.hdr)"),
        ("EHdr", "a.bil", "an ESRI raster"),
        ("NITF", "a.ntf", "a NITF raster"),
        ("BMP", "a.bmp", "a BMP image"),
        ("AAIGrid", "a.asc", "an ASCII grid"),
        ("GIF", "not-by-its-name.tif", "a GIF image"),
    ],
)
def test_rasters_of_other_formats_are_named_with_the_command(driver: str, name: str, what: str, tmp_path: Path) -> None:
    plain = make_raster(tmp_path / "scene.tif", landscape(12, 14, 1 if driver in ("AAIGrid", "GIF") else 3) | 32)
    path = tmp_path / name
    with rasterio.open(plain) as scene:
        copy(scene, path, driver=driver)
    out = tmp_path / ("a.tif" if path.suffix != ".tif" else "not-by-its-name-converted.tif")
    with pytest.raises(InputError) as raised:
        raster_driver(path)
    assert str(raised.value).startswith(f"{path}: is {what}")
    assert str(raised.value).endswith(f"gdal_translate {path} {out} converts it")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (gzip.compress(b"II*\0", mtime=0), "is compressed by gzip; gunzip -k"),
        (b"PK\x03\x04....", "is a ZIP archive; unzip it"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 or NetCDF file; gdalinfo lists the rasters"),
        (b"SQLite format 3\0", "is a SQLite database, such as a GeoPackage; if it holds tiles, gdal_translate"),
        (b'{"type": "FeatureCollection"', "is GeoJSON, not a raster"),
        (b"\0\0\x27\x0a\0\0\0\0", "is a shapefile, not a raster"),
        (b"%PDF-1.7", "is a PDF"),
        (b"BM and so on, a text that begins so", "is text"),
    ],
)
def test_other_files_are_named_too(body: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x y.tif"
    path.write_bytes(body)
    with pytest.raises(InputError) as raised:
        raster_driver(path)
    assert what in str(raised.value)
    assert "gunzip" not in what or f"'{path}'" in str(raised.value)


def test_pixels_without_control_characters_are_no_text() -> None:
    assert is_text("Größe\n".encode())
    assert is_text(("ä" * 4096).encode()[:4096])
    assert is_text(("x" + "ä" * 4096).encode()[:4096])
    assert not is_text(bytes(range(32, 256)) * 10)
    assert not is_text(b"\0abc")


def test_vectors_are_told_from_other_text() -> None:
    assert vector_format(b'\xef\xbb\xbf { "type":"Feature", ') == "GeoJSON"
    assert vector_format(b'<?xml version="1.0"?>\n<kml xmlns="x">') == "a KML file"
    assert not vector_format(b'{"classes": 3}')
    assert not vector_format(b"II*\0")
