"""Laws of superpixels: independence of blocks and threads, one region per id, locality, agreement with plain code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import color, data
from skimage import segmentation as skimage_segmentation
from skimage.measure import label

from geoseg import kernels
from geoseg.kernels import worker_threads
from geoseg.segments import nearest
from geoseg.segments.colours import STEPS
from geoseg.segments.lattice import PASSES, Domain, Lattice, SlicParameters, colours_of
from geoseg.segments.superpixels import Superpixels, colour, halo, segment

connected: Any = label  # typed too narrowly by scikit-image
astronaut: Any = data.astronaut
PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def noise(
    seed: int, shape: tuple[int, int], bands: int = 3, spread: int = 1500, holes: float = 0.0
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return colours of smooth blobs under noise, so that regions are ragged, and validity with holes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-3000, 3000, (bands, shape[0] // 7 + 1, shape[1] // 7 + 1))
    blobs = np.kron(coarse, np.ones((7, 7)))[:, : shape[0], : shape[1]]
    colours = (blobs + rng.integers(-spread, spread + 1, (bands, *shape))).astype(np.int16)
    valid = np.ones(shape, bool)
    if holes:
        valid = rng.random(shape) >= holes
        top, left = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        valid[top : top + shape[0] // 3, left : left + shape[1] // 3] = False
    return colours, valid


def id_map(result: Superpixels) -> NDArray[np.uint32]:
    return result.ids[result.labels]


def smooth_plainly(colours: NDArray[np.int16], valid: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Return weighted means over 3 x 3 valid pixels, rounded half up; 0 where a pixel is invalid."""
    H, W = valid.shape
    total, weight = np.zeros(colours.shape, np.int64), np.zeros((H, W), np.int64)
    known = np.pad(valid, 1)
    colours = np.pad(np.where(valid, colours, 0).astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    for y, x in np.ndindex(3, 3):
        share = (2 - abs(y - 1)) * (2 - abs(x - 1))
        total += share * colours[:, y : y + H, x : x + W]
        weight += share * known[y : y + H, x : x + W]
    means = np.floor(total / np.maximum(weight, 1) + 0.5)
    return np.where(valid, means, 0).astype(np.int16)


def assign_plainly(
    colours: NDArray[np.int16], valid: NDArray[np.bool_], size: int, compactness: float, iterations: int
) -> NDArray[np.int64]:
    """Iterate as the rule says, in whole steps, cell by cell; label = cell row * cell columns + cell column, or -1."""
    H, W = valid.shape
    rows, cols = -(-H // size), -(-W // size)
    colours = np.rint(smooth_plainly(colours, valid) / (STEPS / 8)).astype(np.int64)
    ys, xs = np.mgrid[:H, :W]
    cell = ys // size * cols + xs // size
    pitch = round(8 * compactness)
    within = [(2 * (at % size) * pitch + size) // (2 * size) for at in (ys, xs)]
    points = np.concatenate([[within[0] + ys // size * pitch, within[1] + xs // size * pitch], colours])
    corner = {c: np.array([c // cols * pitch, c % cols * pitch] + [0] * len(colours)) for c in range(rows * cols)}

    def mean(of: NDArray[np.bool_], c: int) -> NDArray[np.int64]:
        """Return the rounded mean of the pixels relative to the corner of the cell c."""
        relative: NDArray[np.int64] = points[:, of] - corner[c][:, None]
        return np.rint(relative.sum(axis=1) / of.sum()).astype(np.int64) + corner[c]

    centres: dict[int, NDArray[np.int64]] = {}
    for c in range(rows * cols):
        own = valid & (cell == c)
        y, x = c // cols * size, c % cols * size
        middle = (y + min(size, H - y) // 2, x + min(size, W - x) // 2)
        if own.any():
            centres[c] = points[:, *middle] if valid[middle] else mean(own, c)
    labels = np.full((H, W), -1)
    for _ in range(iterations):
        best = np.full((H, W), 2**62)
        for c in sorted(centres):
            near = (abs(ys // size - c // cols) <= 1) & (abs(xs // size - c % cols) <= 1) & valid
            distance = ((points - centres[c][:, None, None]) ** 2).sum(axis=0)
            closer = near & (distance < best)
            best[closer], labels[closer] = distance[closer], c
        for c in centres:
            if (labels == c).any():
                centres[c] = mean(labels == c, c)
    return labels


def connect_plainly(labels: NDArray[np.int64], size: int, min_size: int) -> NDArray[np.int64]:
    """Apply the rule of orphans, written down as directly as possible; returns ids."""
    H, W = labels.shape
    rows, cols = -(-H // size), -(-W // size)
    pieces = connected(labels + 1, background=0, connectivity=1)
    parts = {int(p): pieces == p for p in np.unique(pieces) if p}
    order = sorted(parts, key=lambda p: int(np.flatnonzero(parts[p].ravel())[0]))
    name = {p: int(labels[parts[p]][0]) for p in order}
    main: dict[int, int] = {}
    for p in order:
        if name[p] not in main or parts[p].sum() > parts[main[name[p]]].sum():
            main[name[p]] = p
    owner = {p: name[p] for p in order if main[name[p]] == p and parts[p].sum() >= min_size}
    for _ in range(PASSES):
        region = np.full((H + 2, W + 2), -1)
        for p, j in owner.items():
            region[1:-1, 1:-1][parts[p]] = j
        joined = {}
        for p in order:
            if p in owner:
                continue
            y, x = np.nonzero(parts[p])
            beside = np.concatenate([region[y, x + 1], region[y + 2, x + 1], region[y + 1, x], region[y + 1, x + 2]])
            found, border = np.unique(beside[beside >= 0], return_counts=True)
            near = [
                (-int(b), int(j))
                for j, b in zip(found, border, strict=True)
                if (abs(y // size - j // cols) <= 1).all() and (abs(x // size - j % cols) <= 1).all()
            ]
            if near:
                joined[p] = min(near)[1]
        owner |= joined
    ids = np.zeros((H, W), np.int64)
    seen: dict[int, int] = {}
    for p in order:
        y, x = np.argwhere(parts[p])[0]
        cell = int(y // size * cols + x // size)
        if main[name[p]] != p:
            seen[cell] = seen.get(cell, 0) + 1
        if p in owner:
            ids[parts[p]] = owner[p] + 1
        elif main[name[p]] == p:
            ids[parts[p]] = name[p] + 1
        else:
            ids[parts[p]] = seen[cell] * rows * cols + cell + 1
    return ids


def block_ids(
    colours: NDArray[np.int16], valid: NDArray[np.bool_], block: tuple[slice, slice], by: int, size: int,
    iterations: int, **settings: Any,
) -> tuple[NDArray[np.uint32], tuple[slice, slice]]:  # fmt: skip
    """Return the ids of the block's read area, computed with `by` pixels of halo, and where the area lies."""
    area, core = [], []
    for span, extent in zip(block, valid.shape, strict=True):
        start = max(span.start - by, 0) // size * size
        area.append(slice(start, min(span.stop + by, extent)))
        core.append(slice(span.start - start, span.stop - start))
    rows, cols = area
    result = segment(
        colours[:, rows, cols], valid[rows, cols], size=size, iterations=iterations, core=(core[0], core[1]),
        origin=(rows.start, cols.start), scene_shape=valid.shape, **settings,
    )  # fmt: skip
    return id_map(result), (rows, cols)


def wrong_blocks(
    whole: NDArray[np.uint32], colours: NDArray[np.int16], valid: NDArray[np.bool_], blocks: list[tuple[slice, slice]],
    by: int, **settings: Any,
) -> int:  # fmt: skip
    """Count the blocks whose ids, or the whole of whose regions, differ from those of the scene."""
    wrong = 0
    for block in blocks:
        ids, area = block_ids(colours, valid, block, by, **settings)
        inside = np.zeros(valid.shape, bool)
        inside[block] = True
        full = np.zeros_like(whole)
        full[area] = ids
        mine = np.unique(whole[block])
        same = np.array_equal(full[block], whole[block])
        wrong += not (same and np.array_equal(np.isin(whole, mine) * whole, np.isin(full, mine) * full))
    return wrong


@PROPERTY
@given(st.data())
def test_law_2_blocks_with_a_halo_and_threads_give_the_scene(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7), "size")
    iterations = data.draw(st.integers(1, 3), "iterations")
    shape = data.draw(st.tuples(st.integers(1, 150), st.integers(1, 150)), "shape")
    colours, valid = noise(
        data.draw(st.integers(0, 99), "seed"), shape, data.draw(st.integers(1, 5), "bands"),
        data.draw(st.sampled_from([0, 300, 3000]), "spread"), data.draw(st.sampled_from([0.0, 0.02, 0.4]), "holes"),
    )  # fmt: skip
    settings: dict[str, Any] = {
        "size": size, "iterations": iterations, "compactness": data.draw(st.sampled_from([0.0, 1.0, 10.0, 60.0])),
        "min_size": data.draw(st.sampled_from([0, size * size // 4, 2 * size * size])),
    }  # fmt: skip
    whole = id_map(segment(colours, valid, **settings))
    blocks = []
    for _ in range(3):
        top, left = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
        high, wide = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
        blocks.append((slice(top, min(top + high, shape[0])), slice(left, min(left + wide, shape[1]))))
    assert wrong_blocks(whole, colours, valid, blocks, halo(size, iterations), **settings) == 0


@pytest.mark.parametrize("bands", [2, 3])
def test_threads_change_nothing(bands: int) -> None:
    colours, valid = noise(5, (400, 500), bands, holes=0.05)
    core = (slice(130, 210), slice(90, 333))
    one, two, part = (
        segment(colours, valid, size=9, threads=1),
        segment(colours, valid, size=9, threads=2),
        segment(colours, valid, size=9, iterations=4, core=core, threads=3),
    )
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.ids, two.ids)
    whole = segment(colours, valid, size=9, iterations=4)
    assert np.array_equal(id_map(part)[core], id_map(whole)[core])


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_halo_is_wide_enough_and_half_of_it_is_not(iterations: int) -> None:
    # Noise of 2 x 2 pixels without compactness and with a large min_size makes the longest chains of decisions.
    rng = np.random.default_rng(3)
    colours = np.kron(rng.integers(-8000, 8000, (3, 150, 150)), np.ones((2, 2))).astype(np.int16)
    valid = np.ones((300, 300), bool)
    settings: dict[str, Any] = {"size": 4, "iterations": iterations, "compactness": 0.0, "min_size": 16}
    whole = id_map(segment(colours, valid, **settings))
    blocks = [(slice(y, y + 12), slice(x, x + 13)) for y in range(0, 300, 20) for x in range(0, 300, 20)]
    full = halo(4, iterations)
    assert wrong_blocks(whole, colours, valid, blocks, full, **settings) == 0
    assert wrong_blocks(whole, colours, valid, blocks, full // 2, **settings) > 0


def test_shrinking_work_leaves_the_choices_exact() -> None:
    colours, valid = noise(4, (200, 200), spread=3000)
    domain = Domain((0, 0), (200, 200), (200, 200), (0, 40), (0, 40))

    def choices(rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
        with worker_threads(1) as serial_map:
            given = colours_of(colours), valid, domain, SlicParameters(5, 1.0, 6)
            lattice = Lattice(*given, 1, serial_map, np.empty(0, np.int16))
        lattice.run(6, rows, cols)
        return lattice.choice[rows[0] : rows[1], cols[0] : cols[1]]

    whole = choices((0, 40), (0, 40))
    for y in range(12, 28):
        part = choices((y, y + 2), (y - 5, y - 2))
        assert np.array_equal(part, whole[y : y + 2, y - 5 : y - 2])


def test_halo_is_what_its_derivation_says() -> None:
    assert PASSES == 3
    assert [halo(16, 5), halo(16, 10), halo(1, 1)] == [288, 448, 10]


@PROPERTY
@given(st.data())
def test_every_id_is_one_region_near_its_seed(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 9), "size")
    shape = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)), "shape")
    colours, valid = noise(data.draw(st.integers(0, 99), "seed"), shape, holes=data.draw(st.sampled_from([0.0, 0.3])))
    result = segment(colours, valid, size=size, iterations=2, compactness=data.draw(st.sampled_from([0.0, 10.0])))
    ids = id_map(result)
    assert result.labels.dtype == np.int32
    assert result.ids.dtype == np.uint32
    assert np.array_equal(ids > 0, valid)
    assert np.array_equal(np.unique(result.labels[valid]), np.arange(1, len(result.ids)))
    assert result.ids[0] == 0
    assert (np.diff(result.ids.astype(np.int64)) > 0).all()
    assert connected(ids.astype(np.int64), background=0, connectivity=1).max(initial=0) == len(result.ids) - 1
    rows, cols = -(-shape[0] // size), -(-shape[1] // size)
    y, x = np.nonzero(valid)
    k, cell = np.divmod(ids[valid].astype(np.int64) - 1, rows * cols)
    apart = np.maximum(abs(y // size - cell // cols), abs(x // size - cell % cols))
    assert (apart <= np.where(k == 0, 1, 2)).all()


@PROPERTY
@given(st.integers(0, 99), st.integers(1, 5))
def test_law_5_what_lies_under_invalid_pixels_changes_nothing(seed: int, bands: int) -> None:
    colours, valid = noise(seed, (50, 61), bands, holes=0.2)
    other = np.where(valid, colours, np.random.default_rng(seed).integers(-32768, 32767, colours.shape))
    before = segment(colours, valid, size=6, iterations=3)
    after = segment(other.astype(np.int16), valid, size=6, iterations=3)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(before.ids, after.ids)


@pytest.mark.parametrize(
    ("seed", "shape", "size"), [(0, (64, 64), 8), (1, (61, 75), 10), (2, (33, 70), 16), (3, (20, 20), 4)]
)
@pytest.mark.parametrize(
    ("bands", "iterations", "compactness"), [(1, 1, 0.5), (3, 4, 10.0), (4, 2, 2.3), (2, 10, 40.0)]
)
@pytest.mark.parametrize("min_size", [0, 16, 90])
def test_equals_plain_code_to_the_pixel(
    seed: int, shape: tuple[int, int], size: int, bands: int, iterations: int, compactness: float, min_size: int
) -> None:
    colours, valid = noise(seed, shape, bands, holes=0.03)
    if bands == 4:
        colours = (colours // 512 * 64).astype(np.int16)  # so few colours that many distances are equal
    labels = assign_plainly(colours, valid, size, compactness, iterations)
    expected = connect_plainly(labels, size, min_size)
    settings: dict[str, Any] = {"size": size, "compactness": compactness, "iterations": iterations}
    assert np.array_equal(id_map(segment(colours, valid, min_size=min_size, **settings)), expected)


def test_a_channel_that_never_moves_does_not_hide_that_others_do() -> None:
    colours, valid = noise(7, (70, 83), 2, spread=500, holes=0.02)
    colours[-1] = 0
    expected = connect_plainly(assign_plainly(colours, valid, 10, 10.0, 10), 10, 25)
    assert np.array_equal(id_map(segment(colours, valid, size=10)), expected)


def test_position_alone_leaves_the_cells() -> None:
    colours, valid = noise(2, (65, 78), spread=4000)
    ys, xs = np.mgrid[:65, :78]
    result = segment(colours, valid, size=13, compactness=1e9)
    assert np.array_equal(id_map(result), ys // 13 * 6 + xs // 13 + 1)


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("processor", ["this one", "avx2", "any"])
def test_nearest_is_the_least_distance_on_every_processor(channels: int, processor: str) -> None:
    cpu_features = llvmlite.binding.get_host_cpu_features()
    if processor == "avx2" and not cpu_features.get("avx2"):
        pytest.skip("this processor has no AVX2")
    known = {"this one": cpu_features, "avx2": {"avx2": True}, "any": {}}[processor]
    function = nearest.make_nearest(nearest.multiply_for(known))

    @numba.njit
    def choose(pairs: Any, place: Any, coefficients: Any, index: Any) -> None:
        for first in range(0, index.shape[0], 16):
            function(pairs, place, coefficients, first, index)

    rng = np.random.default_rng(channels)
    points = rng.integers(-2047, 2048, (2 + channels + channels % 2, 64))
    points[:2] = rng.integers(0, 1024, (2, 64))
    centres = rng.integers(-2047, 2048, (9, len(points)))
    centres[:, :2] = rng.integers(-2046, 3070, (9, 2))
    centres[7] = centres[2]  # the first of equals
    if channels % 2:
        points[-1] = centres[:, -1] = 0
    pairs = np.ascontiguousarray(points.T.reshape(64, -1, 2).swapaxes(0, 1).astype(np.int16))
    factors = np.ascontiguousarray((-2 * centres).astype(np.int16)).view(np.int32).T
    constants = 16 * (centres**2).sum(axis=1) + np.arange(9)
    index = np.empty(64, np.uint8)
    choose(pairs[1:], pairs[0], np.ascontiguousarray(np.vstack([constants, factors]).astype(np.int32)), index)
    distance = ((points - centres[:, :, None]) ** 2).sum(axis=1)
    assert np.array_equal(index, distance.argmin(axis=0))


def test_regions_are_as_pure_as_those_of_scikit_image() -> None:
    image = astronaut()[:256, :256]
    valid = np.ones(image.shape[:2], bool)
    ours = segment(colour(np.moveaxis(image, 2, 0), valid), valid, size=12).labels
    theirs = skimage_segmentation.slic(image, n_segments=int(ours.max()), start_label=1)
    lab = color.rgb2lab(image).reshape(-1, 3)

    def spread(labels: NDArray[Any]) -> float:
        """Return the mean squared distance of a pixel's colour to the mean of its region."""
        flat = labels.ravel()
        means = np.stack([np.bincount(flat, lab[:, c]) / np.maximum(np.bincount(flat), 1) for c in range(3)], axis=1)
        return float(((lab - means[flat]) ** 2).sum(axis=1).mean())

    assert spread(ours) < 1.1 * spread(theirs)


def test_origin_only_moves_ids() -> None:
    colours, valid = noise(1, (48, 48))
    alone = segment(colours, valid, size=8)
    placed = segment(colours, valid, size=8, origin=(80, 160), scene_shape=(400, 300))
    cells = alone.ids[1:].astype(np.int64) - 1
    inside = cells < 36
    rows, cols = cells[inside] // 6 + 10, cells[inside] % 6 + 20
    assert np.array_equal(placed.labels > 0, alone.labels > 0)
    assert np.array_equal(placed.ids[1:][: inside.sum()], rows * 38 + cols + 1)


def test_lab_agrees_with_scikit_image_for_every_kind_of_number() -> None:
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(0, 256, (3, 90, 91)).astype(np.uint8)
    bytes_[:, :9] //= 16
    valid = np.ones((90, 91), bool)
    exact = np.moveaxis(color.rgb2lab(np.moveaxis(bytes_, 0, 2)), 2, 0)
    direct = colour(bytes_, valid)
    assert direct.dtype == np.int16
    assert abs(direct / STEPS - exact).max() < 0.1
    scale = [1 / 255] * 3
    assert np.array_equal(colour(bytes_, valid, offset=[0] * 3, scale=scale), direct)
    assert np.array_equal(colour(bytes_, valid, threads=2), direct)
    for dtype in (np.int16, np.uint16, np.float32, np.float64):
        assert abs(colour(bytes_.astype(dtype), valid, offset=[0] * 3, scale=scale) / STEPS - exact).max() < 0.1
    shifted = colour(bytes_.astype(np.float32) * 3 - 7, valid, offset=[-7] * 3, scale=[1 / 765] * 3)
    assert abs(shifted / STEPS - exact).max() < 0.1


@pytest.mark.parametrize("bands", [1, 2, 4, 13])
def test_other_bands_span_the_same_distance(bands: int) -> None:
    ramp = np.stack([np.full((2, 2), v) for v in (-5.0, 10.0, 20.0)] * bands).reshape(bands, 3, 4)
    colours = colour(ramp, np.ones((3, 4), bool), offset=[10] * bands, scale=[0.1] * bands)
    assert colours.min() == 0
    assert abs(np.sqrt((colours[:, 2, 0].astype(float) ** 2).sum()) - 100 * 3**0.5 * STEPS) < 2


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_invalid_and_nan_pixels_have_no_colour(bands: int) -> None:
    pixels = np.full((bands, 4, 5), 0.5, np.float32)
    pixels[bands - 1, 1, 2] = np.nan
    valid = np.ones((4, 5), bool)
    valid[3, 3] = False
    colours = colour(pixels, valid, offset=[0] * bands, scale=[1] * bands)
    assert np.array_equal((colours != 0).any(axis=0), valid & ~np.isnan(pixels).any(axis=0))


def test_scene_without_a_valid_pixel_has_no_superpixels() -> None:
    result = segment(np.zeros((3, 20, 20), np.int16), np.zeros((20, 20), bool), size=4)
    assert not result.labels.any()
    assert result.ids.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"compactness": -1.0}, "compactness must be"),
        ({"compactness": np.nan}, "compactness must be"),
        ({"origin": (3, 0), "scene_shape": (100, 100)}, "origin must be multiples"),
        ({"scene_shape": (10, 20)}, "does not lie in a scene"),
        ({"core": (slice(0, 4, 2), slice(0, 4))}, "step 1"),
        ({"valid": np.ones((4, 4), bool)}, "valid must be bool"),
        ({"valid": np.ones((20, 20), np.uint8)}, "valid must be bool"),
        ({"colours": np.zeros((3, 20, 20))}, "colours must be int16"),
        ({"colours": np.zeros((20, 20), np.int16)}, "colours must be int16"),
    ],
)
def test_segment_refuses(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "colours": np.zeros((3, 20, 20), np.int16),
        "valid": np.ones((20, 20), bool),
        "size": 4,
    }
    arguments |= change
    colours, valid = arguments.pop("colours"), arguments.pop("valid")
    with pytest.raises(ValueError, match=message):
        segment(colours, valid, **arguments)  # type: ignore[arg-type]


def test_ids_beyond_32_bits_are_wider() -> None:
    colours, valid = np.zeros((3, 20, 20), np.int16), np.ones((20, 20), bool)
    near = segment(colours, valid, size=1, origin=(0, 0), scene_shape=(1 << 17, 1 << 17))
    far = segment(colours, valid, size=1, origin=(100_000, 0), scene_shape=(1 << 17, 1 << 17))
    assert (near.ids.dtype, far.ids.dtype) == (np.uint32, np.uint64)
    assert np.array_equal(near.labels, far.labels)
    assert np.array_equal(far.ids[1:].astype(np.int64) - near.ids[1:], np.full(len(near.ids) - 1, 100_000 << 17))


def test_colour_refuses() -> None:
    valid = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="need both offset and scale"):
        colour(np.zeros((3, 4, 4), np.float32), valid)
    with pytest.raises(ValueError, match="need both offset and scale"):
        colour(np.zeros((3, 4, 4), np.uint8), valid, offset=[0, 0, 0])
    with pytest.raises(ValueError, match="one finite number"):
        colour(np.zeros((3, 4, 4), np.float32), valid, offset=[0, 0], scale=[1, 1])
    with pytest.raises(ValueError, match="one finite number"):
        colour(np.zeros((3, 4, 4), np.float32), valid, offset=[0, 0, np.nan], scale=[1, 1, 1])
    with pytest.raises(ValueError, match="real"):
        colour(np.zeros((3, 4, 4), complex), valid)
    with pytest.raises(ValueError, match="valid must be bool"):
        colour(np.zeros((3, 4, 4), np.uint8), valid[:3])


@pytest.mark.soak
def test_a_lesser_processor_that_numba_compiles_for_gives_the_same(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from geoseg.segments.superpixels import segment\n"
        "colours = np.random.default_rng(0).integers(-4000, 4000, (3, 60, 60)).astype(np.int16)\n"
        "found = segment(colours, np.ones((60, 60), bool), size=10)\n"
        "sys.stdout.write(found.ids[found.labels].tobytes().hex())"
    )
    lesser = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=lesser, capture_output=True, text=True, check=True)
    colours = np.random.default_rng(0).integers(-4000, 4000, (3, 60, 60)).astype(np.int16)
    expected = id_map(segment(colours, np.ones((60, 60), bool), size=10))
    assert done.stdout == expected.tobytes().hex()


def test_import_needs_no_torch() -> None:
    code = "import sys, geoseg.segments.superpixels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(*, cache: bool = False, **_options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    kernel: Any = kernels.compiled(halo)
    assert kernel.made() is halo


def test_a_kernel_is_made_at_its_first_call() -> None:
    code = (
        "import sys, numpy as np, geoseg.segments.superpixels as s; print('numba' in sys.modules)\n"
        "from geoseg.kernels import compiled\n"
        "inner = compiled(lambda x: x + 1); outer = compiled(lambda x: 2 * inner(x)); print(outer(3), outer(4))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "8", "10"]


@pytest.mark.parametrize("compactness", [3.3, 10.0, 200.0])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_torch_gives_the_same_superpixels(bands: int, compactness: float) -> None:
    torch = pytest.importorskip("torch")
    from geoseg.segments import device

    pairs = [noise(seed, (93, 110), bands, spread=800, holes=0.02) for seed in range(3)]
    colours, valid = np.stack([f for f, _ in pairs]), np.stack([v for _, v in pairs])
    for size in (7, 12):
        settings: dict[str, Any] = {"size": size, "compactness": compactness}
        theirs = device.segment_batch(torch.from_numpy(colours), torch.from_numpy(valid), threads=2, **settings)
        for patch, found in zip(pairs, theirs, strict=True):
            assert np.array_equal(id_map(segment(*patch, **settings)), id_map(found))


def test_torch_gives_a_block_of_the_scene() -> None:
    torch = pytest.importorskip("torch")
    from geoseg.segments.device import TorchBackend

    colours, valid = noise(11, (260, 310), holes=0.05)
    whole = id_map(segment(colours, valid, size=6, iterations=2))
    block = (slice(100, 141), slice(77, 200))
    backend = TorchBackend(torch.device("cpu"))
    ids, area = block_ids(colours, valid, block, halo(6, 2), 6, 2, backend=backend)
    full = np.zeros_like(whole)
    full[area] = ids
    assert np.array_equal(full[block], whole[block])


def test_torch_takes_longer_floats_where_short_ones_would_round() -> None:
    torch = pytest.importorskip("torch")
    from geoseg.segments.device import exact_type

    ordinary, extreme = exact_type(80, 864.0, 3, 16), exact_type(1023, 2047.0, 3, 16)
    assert (ordinary, extreme) == (torch.float32, torch.float64)
    # The largest sums of products: a pixel in one corner of its cell, a centre three cells away, opposite colours.
    products = [2 * 80 * 6 * 80, 2 * 80 * 6 * 80, *[2 * 864 * 864] * 3, 2 * (3 * 80) ** 2 + 3 * 864**2]
    assert sum(products) < 2**24
