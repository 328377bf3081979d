"""Superpixels: SLIC on a lattice of seeds that is anchored to the scene.

All index pairs are (row, col). Cell (i, j) is the pixels [i * size, (i + 1) * size) x [j * size, (j + 1) * size) of
the scene.

**Assignment.** Every cell has one seed. A pixel chooses among the seeds of the 3 x 3 cells around its own (gSLICr; Ren,
Prisacariu and Reid 2015) the one with the least
|colour - centre colour|^2 + (compactness / size)^2 |position - centre position|^2
(SLIC; Achanta et al. 2012, eq. 3). Then every centre becomes the mean of its pixels, and so on. Unlike SLIC, we first
smooth colours over the valid ones of 3 x 3 pixels with binomial weights (1, 2, 1): on BSDS500 that gains 2 to 5 points
of boundary recall at equal counts and leaves far fewer fragments. No region reaches beyond the 3 x 3 cells of its seed,
so every result is local: computed in blocks with a `halo`, or by any number of threads, it is the same to the bit.
Colours, positions, centres and distances are integers (steps of 1/8 of a unit of L*, see `geoseg.segments.cells`), so
it is also the same on every processor and every GPU; compactness is rounded to 1/8.

**Connectivity.** Every superpixel is made one 4-connected region. The largest component of a label, of equals the first
in raster order, is its *main* component, which is *kept* if it has min_size pixels. All other components are *orphans*.
In each of PASSES passes, an orphan joins the kept region with the longest common border, of equals that with the least
id, provided that the orphan lies within the 3 x 3 cells of that region's seed; it then counts as kept in the next pass.
A main component that is left over keeps its id; any other component that is left over is a region of its own.

**Ids** are stable and never renumbered. The region of the seed of cell (i, j) has the id i * cell columns + j + 1. An
orphan that is left over has the id k * number of cells + (row * cell columns + col of the cell of its first pixel) + 1
if it is the k-th component in raster order, k = 1, 2, .., among those that begin in this cell and are not main, whether
they were merged or not: so k does not depend on what became of them. 0 is no superpixel: an invalid pixel.

Invalid pixels have no influence on anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.kernels import ParallelMap, Range, stripes, worker_threads
from geoseg.segments.colours import (
    STEPS,
    lab_of_bytes,
    lab_of_numbers,
    root_table,
    scaled,
    table_of_bytes,
    table_of_levels,
)
from geoseg.segments.lattice import (
    PASSES,
    SINGLE_THREAD_PIXELS,
    Backend,
    CpuBackend,
    Domain,
    SlicParameters,
    clip,
    colours_of,
    connect,
    widen,
)

LABEL_REACH = 2 * PASSES + 2
"""Cells around a cell within which the labels determine every region that has a pixel in it."""

_REGION_REACH = 2
"""Cells between a pixel and the furthest pixel of its superpixel."""


Chooser = Callable[[Domain, SlicParameters, int, ParallelMap], NDArray[np.uint8]]
"""Computes the choices of the cells of a domain of an array that it knows; see `geoseg.segments.lattice.Backend`."""


@dataclass(frozen=True, eq=False)
class Superpixels:
    """A partition of an array into superpixels.

    Attributes:
        labels: int32 (rows, cols): 0 is no superpixel, 1..n are local indices, in the order of the ids.
        ids: uint32 (n + 1,), strictly ascending, ids[0] == 0; ids[labels] are the ids in the scene. uint64 if one of
            them does not fit into uint32, which takes tens of gigapixels in cells of 16 pixels.
    """

    labels: NDArray[np.int32]
    ids: NDArray[np.unsignedinteger[Any]]


def halo(size: int, iterations: int) -> int:
    """Return the pixels to read on each side of a block so that its superpixels are those of the whole scene.

    The law: for the block expanded by the halo, clipped to the scene, with its origin rounded down to a multiple of
    `size`, `segment` returns the ids of the block exactly, and all pixels of every region with a pixel in the block.

    Derivation, in cells (c+-k: the cells up to k rows and columns from cell c):
    - The first centre of c depends on c. Labels of iteration t in c depend on the centres t - 1 of c+-1; centre t of
      c depends on labels t in c+-1, and on itself before. So labels 1 reach c+-1, and each iteration adds 2: labels
      n depend on the smoothed image in c+-(2n - 1).
    - A label s that occurs in c is a seed of c+-1 and has all its pixels in s+-1, within c+-2. So the components in c,
      which of them are main and which are kept, depend on labels in c+-2.
    - An orphan with a pixel in c lies within c+-2 and may only join a seed j whose 3 x 3 cells contain all of it, so j
      is in c+-1, and its border with the region of j is in j+-1, within c+-2: pass 1 depends on labels in c+-2 too.
    - In each later pass that border is with a region that has grown, whose extent within c+-2 depends on labels two
      cells further: pass p depends on labels in c+-2p.
    - The number k of an orphan in c counts components that begin in one cell of c+-2: labels in c+-4.
    - A region with a pixel in c lies within c+-2, hence all of it depends on labels in c+-(2 PASSES + 2).
    Together these are h = 2 iterations - 1 + 2 PASSES + 2 cells around each cell that the block touches. The block may
    end anywhere in a cell, so the last of these cells ends up to size - 1 pixels further than h * size, and smoothing
    needs one pixel more: (h + 1) * size = (2 iterations + 8) * size pixels.

    Args:
        size: pixels on a side of a cell, at least 1.
        iterations: at least 1.

    Raises:
        ValueError: either is less than 1.
    """
    _check_positive(size=size, iterations=iterations)
    return (2 * iterations - 1 + LABEL_REACH + 1) * size


def reach(size: int) -> int:
    """Return the pixels around a block within which all of every superpixel lies that has a pixel in the block."""
    # A pixel's cell may end size - 1 pixels after it, and the reach counts from the cell.
    return (_REGION_REACH + 1) * size - 1


def colour(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    threads: int = 1,
) -> NDArray[np.int16]:
    """Return the colours that `segment` compares: int16 (channels, rows, cols), in steps of 1/64 of a unit of L*.

    - Three bands are taken as sRGB and converted to CIELAB under D65: L*, a* and b*, each within 0.1 of the exact
      value.
    - Of any other number of bands, each is normalised and multiplied by 100 sqrt(3 / bands). So the distance from black
      to white in all bands is that of three bands with the range of L*, and `compactness` means the same for any
      number.
    Pixels that are invalid, or NaN in any band, are 0 in every channel. `segment` does not know of NaN: pass it a
    `valid` that excludes those pixels.

    Args:
        pixels: (bands, rows, cols), any real dtype.
        valid: bool (rows, cols).
        offset, scale: (bands,) each; (pixels - offset) * scale is clipped to [0, 1]. May be left out for uint8, which
            is then 0..255.
        threads: number of threads.

    Raises:
        ValueError: wrong shapes, complex pixels, or offset or scale missing or not one finite number for each band.
    """
    _check_pixels(pixels, valid)
    _check_positive(threads=threads)
    bands, rows, cols = pixels.shape
    colours = np.empty((bands, rows, cols), np.int16)
    offsets, scales = _normalisation(pixels, offset, scale)
    with worker_threads(threads) as parallel_map:
        pieces = stripes(0, rows, threads if rows * cols > SINGLE_THREAD_PIXELS else 1)
        if bands != 3:
            steps = float(100 * STEPS * np.sqrt(3 / bands))
            parallel_map(lambda r: scaled(pixels, valid, offsets, scales, steps, r, colours), pieces)
            return colours
        root = root_table()
        if pixels.dtype == np.uint8:
            table = table_of_bytes(tuple(offsets), tuple(scales))
            parallel_map(lambda r: lab_of_bytes(pixels, valid, table, root, r, colours), pieces)
        else:
            table = table_of_levels()
            parallel_map(lambda r: lab_of_numbers(pixels, valid, offsets, scales, table, root, r, colours), pieces)
    return colours


def segment(
    colours: NDArray[np.int16],
    valid: NDArray[np.bool_],
    *,
    size: int,
    compactness: float = 10.0,
    iterations: int = 10,
    min_size: int | None = None,
    origin: tuple[int, int] = (0, 0),
    scene_shape: tuple[int, int] | None = None,
    core: tuple[slice, slice] | None = None,
    threads: int = 1,
    backend: Backend | None = None,
) -> Superpixels:
    """Return the superpixels of an array of the scene.

    Args:
        colours: int16 (channels, rows, cols), from `colour`.
        valid: bool (rows, cols).
        size: pixels on a side of a cell, about the side of a superpixel.
        compactness: weight of position against colour, in units of L* per cell; at least 0.
        iterations: of assigning pixels and moving centres.
        min_size: pixels below which a superpixel joins a neighbour if the rules allow it; None for size * size // 4.
        origin: (row, col) in the scene of the array's first pixel, multiples of `size`.
        scene_shape: (rows, cols); None for the array's own shape.
        core: slices (rows, cols) of the array in which the result must be exact (see `halo`). Regions that touch the
            core are then exact as a whole; all other pixels may have any label, 0 included. None for the whole array.
        threads: number of threads.
        backend: what computes the iterations: the kernels for the CPU (None), or a
            `geoseg.segments.device.TorchBackend`. The result does not depend on it.

    Raises:
        ValueError: wrong shapes, dtypes or ranges.
    """
    shape = _check_colours(colours, valid)

    def choose(
        domain: Domain, parameters: SlicParameters, threads: int, parallel_map: ParallelMap
    ) -> NDArray[np.uint8]:
        return (backend or CpuBackend())(colours_of(colours), valid, domain, parameters, threads, parallel_map)

    return segment_by(
        choose, shape, size=size, compactness=compactness, iterations=iterations, min_size=min_size, origin=origin,
        scene_shape=scene_shape, core=core, threads=threads,
    )  # fmt: skip


def segment_by(
    choose: Chooser,
    shape: tuple[int, int],
    *,
    size: int,
    compactness: float = 10.0,
    iterations: int = 10,
    min_size: int | None = None,
    origin: tuple[int, int] = (0, 0),
    scene_shape: tuple[int, int] | None = None,
    core: tuple[slice, slice] | None = None,
    labelled: tuple[slice, slice] | None = None,
    threads: int = 1,
) -> Superpixels:
    """Return the superpixels of an array of the scene whose pixels are elsewhere, on a device for instance.

    Args:
        choose: Computes the choices of the cells of a domain.
        shape: (rows, cols) of the array.
        labelled: slices (rows, cols) of the array whose labels are returned; None for the whole array.
        size, compactness, iterations, min_size, origin, scene_shape, core, threads: As for `segment`.

    Raises:
        ValueError: As for `segment`.
    """
    H, W = shape
    _check_positive(size=size, iterations=iterations, threads=threads)
    if not (np.isfinite(compactness) and compactness >= 0):
        raise ValueError(f"compactness must be a finite number of at least 0, not {compactness}")
    scene_shape = _check_place((H, W), size, origin, scene_shape)
    min_size = size * size // 4 if min_size is None else min_size
    top, bottom, left, right = _edges(labelled, (H, W))
    labels = np.zeros((bottom - top, right - left), np.int32)
    rows, cols = _core_cells(core, (H, W), size)
    if rows[0] == rows[1] or cols[0] == cols[1]:
        return Superpixels(labels, np.zeros(1, np.uint32))
    # Only cells on which the core depends are computed.
    margin = 2 * iterations - 1 + LABEL_REACH
    above, before = max(rows[0] - margin, 0), max(cols[0] - margin, 0)
    below, after = min((rows[1] + margin) * size, H), min((cols[1] + margin) * size, W)
    rows, cols = (
        clip(widen((span[0] - start, span[1] - start), LABEL_REACH), -(-stop // size) - start)
        for span, start, stop in ((rows, above, below), (cols, before, after))
    )
    first = (origin[0] // size + above, origin[1] // size + before)
    inside = (scene_shape[0] - first[0] * size, scene_shape[1] - first[1] * size)
    corner, shape = (above * size, before * size), (below - above * size, after - before * size)
    with worker_threads(threads) as parallel_map:
        domain, parameters = Domain(corner, shape, inside, rows, cols), SlicParameters(size, compactness, iterations)
        choice = choose(domain, parameters, threads, parallel_map)
        first = (first[0] + rows[0], first[1] + cols[0])
        begin = corner[0] + rows[0] * size, corner[1] + cols[0] * size
        extent = min(rows[1] * size, shape[0]) - rows[0] * size, min(cols[1] * size, shape[1]) - cols[0] * size
        place = top - begin[0], left - begin[1]
        ids = connect(choice, size, min_size, first, scene_shape, extent, place, labels, threads, parallel_map)
    return Superpixels(labels, ids)


def _edges(part: tuple[slice, slice] | None, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the first row and the row after the last, then the columns, of a part of an array."""
    rows, cols = part or (slice(None), slice(None))
    return *rows.indices(shape[0])[:2], *cols.indices(shape[1])[:2]


def _core_cells(core: tuple[slice, slice] | None, shape: tuple[int, int], size: int) -> tuple[Range, Range]:
    """Return the ranges of cell rows and columns that the core touches."""
    spans = []
    for piece, length in zip(core or (slice(None), slice(None)), shape, strict=True):
        start, stop, step = piece.indices(length)
        if step != 1:
            raise ValueError(f"core must be two slices of step 1, not {core}")
        spans.append((start // size, -(-stop // size)) if start < stop else (0, 0))
    return spans[0], spans[1]


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def _check_colours(colours: NDArray[np.int16], valid: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (rows, cols)."""
    if colours.dtype != np.int16 or colours.ndim != 3:
        raise ValueError(f"colours must be int16 (channels, rows, cols), not {colours.dtype} {colours.shape}")
    if colours.shape[0] < 1:
        raise ValueError("colours need at least one channel")
    if valid.dtype != np.bool_ or valid.shape != colours.shape[1:]:
        raise ValueError(
            f"valid must be bool {colours.shape[1:]} to match the colours, not {valid.dtype} {valid.shape}"
        )
    return colours.shape[1], colours.shape[2]


def _check_place(
    shape: tuple[int, int], size: int, origin: tuple[int, int], scene_shape: tuple[int, int] | None
) -> tuple[int, int]:
    scene_shape = shape if scene_shape is None else scene_shape
    for start, length, scene_length in zip(origin, shape, scene_shape, strict=True):
        if start < 0 or start % size:
            raise ValueError(f"origin must be multiples of the size {size}, not {origin}")
        if start + length > scene_length:
            raise ValueError(f"an array of {shape} at {origin} does not lie in a scene of {scene_shape}")
    return scene_shape


def _check_pixels(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    if pixels.ndim != 3 or pixels.shape[0] < 1 or pixels.dtype.kind not in "buif":
        raise ValueError(f"pixels must be real (bands, rows, cols), not {pixels.dtype} {pixels.shape}")
    if valid.dtype != np.bool_ or valid.shape != pixels.shape[1:]:
        raise ValueError(f"valid must be bool {pixels.shape[1:]}, not {valid.dtype} {valid.shape}")


def _normalisation(
    pixels: NDArray[Any], offset: ArrayLike | None, scale: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offset and scale, float64 (bands,) each, checked."""
    if offset is None and scale is None and pixels.dtype == np.uint8:
        return np.zeros(len(pixels)), np.full(len(pixels), 1 / 255)
    if offset is None or scale is None:
        raise ValueError(f"pixels of type {pixels.dtype} need both offset and scale, or uint8 neither")
    pair = np.asarray(offset, np.float64), np.asarray(scale, np.float64)
    if any(values.shape != (len(pixels),) or not np.isfinite(values).all() for values in pair):
        raise ValueError(f"offset and scale must be one finite number for each of {len(pixels)} bands")
    return pair
