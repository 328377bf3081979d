"""Superpixels on a torch device: the iterations of `geoseg.segments.superpixels` as tensor operations, with results
that are equal in every pixel.

Colours, positions and centres are the integers of `geoseg.segments.cells`. Their products and sums are exact in
floating point as long as they fit its mantissa, in whatever order a device adds them; the one division is that of IEEE
754, and is rounded in the same way.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.kernels import ParallelMap, Range, worker_threads
from geoseg.segments.candidates import CANDIDATES
from geoseg.segments.cells import NONE, OWN, places, scale, tile_pixels
from geoseg.segments.lattice import Backend, Colours, CpuBackend, Domain, SlicParameters, connect
from geoseg.segments.superpixels import Superpixels

log = logging.getLogger(__name__)

LAUNCHES = Lock()
"""Held while kernels are launched: Triton compiles them at the first launch, and not in two threads at once."""


@cache
def triton_kernels(device: torch.device) -> Any:
    """Return the module `geoseg.segments.triton_kernels` if its kernels run on a device, else None.

    They need a GPU of NVIDIA's, Triton, which comes with PyTorch for these, and a compiler of C.
    """
    if device.type != "cuda":
        return None
    try:
        from geoseg.segments import triton_kernels as kernels

        random = np.random.default_rng(0)
        colours = torch.from_numpy(random.integers(-6400, 6400, (1, 3, 64, 64)).astype(np.int16)).to(device)
        valid = torch.from_numpy(random.random((1, 64, 64)) > 0.05).to(device)
        given = colours, valid, SlicParameters(16, 10.0, 3), (slice(None), slice(None)), (64, 64)
        with LAUNCHES:
            found = kernels.iterations(*given)
        if not torch.equal(found, tensor_iterations(*given)):
            raise RuntimeError("they give other superpixels than torch's operations")
    except Exception as error:  # what a missing or an old Triton raises is its own affair
        log.warning("%s: superpixels are slower than they could be: Triton's kernels do not run (%s)", device, error)
        return None
    return kernels


@dataclass(frozen=True)
class TorchBackend:
    """The backend of `geoseg.segments.superpixels.segment` on a torch device."""

    device: torch.device

    def __call__(
        self,
        colours: Colours,
        valid: NDArray[np.bool_],
        domain: Domain,
        parameters: SlicParameters,
        _threads: int,
        _parallel_map: ParallelMap,
    ) -> NDArray[np.uint8]:
        """Return the choices of the domain's cells, uint8 (cell rows, cell cols, T)."""
        every = np.ascontiguousarray(colours((slice(None), slice(None))))
        there = torch.from_numpy(every).to(self.device), torch.from_numpy(valid).to(self.device)
        result: NDArray[np.uint8] = choices(*there, domain, parameters).cpu().numpy()
        return result


def choices(
    colours: Tensor, valid: Tensor, domain: Domain, parameters: SlicParameters, largest: float | None = None
) -> Tensor:
    """Return the choices of the domain's cells, uint8 (cell rows, cell cols, T), on the device of the arguments.

    Args:
        colours: int16 (channels, rows, cols), from `geoseg.segments.superpixels.colour`.
        valid: bool (rows, cols).
        domain: The part of these arrays to compute.
        parameters: Of the segmentation.
        largest: Largest absolute colour, if it is known; else it is looked for, and the device waited for.
    """
    (top, left), (H, W) = domain.corner, domain.shape
    # Smoothing reads one pixel beyond the domain.
    rows, cols = slice(max(top - 1, 0), top + H + 1), slice(max(left - 1, 0), left + W + 1)
    inner = slice(min(top, 1), min(top, 1) + H), slice(min(left, 1), min(left, 1) + W)
    choice = segment_iterations(
        colours[None, :, rows, cols], valid[None, rows, cols], parameters, inner, domain.inside, largest
    )
    return choice[0, slice(*domain.rows), slice(*domain.cols)]


def backend_for(device: torch.device) -> Backend:
    """Return the backend to use with a network on `device`: a CUDA device itself, the kernels on the CPU for others."""
    return TorchBackend(device) if device.type == "cuda" else CpuBackend()


def segment_iterations(
    colours: Tensor,
    valid: Tensor,
    parameters: SlicParameters,
    inner: tuple[slice, slice] = (slice(None), slice(None)),
    inside: tuple[int, int] | None = None,
    largest: float | None = None,
) -> Tensor:
    """Return the choice of each pixel of each cell.

    Args:
        colours: int16 (patches, channels, rows, cols), from `geoseg.segments.superpixels.colour`.
        valid: bool (patches, rows, cols), on the same device.
        parameters: of the segmentation.
        inner: slices (rows, cols) of the part that is cut into cells; pixels around it only take part in smoothing.
        inside: (rows, cols) of the scene from the first pixel of that part on; None for the shape of the part.
        largest: as for `choices`.

    Returns:
        uint8 (patches, cell rows, cell cols, T): 0..8 is one of the 3 x 3 cells around the pixel's own, in raster
        order; `NONE` is an invalid pixel, or padding. T is `tile_pixels(size)`.
    """
    kernels = triton_kernels(colours.device)
    if kernels is not None and kernels.fits(colours, parameters.size):
        height, width = valid[..., inner[0], inner[1]].shape[-2:] if inside is None else inside
        with LAUNCHES:
            found: Tensor = kernels.iterations(colours, valid, parameters, inner, (height, width))
        return found
    return tensor_iterations(colours, valid, parameters, inner, inside, largest)


def tensor_iterations(
    colours: Tensor,
    valid: Tensor,
    parameters: SlicParameters,
    inner: tuple[slice, slice] = (slice(None), slice(None)),
    inside: tuple[int, int] | None = None,
    largest: float | None = None,
) -> Tensor:
    """Return what `segment_iterations` does, by operations of torch alone."""
    size, channels = parameters.size, colours.shape[1]
    pitch, factor, bound = scale(parameters.compactness, channels)
    steps = torch.round(_smooth(colours, valid).float() * float(factor)).clamp(-bound, bound)
    steps, valid = steps[..., inner[0], inner[1]], valid[..., inner[0], inner[1]]
    known = _cells(valid[:, None].float(), size)[:, :, :, 0] > 0  # (B, I, J, T)
    place = torch.from_numpy(places(size, pitch)).to(valid.device).T.float()  # (2, T)
    tiles = _cells(steps, size)
    points = torch.cat([place.expand(*tiles.shape[:3], 2, -1), tiles], dim=3)  # (B, I, J, 2 + C, T)
    top = float(steps.abs().amax()) if largest is None else min(bound, largest * float(factor) + 1)
    points = points.to(exact_type(pitch, top, channels, size))
    count = known.sum(-1, dtype=torch.int32)
    height, width = inside or valid.shape[-2:]
    centres, alive = _first_centres(points, known, count, size, (height, width)), count > 0
    choice = _choose(points, known, centres, alive, pitch)
    for _ in range(parameters.iterations - 1):
        total = _gather_sums(points, choice, pitch)
        means = torch.round(total[..., 1:].double() / total[..., :1].clamp(min=1).double()).to(points.dtype)
        centres = torch.where(total[..., :1] > 0, means, centres)
        choice = _choose(points, known, centres, alive, pitch)
    return choice.to(torch.uint8)


def exact_type(pitch: int, max_colour: float, channels: int, size: int) -> torch.dtype:
    """Return float32 if its 24 bits hold all distances and sums exactly, else float64.

    pitch, max_colour: width of a cell and largest absolute colour, in steps. size: pixels on a side of a cell.
    """
    products = 3 * channels * max_colour**2 + 30 * pitch**2  # a centre is within 3 cells of a pixel's own
    sums = size * size * max(max_colour, 2.0 * pitch)
    return torch.float32 if max(products, sums) < 2**24 else torch.float64


def segment_batch(
    colours: Tensor,
    valid: Tensor,
    *,
    size: int,
    compactness: float = 10.0,
    iterations: int = 10,
    min_size: int | None = None,
    threads: int = 1,
) -> list[Superpixels]:
    """Return the superpixels of each patch, every patch a scene of its own; only connectivity runs on the CPU.

    Args:
        colours: int16 (patches, channels, rows, cols), from `geoseg.segments.superpixels.colour`.
        valid: bool (patches, rows, cols), on the same device.
        size, compactness, iterations, min_size: as for `geoseg.segments.superpixels.segment`.
        threads: number of threads for connectivity.
    """
    choices = segment_iterations(colours, valid, SlicParameters(size, compactness, iterations))
    choice: NDArray[np.uint8] = choices.cpu().numpy()
    H, W = valid.shape[-2:]
    min_pixels = size * size // 4 if min_size is None else min_size

    def connect_patch(patch: Range) -> Superpixels:
        labels = np.zeros((H, W), np.int32)
        with worker_threads(1) as serial_map:
            whole, origin = (H, W), (0, 0)
            ids = connect(choice[patch[0]], size, min_pixels, origin, whole, whole, origin, labels, 1, serial_map)
        return Superpixels(labels, ids)

    with worker_threads(threads) as parallel_map:
        return parallel_map(connect_patch, [(b, b + 1) for b in range(len(choice))])


def _smooth(colours: Tensor, valid: Tensor) -> Tensor:
    """Return binomial means over 3 x 3 valid pixels, rounded half up, 0 where invalid: int32."""
    ok = valid[:, None].to(torch.int32)
    both = torch.cat([colours.to(torch.int32) * ok, ok], dim=1)
    for axis in (2, 3):
        pad = functional.pad(both, (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0))
        n = both.shape[axis]
        both = pad.narrow(axis, 0, n) + 2 * pad.narrow(axis, 1, n) + pad.narrow(axis, 2, n)
    total, share = both[:, :-1], both[:, -1:]
    means = torch.div(2 * total + share, (2 * share).clamp(min=1), rounding_mode="floor")
    return means * ok


def _cells(image: Tensor, size: int) -> Tensor:
    """Cut (B, C, H, W) into cells: (B, cell rows, cell cols, C, T), zero outside."""
    B, C, H, W = image.shape
    rows, cols = -(-H // size), -(-W // size)
    image = functional.pad(image, (0, cols * size - W, 0, rows * size - H))
    cells = image.view(B, C, rows, size, cols, size).permute(0, 2, 4, 1, 3, 5).reshape(B, rows, cols, C, -1)
    return functional.pad(cells, (0, tile_pixels(size) - size * size))


def _first_centres(points: Tensor, known: Tensor, count: Tensor, size: int, inside: tuple[int, int]) -> Tensor:
    """Return the pixel in the middle of each cell, or the mean if that is invalid: (B, I, J, 2 + C)."""
    ys, xs = (
        (inside[a] - torch.arange(known.shape[1 + a], device=known.device) * size).clamp(max=size) // 2 for a in (0, 1)
    )
    middle = (ys[:, None] * size + xs[None, :]).expand(known.shape[:3])[..., None]  # (B, I, J, 1)
    total = (points * known[..., None, :]).sum(-1)
    mean = torch.round(total.double() / count[..., None].clamp(min=1).double()).to(points.dtype)
    seed = points.gather(-1, middle[..., None, :].expand(*points.shape[:4], 1))[..., 0]
    return torch.where(known.gather(-1, middle), seed, mean)


def _neighbours(field: Tensor, k: int, fill: float) -> Tensor:
    """Return, for every cell, the value (B, I, J, ...) of its neighbour k; `fill` beyond the edge."""
    I, J = field.shape[1:3]  # noqa: E741
    trailing = [0, 0] * (field.dim() - 3)
    padded = functional.pad(field, [*trailing, 1, 1, 1, 1], value=fill)
    return padded[:, k // 3 : k // 3 + I, k % 3 : k % 3 + J]


def _choose(points: Tensor, known: Tensor, centres: Tensor, alive: Tensor, pitch: int) -> Tensor:
    """Return the nearest of nine centres for each pixel, the first of equals; NONE for pixels that are not known."""
    best = torch.full(points[..., 0, :].shape, torch.inf, device=points.device, dtype=points.dtype)
    choice = torch.full(best.shape, OWN, device=points.device, dtype=torch.uint8)
    for k in range(CANDIDATES):
        centre = _neighbours(centres, k, 0.0).clone()
        centre[..., 0] += (k // 3 - 1) * pitch
        centre[..., 1] += (k % 3 - 1) * pitch
        square = centre.square().sum(-1).masked_fill(_neighbours(alive.to(points.dtype), k, 0.0) == 0, torch.inf)
        distance = square[..., None].expand(best.shape).clone()
        for v in range(points.shape[3]):
            distance.addcmul_(points[..., v, :], -2 * centre[..., v, None])
        choice = torch.where(distance < best, k, choice)
        best = torch.minimum(distance, best)
    return torch.where(known, choice, NONE)


def _gather_sums(points: Tensor, choice: Tensor, pitch: int) -> Tensor:
    """Sum each seed's pixels exactly: (count, row, col, channels) int64 (B, I, J, 3 + C), relative to its cell."""
    B, I, J, V = points.shape[:4]  # noqa: E741
    total = torch.zeros(B, I + 2, J + 2, V + 1, dtype=torch.int64, device=points.device)
    for k in range(CANDIDATES):
        mine = (choice == k)[..., None, :]
        count = mine.sum(-1, dtype=torch.int64)
        sums = (points * mine).sum(-1).long()
        down, right = k // 3 - 1, k % 3 - 1
        sums[..., 0] -= count[..., 0] * down * pitch
        sums[..., 1] -= count[..., 0] * right * pitch
        total[:, 1 + down : 1 + down + I, 1 + right : 1 + right + J] += torch.cat([count, sums], dim=-1)
    return total[:, 1:-1, 1:-1]
