"""Superpixels on a torch device: the iterations of `superpixels` as tensor operations, equal to the pixel.

Colours, positions and centres are the integers of `geoseg.segments.cells`. Products and sums of them are exact in
floating point as long as they fit its mantissa, in whatever order a device adds; the one division is IEEE's, and
rounded alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.kernels import Each, Rows, team
from geoseg.segments.cells import NONE, OWN, places, scale, tile_pixels
from geoseg.segments.lattice import Area, Chooser, Rule, choose, connect
from geoseg.segments.nearest import CANDIDATES
from geoseg.segments.superpixels import Superpixels


@dataclass(frozen=True)
class TorchChooser:
    """The chooser of `superpixels.segment` on a torch device."""

    device: torch.device

    def __call__(
        self, features: NDArray[np.int16], valid: NDArray[np.bool_], area: Area, rule: Rule, _threads: int, _each: Each
    ) -> NDArray[np.uint8]:
        """Return the choices of the wanted cells, (cell rows, cell cols, T)."""
        (top, left), (H, W) = area.corner, area.shape
        # Smoothing looks one pixel beyond the area.
        rows, cols = slice(max(top - 1, 0), top + H + 1), slice(max(left - 1, 0), left + W + 1)
        given = torch.from_numpy(features[None, :, rows, cols]), torch.from_numpy(valid[None, rows, cols])
        inner = slice(min(top, 1), min(top, 1) + H), slice(min(left, 1), min(left, 1) + W)
        found = segment_iterations(given[0].to(self.device), given[1].to(self.device), rule, inner, area.inside)
        result: NDArray[np.uint8] = found[0, slice(*area.rows), slice(*area.cols)].cpu().numpy()
        return result


def chooser_for(device: torch.device) -> Chooser:
    """Return what computes superpixels beside a network on `device`: CUDA takes them too, others leave them here."""
    return TorchChooser(device) if device.type == "cuda" else choose


def segment_iterations(
    features: Tensor,
    valid: Tensor,
    rule: Rule,
    inner: tuple[slice, slice] = (slice(None), slice(None)),
    inside: tuple[int, int] | None = None,
) -> Tensor:
    """Return the choice of each pixel of each cell: uint8 (patches, cell rows, cell cols, T).

    features: int16 (patches, channels, rows, cols). valid: bool (patches, rows, cols), on the same device.
    inner: the part that is cut into cells; what is around it only smooths. inside: (rows, cols) of the scene from the
    first pixel of that part on; those of the part unless given.
    T is `tile_pixels(size)`. 0..8 is one of the 3 x 3 cells around the pixel's own in raster order, 9 none: an invalid
    pixel, or padding.
    """
    size = rule.size
    pitch, factor, bound = scale(rule.compactness, features.shape[1])
    colours = torch.round(_smooth(features, valid).float() * float(factor)).clamp(-bound, bound)
    colours, valid = colours[..., inner[0], inner[1]], valid[..., inner[0], inner[1]]
    known = _cells(valid[:, None].float(), size)[:, :, :, 0] > 0  # (B, I, J, T)
    place = torch.from_numpy(places(size, pitch)).to(valid.device).T.float()  # (2, T)
    tiles = _cells(colours, size)
    points = torch.cat([place.expand(*tiles.shape[:3], 2, -1), tiles], dim=3)  # (B, I, J, 2 + C, T)
    points = points.to(exact_type(pitch, float(colours.abs().amax()), features.shape[1], size))
    count = known.sum(-1, dtype=torch.int32)
    height, width = inside or valid.shape[-2:]
    centres, alive = _first_centres(points, known, count, size, (height, width)), count > 0
    choice = _choose(points, known, centres, alive, pitch)
    for _ in range(rule.iterations - 1):
        total = _gather_sums(points, choice, pitch)
        means = torch.round(total[..., 1:].double() / total[..., :1].clamp(min=1).double()).to(points.dtype)
        centres = torch.where(total[..., :1] > 0, means, centres)
        choice = _choose(points, known, centres, alive, pitch)
    return choice.to(torch.uint8)


def exact_type(pitch: int, most: float, channels: int, size: int) -> torch.dtype:
    """Return float32 where its 24 bits hold every sum that is built of products, float64 otherwise."""
    products = 3 * channels * most**2 + 30 * pitch**2  # a centre is within 3 cells of a pixel's own
    sums = size * size * max(most, 2.0 * pitch)
    return torch.float32 if max(products, sums) < 2**24 else torch.float64


def segment_batch(
    features: Tensor,
    valid: Tensor,
    *,
    size: int,
    compactness: float = 10.0,
    iterations: int = 10,
    min_size: int | None = None,
    threads: int = 1,
) -> list[Superpixels]:
    """Return the superpixels of each patch, as `superpixels.segment_batch` does: only connectivity runs on the CPU.

    features, valid: as of `segment_iterations`; the other arguments as of `superpixels.segment`.
    """
    choices = segment_iterations(features, valid, Rule(size, compactness, iterations))
    choice: NDArray[np.uint8] = choices.cpu().numpy()
    H, W = valid.shape[-2:]
    least = size * size // 4 if min_size is None else min_size

    def one(patch: Rows) -> Superpixels:
        labels = np.zeros((H, W), np.int32)
        with team(1) as alone:
            ids = connect(choice[patch[0]], size, least, (0, 0), (H, W), labels, 1, alone)
        return Superpixels(labels, ids)

    with team(threads) as each:
        return each(one, [(b, b + 1) for b in range(len(choice))])


def _smooth(features: Tensor, valid: Tensor) -> Tensor:
    """Return binomial means over 3 x 3 valid pixels, rounded half up, 0 where invalid: int32."""
    ok = valid[:, None].to(torch.int32)
    both = torch.cat([features.to(torch.int32) * ok, ok], dim=1)
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
    """Return the pixel in the middle of each cell, or the mean where it is invalid: (B, I, J, 2 + C)."""
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
    """Return the nearest of nine centres for each pixel, the first of equals; NONE where not known."""
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
