"""Writes the cloud-optimised GeoTIFF (COG) that parts make up, in one pass over them.

Blocks of parts are blocks of the COG already: their compressed bytes are copied. They are decoded once, for overviews
and for the classes that occur. The file is canonical: the same pixels give the same bytes, however they are divided
into parts, in whatever order the parts were made, and whatever the number of threads. A value of 0 is nodata, always.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # raised by rasterio.shutil.copy; not a RasterioError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import WriteError
from geoseg.files.atomic import publishing, scratch_folder, sha256
from geoseg.files.targets import check_space
from geoseg.grid import Block, Window
from geoseg.raster.cog import BLOCK_LAYOUT, corrupted, open_raster, reading_parts
from geoseg.raster.cog_layout import Blocks, Level, Tags, read_tags, stored_blocks
from geoseg.raster.mosaic import TIFF_BLOCK, Parts, RasterSpec, mosaic_vrt, offset_in
from geoseg.raster.overviews import AVERAGE, MODE, Halved, OverviewBlock, Pyramid, halve_pixels, level_shapes
from geoseg.raster.sidecars import raster_sidecars

Item = TypeVar("Item")
Found = TypeVar("Found")

_CHUNK_ROWS, _CHUNK_COLS = 2048, 2048
"""Pixels of a part that are read at a time."""

_MAX_THREADS = 16

_OVERVIEW_ZLEVEL = 5
"""Overviews, of busy pixels, take twice the time at the level of the parts, and get 3 % smaller."""

_BATCH = 8
"""Blocks of overviews that are compressed at once: to open a file in memory takes as long as to compress two."""


def write_cog(path: Path, spec: RasterSpec, parts: Parts) -> tuple[int, ...]:
    """Join parts to one COG, atomically, and verify its bytes; sidecars of an older file at `path` are removed.

    Args:
        path: The file to write.
        spec: What the raster is.
        parts: Blocks of the extent and their TIFFs, which `write_part` made. They begin at multiples of `TIFF_BLOCK`
            from the first pixel of the extent, and end there or at its edges. A list may have any order; anything else
            is in raster order.

    Returns:
        Of `spec.classes`, the ids that some pixel has, in ascending order.

    Raises:
        WriteError: The disk has not enough space, which is checked before the file is written, or the file system
            failed; an older file is intact.
        ValueError: The parts are not as above.
    """
    target = path.resolve()
    try:
        with publishing(path) as temporary, scratch_folder(path, "mosaic") as folder:
            tags, names = _described(spec, folder)
            levels = [Level.empty(shape, TIFF_BLOCK) for shape in level_shapes(spec.extent.shape, TIFF_BLOCK)]
            with Blocks(folder / "blocks", levels) as blocks:
                check_space(folder, blocks.file_size(tags))
                seen = _fill(blocks, spec, parts)
                check_space(folder, blocks.file_size(tags))
                digest = blocks.write(temporary, tags)
            _verify(path, temporary, spec, digest)
            for sidecar in raster_sidecars(target):
                sidecar.unlink(missing_ok=True)
        if names is not None:
            with publishing(target.with_name(target.name + ".aux.xml")) as temporary:
                temporary.write_bytes(names)
    except (RasterioError, CPLE_BaseError) as error:
        raise WriteError(f"{path}: cannot be written ({error}); is the disk full?") from error
    return tuple(entry.id for entry in spec.classes.classes if seen[entry.id]) if spec.classes else ()


def _described(spec: RasterSpec, folder: Path) -> tuple[Tags, bytes | None]:
    """The tags of the raster, as GDAL writes them for one of a single pixel; and the .aux.xml of its class names."""
    # Names of classes are GDAL's persistent auxiliary metadata, which the environment may switch off.
    with rasterio.Env(GDAL_PAM_ENABLED="YES"), MemoryFile() as memory:
        vrt = mosaic_vrt(replace(spec, extent=Window.of(0, 0, 1, 1)), [], folder)
        rasterio.shutil.copy(vrt, memory.name, driver="GTiff", BIGTIFF="NO", ENDIANNESS="LITTLE", **BLOCK_LAYOUT)
        tags = read_tags(memory.read())
        # Of what is in memory, rasterio reads no other file.
        rasterio.shutil.copyfiles(memory.name, folder / "described.tif")
    names = folder / "described.tif.aux.xml"
    return tags, names.read_bytes() if names.exists() else None


@dataclass(frozen=True, eq=False)
class _Chunk:
    """A window of a part, which begins at a multiple of `TIFF_BLOCK` from the first pixel of the raster.

    Attributes:
        path: The part.
        part_row: The row of the raster with which the part begins.
        first: (row, col) of its first pixel in the part.
        place: (row, col) of its first pixel in the raster.
        shape: (rows, cols).
    """

    path: Path
    part_row: int
    first: tuple[int, int]
    place: tuple[int, int]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Decoded:
    """What is made of a chunk.

    Attributes:
        chunk: The chunk.
        blocks: (row, col) of the blocks that are not all nodata, among those of the raster, with their bytes.
        halved: Its pixels in the first overview.
        seen: True for the values that occur, of a class raster.
    """

    chunk: _Chunk
    blocks: list[tuple[int, int, bytes]]
    halved: Halved
    seen: NDArray[np.bool_]


def _fill(blocks: Blocks, spec: RasterSpec, parts: Parts) -> NDArray[np.bool_]:
    """Add the blocks of the raster and of its overviews; return which values occur, of a class raster."""
    how = spec.resampling or (MODE if spec.classes else AVERAGE)
    pyramid = Pyramid(spec.extent.shape, spec.dtype, how, TIFF_BLOCK)
    seen, row = np.zeros(_values(spec), np.bool_), 0
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(threads, thread_name_prefix="publication") as pool:

        def overviews() -> Iterator[OverviewBlock]:
            nonlocal row
            for found in _in_order(pool, lambda chunk: _decode(chunk, spec, how), _chunks(spec, parts), 2 * threads):
                top, left = found.chunk.place
                if found.chunk.part_row > row:
                    row = found.chunk.part_row
                    yield from pyramid.settle(row)
                for i, j, data in found.blocks:
                    blocks.add(0, i, j, data)
                np.logical_or(seen, found.seen, out=seen)
                yield from pyramid.add(1, top // 2, left // 2, found.halved)
            yield from pyramid.settle()

        for compressed in _in_order(pool, _compressed, _batches(overviews(), _BATCH), threads):
            for block, data in compressed:
                blocks.add(block.level, block.row, block.col, data)
    return seen


def _chunks(spec: RasterSpec, parts: Parts) -> Iterator[_Chunk]:
    """Yield what to read, row of blocks after row of blocks."""
    bottom = 0
    for block, path in sorted(parts, key=_by_place) if isinstance(parts, list) else parts:
        row, col = offset_in(spec.extent, block.window)
        rows, cols = block.window.shape
        ends = zip((row + rows, col + cols), spec.extent.shape, strict=True)
        if row % TIFF_BLOCK or col % TIFF_BLOCK or any(end % TIFF_BLOCK and end != edge for end, edge in ends):
            raise ValueError(f"{path}: its edges are not those of blocks")
        if row < bottom:
            raise ValueError(f"{path}: comes after parts below it")
        bottom = row
        for top in range(0, rows, _CHUNK_ROWS):
            for left in range(0, cols, _CHUNK_COLS):
                shape = min(_CHUNK_ROWS, rows - top), min(_CHUNK_COLS, cols - left)
                yield _Chunk(path, row, (top, left), (row + top, col + left), shape)


def _by_place(part: tuple[Block, Path]) -> Window:
    return part[0].window


def _decode(chunk: _Chunk, spec: RasterSpec, how: str) -> _Decoded:
    """Read a chunk, once: its pixels, and the compressed blocks that hold them."""
    (top, left), (rows, cols), (row, col) = chunk.first, chunk.shape, chunk.place
    blocks = []
    with (
        rasterio.Env(**reading_parts()),
        rasterio.open(chunk.path, driver="GTiff") as file,
        chunk.path.open("rb") as stored,
    ):
        if file.dtypes[0] != spec.dtype or file.block_shapes[0] != (TIFF_BLOCK, TIFF_BLOCK):
            raise ValueError(f"{chunk.path}: is not a part of {spec.dtype}")
        values = file.read(1, window=RasterioWindow(left, top, cols, rows))
        for i in range(0, rows, TIFF_BLOCK):
            for j in range(0, cols, TIFF_BLOCK):
                if values[i : i + TIFF_BLOCK, j : j + TIFF_BLOCK].any():
                    place = f"{(left + j) // TIFF_BLOCK}_{(top + i) // TIFF_BLOCK}"
                    offset, size = (
                        int(file.get_tag_item(f"BLOCK_{what}_{place}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
                    )
                    stored.seek(offset)
                    blocks.append(((row + i) // TIFF_BLOCK, (col + j) // TIFF_BLOCK, stored.read(size)))
    seen = np.zeros(_values(spec), np.bool_)
    return _Decoded(chunk, blocks, halve_pixels(values, how, seen), seen)


def _values(spec: RasterSpec) -> int:
    """How many values a class raster may have; 0 for any other raster."""
    return 1 << 8 * np.dtype(spec.dtype).itemsize if spec.classes else 0


def _compressed(overviews: Sequence[OverviewBlock]) -> list[tuple[OverviewBlock, bytes]]:
    """Compress blocks by GDAL, whose library is faster than Python's; each block by itself."""
    pixels = np.concatenate([block.values for block in overviews])
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=len(pixels), width=TIFF_BLOCK, count=1, dtype=pixels.dtype, BIGTIFF="NO",
            ENDIANNESS="LITTLE", transform=Affine.translation(1, 1), **{**BLOCK_LAYOUT, "ZLEVEL": _OVERVIEW_ZLEVEL},
        ) as file:  # fmt: skip
            file.write(pixels, 1)
        data = bytes(memory.getbuffer())
    return [*zip(overviews, stored_blocks(data), strict=True)]


def _batches(items: Iterable[Item], length: int) -> Iterator[list[Item]]:
    """Yield the items in lists of that length, of which the last one may be shorter."""
    coming = iter(items)
    while batch := list(islice(coming, length)):
        yield batch


def _in_order(pool: Executor, work: Callable[[Item], Found], items: Iterable[Item], ahead: int) -> Iterator[Found]:
    """Yield the results of `work` in the order of `items`, of which at most `ahead` are in progress."""
    pending: deque[Future[Found]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _verify(path: Path, temporary: Path, spec: RasterSpec, digest: str) -> None:
    """Compare the file with what was written, and see that GDAL reads it as the raster that it should be."""
    if sha256(temporary) != digest:
        raise corrupted(path)
    with open_raster(temporary) as file:
        if file.shape != spec.extent.shape or file.dtypes[0] != spec.dtype:
            raise WriteError(f"{path}: reads back as {file.shape} {file.dtypes[0]}; is the disk full?")
