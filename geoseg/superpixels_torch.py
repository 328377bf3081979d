"""Superpixels of patches on a torch device: the iterations of `superpixels` as tensor operations.

The rule, the fixed-point colours and the integer sums are those of `superpixels`; only the float32 distances may be
rounded otherwise (a device fuses multiplications and additions as it likes), so that a pixel half-way between two seeds
can fall to the other one. Results of this module must therefore not be mixed with those of `superpixels` in one scene.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.kernels import Rows, team
from geoseg.slic.cells import NONE, OWN
from geoseg.slic.colours import STEPS
from geoseg.slic.lattice import connect
from geoseg.superpixels import Superpixels


def segment_iterations(
    features: Tensor, valid: Tensor, *, size: int, compactness: float = 10.0, iterations: int = 10
) -> Tensor:
    """Return the choice of each pixel of each cell: uint8 (patches, cell rows, cell cols, T).

    features: int16 (patches, channels, rows, cols). valid: bool (patches, rows, cols), on the same device.
    T is size * size rounded up to a multiple of 8. 0..8 is one of the 3 x 3 cells around the pixel's own in raster
    order, 9 none: an invalid pixel, or padding.
    """
    H, W = valid.shape[-2:]
    tiles = _cells(_smooth(features, valid), size)  # (B, I, J, C, T)
    known = _cells(valid[:, None].to(torch.int32), size)[:, :, :, 0] > 0  # (B, I, J, T)
    places = torch.arange(known.shape[-1], device=valid.device, dtype=torch.int32)
    place = torch.stack([places // size, places % size])  # (2, T)
    points = torch.cat([place.expand(*tiles.shape[:3], 2, -1), tiles], dim=3)  # (B, I, J, 2 + C, T) int32
    weight = np.float32((compactness * STEPS / size) ** 2)
    scale = torch.ones(points.shape[3], device=valid.device)
    scale[:2] = float(weight)
    count = known.sum(-1, dtype=torch.int32)
    centres, alive = _first_centres(points, known, count, size, (H, W)), count > 0
    choice = _choose(points, known, centres, alive, scale, size)
    for _ in range(iterations - 1):
        total = _gather_sums(points, choice, size)
        means = (total[..., 1:].double() / total[..., :1].clamp(min=1)).float()
        centres = torch.where(total[..., :1] > 0, means, centres)
        choice = _choose(points, known, centres, alive, scale, size)
    return choice.to(torch.uint8)


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

    Arguments as of `segment_iterations`; min_size and threads as of `superpixels.segment`.
    """
    choices = segment_iterations(features, valid, size=size, compactness=compactness, iterations=iterations)
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
    return functional.pad(cells, (0, -size * size % 8))


def _first_centres(points: Tensor, known: Tensor, count: Tensor, size: int, shape: tuple[int, int]) -> Tensor:
    """Return the pixel in the middle of each cell, or the mean where it is invalid: float32 (B, I, J, 2 + C)."""
    ys, xs = (
        (shape[a] - torch.arange(known.shape[1 + a], device=known.device) * size).clamp(max=size) // 2 for a in (0, 1)
    )
    middle = (ys[:, None] * size + xs[None, :]).expand(known.shape[:3])[..., None]  # (B, I, J, 1)
    total = (points * known[..., None, :]).sum(-1, dtype=torch.int64)
    mean = (total.double() / count[..., None].clamp(min=1)).float()
    seed = points.gather(-1, middle[..., None, :].expand(*points.shape[:4], 1))[..., 0].float()
    return torch.where(known.gather(-1, middle), seed, mean)


def _neighbours(field: Tensor, k: int, fill: float) -> Tensor:
    """Return, for every cell, the value (B, I, J, ...) of its neighbour k; `fill` beyond the edge."""
    I, J = field.shape[1:3]  # noqa: E741
    trailing = [0, 0] * (field.dim() - 3)
    padded = functional.pad(field, [*trailing, 1, 1, 1, 1], value=fill)
    return padded[:, k // 3 : k // 3 + I, k % 3 : k % 3 + J]


def _choose(points: Tensor, known: Tensor, centres: Tensor, alive: Tensor, scale: Tensor, size: int) -> Tensor:
    """Return the nearest of nine centres for each pixel, the first of equals; NONE where not known."""
    reference = centres.round()
    reference[..., :2] = 0
    own = points.float() - reference[..., None]
    best = torch.full(points[..., 0, :].shape, torch.inf, device=points.device)
    choice = torch.full(best.shape, OWN, device=points.device)
    for k in range(9):
        offset = torch.tensor([(k // 3 - 1) * size, (k % 3 - 1) * size], device=points.device, dtype=torch.float32)
        centre = _neighbours(centres, k, 0.0).clone()
        centre[..., :2] += offset
        centre = centre - reference
        constant = (scale * centre * centre).sum(-1).masked_fill(_neighbours(alive.float(), k, 0.0) == 0, torch.inf)
        distance = constant[..., None] + torch.einsum("bijv,bijvt->bijt", -2 * scale * centre, own)
        closer = distance < best
        best = torch.where(closer, distance, best)
        choice = torch.where(closer, k, choice)
    return torch.where(known, choice, NONE)


def _gather_sums(points: Tensor, choice: Tensor, size: int) -> Tensor:
    """Sum each seed's pixels exactly: (count, row, col, channels) int64 (B, I, J, 3 + C), relative to its cell."""
    B, I, J, V = points.shape[:4]  # noqa: E741
    total = torch.zeros(B, I + 2, J + 2, V + 1, dtype=torch.int64, device=points.device)
    for k in range(9):
        mine = (choice == k)[..., None, :]
        count = mine.sum(-1, dtype=torch.int64)
        sums = (points * mine).sum(-1, dtype=torch.int64)
        down, right = k // 3 - 1, k % 3 - 1
        sums[..., 0] -= count[..., 0] * down * size
        sums[..., 1] -= count[..., 0] * right * size
        total[:, 1 + down : 1 + down + I, 1 + right : 1 + right + J] += torch.cat([count, sums], dim=-1)
    return total[:, 1:-1, 1:-1]
