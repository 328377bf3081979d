"""Superpixels: SLIC on a lattice of seeds that is anchored to the scene.

All index pairs are (row, col). Cell (i, j) is the pixels [i * size, (i + 1) * size) x [j * size, (j + 1) * size) of
the scene. Every cell has one seed, and a pixel chooses among the seeds of the 3 x 3 cells around its own (the rule
of gSLICr, Ren, Prisacariu and Reid 2015, in place of the window of SLIC), the one with the least
|colour - centre colour|^2 + (compactness / size)^2 |position - centre position|^2
(Achanta et al. 2012, SLIC); then every centre becomes the mean of its pixels, and so on. Colours are first smoothed
over 3 x 3 pixels with binomial weights (1, 2, 1), invalid ones left out, which SLIC does not do: on BSDS500 it gains
2 to 5 points of boundary recall at equal counts, and there are far fewer fragments. No region reaches beyond the
3 x 3 cells of its seed, so every result is local: computed in blocks with a `halo`, or in any number of threads, it
is the same to the bit. Colours, positions, centres and distances are integers (steps of 1/8 of a unit of L*, see
`geoseg.segments.cells`), so that it is also the same on every processor and every GPU; compactness is resolved to 1/8.

Then every superpixel is made one 4-connected region. The largest component of a label (of equals the first in raster
order) is its *main* one, and it is *kept* if it has min_size pixels. Every other component is an orphan. PASSES
times, each orphan joins the kept region with the longest common border (of equals the least id), provided that the
orphan lies within the 3 x 3 cells of that region's seed; what joined in one pass counts as kept in the next. A main
component left over keeps its id; any other is a region of its own.

Ids are stable and never renumbered. The region of the seed of cell (i, j) is i * cell columns + j + 1. An orphan left
over is k * cells + (cell of its first pixel, row * cell columns + col) + 1, if it is the k-th component in raster
order, k = 1, 2, ..., among those that begin in this cell and are not main (merged or not: so counting needs no
knowledge of how the others fared). 0 is no superpixel: an invalid pixel.

Pixels are valid or not throughout; an invalid one has no influence on anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoseg.kernels import Rows, stripes, team
from geoseg.segments import colours
from geoseg.segments.colours import STEPS
from geoseg.segments.lattice import PASSES, SMALL, Area, Chooser, Rule, choose, clip, connect, widen

__all__ = ["PASSES", "STEPS", "Superpixels", "colour", "halo", "segment", "segment_batch"]

REACH = 2 * PASSES + 2
"""The cells around a pixel within which labels decide on the whole of every region that has a part in its cell."""


@dataclass(frozen=True, eq=False)
class Superpixels:
    """A partition of an array into superpixels.

    labels: int32 (rows, cols): 0 = no superpixel, 1..n = local index, without gaps, in the order of the ids.
    ids: uint32 (n + 1,), strictly ascending, ids[0] == 0; ids[labels] is the map of scene-wide ids.
    """

    labels: NDArray[np.int32]
    ids: NDArray[np.uint32]


def halo(size: int, iterations: int) -> int:
    """Return the pixels to read on each side of a block so that its superpixels are those of the whole scene.

    The law: with the block widened by the halo, clipped to the scene and its origin floored to a multiple of `size`,
    `segment` yields the ids of the block exactly, and all pixels of every region with a pixel in the block.

    Derivation, in cells (c+-k: the cells up to k rows and columns from cell c):
    - The first centre of c depends on c. Labels of iteration t in c depend on the centres t - 1 of c+-1; centre t of
      c depends on labels t in c+-1, and on itself before. So labels 1 reach c+-1, and each iteration adds 2: labels
      n depend on the smoothed image in c+-(2n - 1).
    - A label s found in c is a seed of c+-1 and has all its pixels in s+-1, within c+-2. So which components there
      are, which is main and which is kept, is known in c from labels in c+-2.
    - An orphan with a pixel in c lies within c+-2 and may only join a seed j whose 3 x 3 cells hold all of it, so j
      is in c+-1, and its border with the region of j is in j+-1, within c+-2: pass 1 depends on labels in c+-2 too.
    - In each later pass that border is with a region grown before, whose extent within c+-2 was known from labels two
      cells further: pass p depends on labels in c+-2p.
    - The number k of an orphan in c counts components that begin in one cell of c+-2: labels in c+-4.
    - A region with a pixel in c lies within c+-2, hence the whole of it depends on labels in c+-(2 PASSES + 2).
    Together h = 2 iterations - 1 + 2 PASSES + 2 cells around each cell that the block touches. The block may end
    anywhere in a cell, so the last of these cells ends up to size - 1 pixels further than h * size, and smoothing
    needs one pixel more: (h + 1) * size = (2 iterations + 8) * size pixels.

    size: pixels, >= 1. iterations: >= 1. Raises ValueError for less.
    """
    _check_positive(size=size, iterations=iterations)
    return (2 * iterations - 1 + REACH + 1) * size


def colour(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    offset: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    threads: int = 1,
) -> NDArray[np.int16]:
    """Return the features that `segment` compares: int16 (channels, rows, cols), in steps of 1/64 of a unit of L*.

    pixels (bands, rows, cols), any real dtype. uint8 without offset and scale is 0..255; anything else needs both,
    (bands,) each, such that (pixels - offset) * scale is about 0..1; it is clipped to that.
    - three bands: taken as sRGB and converted to CIELAB under D65; all of L*, a*, b* in 1/64, within 0.1 of exact.
    - any other number: each band normalised, times 100 sqrt(3 / bands), the L* of white shared out among them: a
      change in all bands from black to white is as far as in three bands of L*'s range each, so that `compactness`
      keeps its meaning from 1 to 13 bands and more.
    Pixels that are not `valid` (bool, (rows, cols)), or NaN in any band, are 0 in every channel; note that `segment`
    has to be told of NaN by its own `valid`.

    Raises ValueError for wrong shapes, complex pixels, and offset or scale missing or not one finite value per band.
    """
    _check_pixels(pixels, valid)
    _check_positive(threads=threads)
    bands, rows, cols = pixels.shape
    features = np.empty((bands, rows, cols), np.int16)
    offsets, scales = _normalisation(pixels, offset, scale)
    with team(threads) as each:
        pieces = stripes(0, rows, threads if rows * cols > SMALL else 1)
        if bands != 3:
            steps = float(100 * STEPS * np.sqrt(3 / bands))
            each(lambda r: colours.scaled(pixels, valid, offsets, scales, steps, r, features), pieces)
            return features
        root = colours.root_table()
        if pixels.dtype == np.uint8:
            levels = (np.arange(256) - offsets[:, None]) * scales[:, None]
            table = colours.xyz_table(np.clip(levels, 0, 1))
            each(lambda r: colours.lab_of_bytes(pixels, valid, table, root, r, features), pieces)
        else:
            levels = np.broadcast_to(np.linspace(0, 1, colours.LEVELS), (3, colours.LEVELS))
            table = colours.xyz_table(levels)
            each(
                lambda r: colours.lab_of_numbers(pixels, valid, offsets, scales, table, root, r, features),
                pieces,
            )
    return features


def segment(
    features: NDArray[np.int16],
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
    chooser: Chooser = choose,
) -> Superpixels:
    """Return the superpixels of an array of the scene.

    features: int16 (channels, rows, cols) from `colour`. valid: bool (rows, cols).
    size: pixels on a side of a cell, about the side of a superpixel. compactness: weight of position against colour,
    in units of L* per cell; iterations: of assigning pixels and moving centres. min_size: pixels below which a
    superpixel is given to a neighbour where the rules allow it; size * size // 4 unless given.
    origin: (row, col) in the scene of the array's first pixel, multiples of size. scene_shape: (rows, cols), the
    array's own shape unless given. core: the slices of the array in which the result must be exact (see `halo`); all
    pixels of regions that touch it are exact too, others may have any label, 0 included. threads: how many to use.
    chooser: what computes the iterations: the kernels here, or a `device.TorchChooser`. The result does not
    depend on it.

    Raises ValueError for wrong shapes, types and ranges, and if an id exceeds uint32 (a scene of billions of
    pixels in very small cells).
    """
    H, W = _check_features(features, valid, 3)
    _check_positive(size=size, iterations=iterations, threads=threads)
    if not (np.isfinite(compactness) and compactness >= 0):
        raise ValueError(f"compactness must be a finite number of at least 0, not {compactness}")
    scene_shape = _check_place((H, W), size, origin, scene_shape)
    min_size = size * size // 4 if min_size is None else min_size
    labels = np.zeros((H, W), np.int32)
    rows, cols = _core_cells(core, (H, W), size)
    if rows[0] == rows[1] or cols[0] == cols[1]:
        return Superpixels(labels, np.zeros(1, np.uint32))
    # Only what the core depends on is read and computed.
    reach = 2 * iterations - 1 + REACH
    above, left = max(rows[0] - reach, 0), max(cols[0] - reach, 0)
    below, right = min((rows[1] + reach) * size, H), min((cols[1] + reach) * size, W)
    rows, cols = (
        clip(widen((span[0] - start, span[1] - start), REACH), -(-stop // size) - start)
        for span, start, stop in ((rows, above, below), (cols, left, right))
    )
    first = (origin[0] // size + above, origin[1] // size + left)
    inside = (scene_shape[0] - first[0] * size, scene_shape[1] - first[1] * size)
    corner, shape = (above * size, left * size), (below - above * size, right - left * size)
    with team(threads) as each:
        area, rule = Area(corner, shape, inside, rows, cols), Rule(size, compactness, iterations)
        choice = chooser(features, valid, area, rule, threads, each)
        first = (first[0] + rows[0], first[1] + cols[0])
        painted = labels[above * size : below, left * size : right]
        painted = painted[rows[0] * size : rows[1] * size, cols[0] * size : cols[1] * size]
        ids = connect(choice, size, min_size, first, scene_shape, painted, threads, each)
    return Superpixels(labels, ids)


def segment_batch(
    features: NDArray[np.int16],
    valid: NDArray[np.bool_],
    *,
    size: int,
    compactness: float = 10.0,
    iterations: int = 10,
    min_size: int | None = None,
    threads: int = 1,
) -> list[Superpixels]:
    """Return the superpixels of each of a batch of patches, every patch a scene of its own.

    features: int16 (patches, channels, rows, cols). valid: bool (patches, rows, cols). Patches are computed
    in parallel; for the other arguments and errors see `segment`.
    """
    _check_features(features, valid, 4)
    _check_positive(threads=threads)

    def one(patch: Rows) -> Superpixels:
        return segment(
            features[patch[0]], valid[patch[0]], size=size, compactness=compactness, iterations=iterations,
            min_size=min_size,
        )  # fmt: skip

    with team(threads) as each:
        return each(one, [(b, b + 1) for b in range(len(features))])


def _core_cells(core: tuple[slice, slice] | None, shape: tuple[int, int], size: int) -> tuple[Rows, Rows]:
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


def _check_features(features: NDArray[np.int16], valid: NDArray[np.bool_], axes: int) -> tuple[int, int]:
    if features.dtype != np.int16 or features.ndim != axes:
        raise ValueError(f"features must be int16 with {axes} axes, not {features.dtype} {features.shape}")
    if features.shape[-3] < 1:
        raise ValueError("features need at least one channel")
    expected = (*features.shape[:-3], *features.shape[-2:])
    if valid.dtype != np.bool_ or valid.shape != expected:
        raise ValueError(f"valid must be bool {expected} to match the features, not {valid.dtype} {valid.shape}")
    return expected[-2], expected[-1]


def _check_place(
    shape: tuple[int, int], size: int, origin: tuple[int, int], scene_shape: tuple[int, int] | None
) -> tuple[int, int]:
    scene_shape = shape if scene_shape is None else scene_shape
    for at, extent, scene in zip(origin, shape, scene_shape, strict=True):
        if at < 0 or at % size:
            raise ValueError(f"origin must be multiples of the size {size}, not {origin}")
        if at + extent > scene:
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
    """Return offset and scale (bands,), checked."""
    if offset is None and scale is None and pixels.dtype == np.uint8:
        return np.zeros(len(pixels)), np.full(len(pixels), 1 / 255)
    if offset is None or scale is None:
        raise ValueError(f"pixels of type {pixels.dtype} need both offset and scale, or uint8 neither")
    pair = np.asarray(offset, np.float64), np.asarray(scale, np.float64)
    if any(values.shape != (len(pixels),) or not np.isfinite(values).all() for values in pair):
        raise ValueError(f"offset and scale must be one finite number for each of {len(pixels)} bands")
    return pair


_REGION_REACH = 2
"""Cells between a pixel and the furthest pixel of its superpixel."""


def reach(size: int) -> int:
    """Return the pixels around a block within which lies all of every superpixel that has a pixel in the block."""
    # A pixel's cell may end size - 1 pixels after it: the reach is counted from the cell.
    return (_REGION_REACH + 1) * size - 1
