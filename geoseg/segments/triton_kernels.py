"""Superpixels on a GPU of NVIDIA's, as Triton kernels: each reads its pixels once, where tensor operations would write
every intermediate to memory and read it again.

    colours   uint8 --tables--> int16 steps of 1/64 of a unit of L*
    smooth    binomial means over 3 x 3 valid pixels, in steps of the lattice
    choose    one program per cell: the nearest of nine centres for each pixel, and the sums for the next centres

All of it are integers, and a few operations of IEEE 754 that are not fused, so that the results are those of the
kernels for a CPU. Triton comes with PyTorch for GPUs; without it, `geoseg.segments.device` uses tensor operations.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from geoseg.segments.cells import NONE, OWN, places, scale, tile_pixels
from geoseg.segments.colours import STEPS
from geoseg.segments.lattice import SlicParameters

MAX_SIZE = 32
"""Largest side of a cell: one program holds all pixels of a cell."""

_PIXELS = 1024
"""Pixels of one program of the kernels that treat pixels alone."""

_NONE, _OWN = tl.constexpr(NONE), tl.constexpr(OWN)
_STEPS = tl.constexpr(float(STEPS))
_ROUND = tl.constexpr(12582912.0)
"""1.5 * 2^23: adding and subtracting it rounds a float32 below 2^22 to the nearest integer, of two to the even one."""


def fits(colours: Tensor, size: int) -> bool:
    """Return whether `choices` can compute an array: its offsets are 32-bit integers."""
    return size <= MAX_SIZE and colours.numel() < 2**31


def lab_of_bytes(pixels: Tensor, valid: Tensor, table: Tensor, root: Tensor) -> Tensor:
    """Return the colours, int16 (3, rows, cols), of uint8 (3, rows, cols); see `geoseg.segments.colours`.

    Args:
        pixels: Of any strides, but for columns side by side.
        valid: bool (rows, cols), likewise.
        table: float32 (3, 256, 4).
        root: float32 (LEVELS,).
    """
    rows, cols = valid.shape
    lab = torch.empty(3, rows, cols, dtype=torch.int16, device=pixels.device)
    grid = (triton.cdiv(cols, _PIXELS), rows)
    _lab[grid](
        pixels, valid, table, root, lab, cols, pixels.stride(0), pixels.stride(1), valid.stride(0), rows * cols,
        BLOCK=_PIXELS, enable_fp_fusion=False,
    )  # fmt: skip
    return lab


def iterations(
    colours: Tensor, valid: Tensor, parameters: SlicParameters, inner: tuple[slice, slice], inside: tuple[int, int]
) -> Tensor:
    """Return the choices of all cells; the arguments and the result are those of `geoseg.segments.device`."""
    B, C, size = len(colours), colours.shape[1], parameters.size
    pitch, factor, bound = scale(parameters.compactness, C)
    steps = _smoothed(colours, valid, float(factor), bound)[..., inner[0], inner[1]]
    known = valid[..., inner[0], inner[1]]
    H, W = known.shape[-2:]
    I, J, T = -(-H // size), -(-W // size), tile_pixels(size)  # noqa: E741
    place = _places(size, pitch, colours.device)
    choice = torch.empty(B, I, J, T, dtype=torch.uint8, device=colours.device)
    where = (
        steps, known, place, steps.stride(0), steps.stride(1), steps.stride(2), known.stride(0), known.stride(1), H, W,
        I, J,
    )  # fmt: skip
    shape: dict[str, Any] = {
        "CHANNELS": C,
        "SIZE": size,
        "T": T,
        "BLOCK": triton.next_power_of_2(T),
        "num_warps": 1 if size <= 16 else 4,
    }
    grid = (J, I, B)
    own = torch.empty(B, I, J, 3 + C, dtype=torch.int32, device=colours.device)
    first = torch.empty(B, I, J, 2 + C, dtype=torch.int32, device=colours.device)
    _start[grid](*where, *inside, own, first, **shape)
    alive = own[..., 0] > 0
    # A cell's first centre is the pixel in its middle or, if that is invalid, the mean.
    centres = torch.where(first[..., :1] >= 0, first, _means(own))
    for step in range(parameters.iterations):
        sums = torch.zeros_like(own)
        last = step == parameters.iterations - 1
        _choose[grid](*where, pitch, centres, alive, choice, sums, LAST=last, **shape)
        if not last:
            centres = torch.where(sums[..., :1] > 0, _means(sums), centres)
    return choice


@cache
def _places(size: int, pitch: int, device: torch.device) -> Tensor:
    """Return `geoseg.segments.cells.places`, int32 (2, T), on the device."""
    return torch.from_numpy(places(size, pitch)).to(device).int().T.contiguous()


def _means(sums: Tensor) -> Tensor:
    return torch.round(sums[..., 1:].double() / sums[..., :1].clamp(min=1).double()).int()


def _smoothed(colours: Tensor, valid: Tensor, factor: float, bound: int) -> Tensor:
    """Return the smoothed colours in steps of the lattice, int16 (B, C, rows, cols)."""
    (B, C, rows, cols), ok = colours.shape, valid
    steps = torch.empty(B, C, rows, cols, dtype=torch.int16, device=colours.device)
    grid = (triton.cdiv(cols, _PIXELS), rows, B)
    _smooth[grid](
        colours, ok, steps, rows, cols, colours.stride(0), colours.stride(1), colours.stride(2), ok.stride(0),
        ok.stride(1), factor, bound, CHANNELS=C, BLOCK=_PIXELS, enable_fp_fusion=False,
    )  # fmt: skip
    return steps


@triton.jit
def _rounded(value):
    return (value + _ROUND) - _ROUND


@triton.jit
def _lab(pixels, valid, table, root, lab, cols, band, row_stride, valid_stride, plane, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    col = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = col < cols
    ok = tl.load(valid + row * valid_stride + col, mask=here, other=0) != 0
    at = pixels + row * row_stride + col
    red = tl.load(at, mask=here, other=0).to(tl.int32) * 4
    green = tl.load(at + band, mask=here, other=0).to(tl.int32) * 4 + 1024
    blue = tl.load(at + 2 * band, mask=here, other=0).to(tl.int32) * 4 + 2048
    x = tl.load(table + red) + tl.load(table + green) + tl.load(table + blue) + 0.5
    y = tl.load(table + red + 1) + tl.load(table + green + 1) + tl.load(table + blue + 1) + 0.5
    z = tl.load(table + red + 2) + tl.load(table + green + 2) + tl.load(table + blue + 2) + 0.5
    fx = tl.load(root + x.to(tl.int32))
    fy = tl.load(root + y.to(tl.int32))
    fz = tl.load(root + z.to(tl.int32))
    lightness = _rounded((fy * 116.0 - 16.0) * _STEPS)
    a = _rounded((fx - fy) * (500.0 * _STEPS))
    b = _rounded((fy - fz) * (200.0 * _STEPS))
    out = lab + row * cols + col
    tl.store(out, tl.where(ok, lightness, 0.0).to(tl.int16), mask=here)
    tl.store(out + plane, tl.where(ok, a, 0.0).to(tl.int16), mask=here)
    tl.store(out + 2 * plane, tl.where(ok, b, 0.0).to(tl.int16), mask=here)


@triton.jit
def _smooth(
    colours, valid, steps, rows, cols, of_patch, of_channel, of_row, valid_patch, valid_row, factor, bound,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, patch = tl.program_id(1), tl.program_id(2)
    col = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = col < cols
    ok = valid + patch * valid_patch
    weight = tl.zeros([BLOCK], tl.int32)
    for k in tl.static_range(9):
        y, x = row + k // 3 - 1, col + k % 3 - 1
        near = (y >= 0) & (y < rows) & (x >= 0) & (x < cols)
        share = (2 - (k // 3 - 1) * (k // 3 - 1)) * (2 - (k % 3 - 1) * (k % 3 - 1))
        weight += share * (tl.load(ok + y * valid_row + x, mask=near, other=0) != 0).to(tl.int32)
    centre = tl.load(ok + row * valid_row + col, mask=here, other=0) != 0
    double = tl.maximum(2 * weight, 1)
    for c in tl.static_range(CHANNELS):
        total = tl.zeros([BLOCK], tl.int32)
        for k in tl.static_range(9):
            y, x = row + k // 3 - 1, col + k % 3 - 1
            near = (y >= 0) & (y < rows) & (x >= 0) & (x < cols)
            near = near & (tl.load(ok + y * valid_row + x, mask=near, other=0) != 0)
            share = (2 - (k // 3 - 1) * (k // 3 - 1)) * (2 - (k % 3 - 1) * (k % 3 - 1))
            at = colours + patch * of_patch + c * of_channel + y * of_row + x
            total += share * tl.load(at, mask=near, other=0).to(tl.int32)
        # Rounded half up: the quotient is that of floor, whatever the division of negative numbers does.
        numerator = 2 * total + weight
        mean = numerator // double
        mean -= (numerator - mean * double < 0).to(tl.int32)
        step = _rounded(mean.to(tl.float32) * factor)
        step = tl.minimum(tl.maximum(step, 0.0 - bound), 0.0 + bound)
        out = steps + ((patch * CHANNELS + c) * rows + row) * cols + col
        tl.store(out, tl.where(centre, step, 0.0).to(tl.int16), mask=here)


@triton.jit
def _pixels(known, i, j, patch, known_patch, known_row, H, W, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Return row, column and validity of the pixels of cell (i, j)."""
    p = tl.arange(0, BLOCK)
    row, col = i * SIZE + p // SIZE, j * SIZE + p % SIZE
    inside = (p < SIZE * SIZE) & (row < H) & (col < W)
    ok = tl.load(known + patch * known_patch + row * known_row + col, mask=inside, other=0) != 0
    return row, col, ok


@triton.jit
def _start(
    steps, known, place, of_patch, of_channel, of_row, known_patch, known_row, H, W, cell_rows,
    cell_cols, inside_rows, inside_cols,
    own, first, CHANNELS: tl.constexpr, SIZE: tl.constexpr, T: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sums of each cell's own pixels, and the place and colour of its middle, or -1 if that is invalid."""
    j, i, patch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    p = tl.arange(0, BLOCK)
    row, col, ok = _pixels(known, i, j, patch, known_patch, known_row, H, W, SIZE, BLOCK)
    cell = (patch * cell_rows + i) * cell_cols + j
    y = tl.minimum(inside_rows - i * SIZE, SIZE) // 2
    x = tl.minimum(inside_cols - j * SIZE, SIZE) // 2
    middle = (p == y * SIZE + x) & ok
    is_known = tl.sum(middle.to(tl.int32)) > 0
    tl.store(own + cell * (3 + CHANNELS), tl.sum(ok.to(tl.int32)))
    for v in tl.static_range(2 + CHANNELS):
        if v < 2:
            value = tl.load(place + v * T + p, mask=p < T, other=0)
        else:
            at = steps + patch * of_patch + (v - 2) * of_channel + row * of_row + col
            value = tl.load(at, mask=ok, other=0).to(tl.int32)
        tl.store(own + cell * (3 + CHANNELS) + 1 + v, tl.sum(tl.where(ok, value, 0)))
        chosen = tl.sum(tl.where(middle, value, 0))
        # Places are not negative, so the first value tells whether there is a middle.
        tl.store(first + cell * (2 + CHANNELS) + v, tl.where(is_known, chosen, -1))


@triton.jit
def _choose(
    steps, known, place, of_patch, of_channel, of_row, known_patch, known_row, H, W, cell_rows, cell_cols, pitch,
    centres, alive, choice, sums, LAST: tl.constexpr, CHANNELS: tl.constexpr, SIZE: tl.constexpr, T: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the choice of each pixel of a cell and, unless it is the last time, add the pixels to the sums."""
    j, i, patch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    p = tl.arange(0, BLOCK)
    row, col, ok = _pixels(known, i, j, patch, known_patch, known_row, H, W, SIZE, BLOCK)
    place_y = tl.load(place + p, mask=p < T, other=0)
    place_x = tl.load(place + T + p, mask=p < T, other=0)
    at = steps + patch * of_patch + row * of_row + col
    best = tl.full([BLOCK], 2147483647, tl.int32)
    which = tl.full([BLOCK], _OWN, tl.int32)
    for k in tl.static_range(9):
        ni, nj = i + k // 3 - 1, j + k % 3 - 1
        near = (ni >= 0) & (ni < cell_rows) & (nj >= 0) & (nj < cell_cols)
        cell = (patch * cell_rows + ni) * cell_cols + nj
        near = near & (tl.load(alive + cell, mask=near, other=0) != 0)
        centre = centres + cell * (2 + CHANNELS)
        down = place_y - (tl.load(centre, mask=near, other=0) + (k // 3 - 1) * pitch)
        right = place_x - (tl.load(centre + 1, mask=near, other=0) + (k % 3 - 1) * pitch)
        distance = down * down + right * right
        for c in tl.static_range(CHANNELS):
            value = tl.load(at + c * of_channel, mask=ok, other=0).to(tl.int32)
            apart = value - tl.load(centre + 2 + c, mask=near, other=0)
            distance += apart * apart
        nearer = near & (distance < best)
        which = tl.where(nearer, k, which)
        best = tl.where(nearer, distance, best)
    which = tl.where(ok, which, _NONE)
    tl.store(choice + ((patch * cell_rows + i) * cell_cols + j) * T + p, which.to(tl.uint8), mask=p < T)
    if not LAST:
        for k in tl.static_range(9):
            mine = which == k
            count = tl.sum(mine.to(tl.int32))
            ni, nj = i + k // 3 - 1, j + k % 3 - 1
            if count > 0:
                total = sums + ((patch * cell_rows + ni) * cell_cols + nj) * (3 + CHANNELS)
                tl.atomic_add(total, count)
                tl.atomic_add(total + 1, tl.sum(tl.where(mine, place_y - (k // 3 - 1) * pitch, 0)))
                tl.atomic_add(total + 2, tl.sum(tl.where(mine, place_x - (k % 3 - 1) * pitch, 0)))
                for c in tl.static_range(CHANNELS):
                    value = tl.load(at + c * of_channel, mask=mine, other=0).to(tl.int32)
                    tl.atomic_add(total + 3 + c, tl.sum(value))
