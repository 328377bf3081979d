"""Reading blocks of an open raster; an error names the first block that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rasterio._err import CPLE_OutOfMemoryError  # the cause of a RasterioIOError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, first_line
from geoseg.grid import Window
from geoseg.location import Location
from geoseg.raster.opening import OpenedRaster


@contextmanager
def decoding(name: Location, raster: OpenedRaster, window: Window) -> Iterator[None]:
    """Read a window within this context, in which the network is set up for remote rasters.

    Args:
        name: What messages call the raster.
        raster: The raster.
        window: The pixels.

    Raises:
        InputError: A block of the file cannot be decoded.
        MemoryError: There is too little memory for a block.
    """
    try:
        with raster.environment():
            yield
    except RasterioError as error:
        # Blocks of a TIFF were found to be of a sound size before; in other formats, damage may ask for any memory.
        if raster.file.driver == "GTiff" and isinstance(error.__cause__, CPLE_OutOfMemoryError):
            raise MemoryError(f"{name}: {first_line(error.__cause__)}") from error
        block = _first_broken_block(raster, window)
        remedy = "try again later" if raster.remote else "copy or download the file again"
        raise InputError(
            f"{name}: the block of rows {block.rows.start}-{block.rows.stop}, columns {block.cols.start}-"
            f"{block.cols.stop} cannot be decoded ({first_line(error)}); {remedy}"
        ) from error


def region_of(window: Window) -> RasterioWindow:
    """Return the window as rasterio has it."""
    return RasterioWindow(window.cols.start, window.rows.start, len(window.cols), len(window.rows))


def _first_broken_block(raster: OpenedRaster, window: Window) -> Window:
    """The first stored block in `window` that cannot be read; the window itself where each of them can."""
    height, width = (int(side) for side in raster.file.block_shapes[0])
    extent = Window.of(0, 0, int(raster.file.height), int(raster.file.width))
    for top in range(window.rows.start // height * height, window.rows.stop, height):
        for left in range(window.cols.start // width * width, window.cols.stop, width):
            block = Window.of(top, left, height, width).intersect(extent)
            try:
                with raster.environment():
                    raster.file.read(window=region_of(block))
            except RasterioError:
                return block
    return window
