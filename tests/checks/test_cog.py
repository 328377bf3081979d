"""The layout of a TIFF: what rio-cogeo says of it, and what is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from helpers.rasters import landscape, make_raster
from rio_cogeo.cogeo import cog_validate

from geoseg.checks.layout import _order_faults, layout_faults
from geoseg.errors import InputError
from geoseg.raster.tiff import Page, read_header


def plain(path: Path, rows: int = 700, cols: int = 1100, **more: object) -> Path:
    return make_raster(path, landscape(rows, cols), **more)


def cog(path: Path, **options: object) -> Path:
    source = plain(path.with_name("source.tif"))
    rasterio.shutil.copy(str(source), str(path), driver="COG", **{"blocksize": 256, "compress": "deflate", **options})
    return path


def with_overviews(path: Path) -> Path:
    with rasterio.open(plain(path), "r+") as file:
        file.build_overviews([2, 4])
    return path


def external(path: Path) -> Path:
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(plain(path), "r+") as file:
        file.build_overviews([2, 4])
    return path


def changed(path: Path) -> Path:
    with rasterio.open(cog(path), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.write(file.read(1) // 2, 1)
    return path


def big_endian(path: Path) -> Path:
    rasterio.shutil.copy(str(plain(path.with_name("source.tif"))), str(path), driver="GTiff", ENDIANNESS="BIG")
    return path


def masked(path: Path) -> Path:
    random = np.random.default_rng(0)
    source = plain(path.with_name("source.tif"), mask=random.random((700, 1100)) > 0.5)
    rasterio.shutil.copy(str(source), str(path), driver="COG", blocksize=256)
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "plain": plain,
    "strips": lambda path: plain(path, tiled=False, blockxsize=1100, blockysize=16),
    "small": lambda path: plain(path, 200, 300),
    "small strips": lambda path: plain(path, 200, 300, tiled=False, blockxsize=300, blockysize=16),
    "overviews behind": with_overviews,
    "overviews elsewhere": external,
    "COG": cog,
    "BigTIFF": lambda path: cog(path, bigtiff="YES"),
    "JPEG": lambda path: cog(path, compress="JPEG"),
    "no overviews": lambda path: cog(path, overviews="NONE"),
    "changed": changed,
    "big endian": big_endian,
    "mask": masked,
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_cog_where_rio_cogeo_says_so(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path / "file.tif")
    valid, *_ = cog_validate(str(path), strict=True, quiet=True)
    assert (layout_faults(path) == []) == valid
    with path.open("rb") as tiff, rasterio.open(path) as file:
        main = read_header(tiff).pages[0]
        assert (main.shape, main.tiled) == (file.shape, file.profile["tiled"])
        (rows, cols), (high, wide) = file.shape, file.block_shapes[0]
        bands = (1,) if main.planes == 1 else file.indexes
        places = [
            int(file.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band))
            for band in bands for y in range(-(-rows // high)) for x in range(-(-cols // wide))
        ]  # fmt: skip
        assert main.data_start == min(places) < main.data_end <= path.stat().st_size


@pytest.mark.parametrize("kind", ["COG", "BigTIFF"])
def test_a_truncated_file_is_told_though_its_directories_are_whole(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path / "file.tif")
    whole = path.read_bytes()
    # A COG ends in four bytes of GDAL's own, behind the last block.
    path.write_bytes(whole[:-5])
    assert cog_validate(str(path), strict=True, quiet=True)[0]
    (told,) = layout_faults(path)
    assert told.startswith("its image 0 is truncated")


def test_damaged_directories_are_an_input_error(tmp_path: Path) -> None:
    path = cog(tmp_path / "file.tif")
    whole = path.read_bytes()
    first = int.from_bytes(whole[4:8], "little")
    random = np.random.default_rng(0)
    for place in [2, 4, first, first + 1, *random.integers(0, first + 300, 300).tolist()]:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt)
        try:
            layout_faults(path)
        except InputError as error:
            told = str(error)
            assert told.startswith(str(path)), told
    path.write_bytes(whole[:7])
    with pytest.raises(InputError, match="directories that cannot be followed"):
        layout_faults(path)


def test_directories_in_a_loop_are_an_input_error(tmp_path: Path) -> None:
    path = plain(tmp_path / "file.tif", 100, 100)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * count : first + 6 + 12 * count] = data[4:8]
    path.write_bytes(data)
    with pytest.raises(InputError, match="in a loop"):
        layout_faults(path)


def level(at: int, side: int, begin: int, end: int) -> Page:
    return Page(1, at, 1, (side, side), (256, 256), True, 1, 8, begin, end, None)


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([level(8, 2048, 700, 800), level(200, 1024, 600, 700), level(300, 512, 500, 600)], None),
        # Nothing of it was ever written.
        ([level(8, 2048, 0, 0), level(200, 1024, 600, 700)], None),
        ([level(8, 2048, 700, 800), level(200, 1024, 0, 0)], None),
        ([level(8, 2048, 500, 600), level(200, 1024, 600, 700)], "the blocks of its overview of 1024 x 1024 px do not"),
        # The first block is in its place, the last is not.
        ([level(8, 2048, 600, 700), level(200, 1024, 500, 709)], "blocks of its overview of 1024 x 1024"),
        ([level(8, 2048, 700, 750), level(300, 512, 500, 600), level(200, 1024, 600, 700)], "from large to small"),
        ([level(8, 2048, 150, 200), level(200, 1024, 100, 150)], "directories do not all come before its blocks"),
    ],
)
def test_the_order_of_overviews(levels: list[Page], told: str | None) -> None:
    faults = _order_faults(levels)
    assert told in "; ".join(faults) if told else not faults
