"""Laws of the training patches: functions of (seed, step, sample), in which image and labels move together."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from helpers.rasters import landscape, make_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.indices import parse_indices
from geoseg.learning.augment import jitter, transform
from geoseg.learning.imagery import Imagery
from geoseg.learning.patches import Batch, PatchSampler, spread
from geoseg.raster.derived import DerivedScene
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats
from geoseg.recipes import Start, SuperpixelConfig
from geoseg.segments.views import dimensions, superpixel_views

PARTS = ("image", "labels", "moved", "moved_labels", "descriptors")
STATS = BandStats((120.0,) * 4, (50.0,) * 4, (10.0,) * 4, (230.0,) * 4, 1000)


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[list[Scene]]:
    """Two four-band scenes, one narrower than a patch; a fifth of each is nodata."""
    with ExitStack() as stack:
        found = []
        for i, (rows, cols) in enumerate([(150, 130), (90, 50)]):
            pixels = landscape(rows, cols, 4, seed=i)
            pixels[:, : rows // 5] = 0
            path = make_raster(tmp_path / f"{i}.tif", pixels, nodata=0, photometric="minisblack")
            found.append(stack.enter_context(Scene(path, (1, 2, 3, 4))))
        yield found


@pytest.fixture
def sampler(scenes: list[Scene]) -> PatchSampler:
    """Patches of 64 pixels."""
    low, high = np.full(4, 10.0), np.full(4, 230.0)
    return PatchSampler(Imagery(scenes), STATS, SuperpixelConfig(size=8), (low, 1 / (high - low)), 64, seed=3)


def same(one: Batch, two: Batch) -> bool:
    """Whether two batches are equal to the bit."""
    return one.regions == two.regions and all(torch.equal(getattr(one, p), getattr(two, p)) for p in PARTS)


def test_cutting_all_patches_at_once_is_cutting_each(sampler: PatchSampler, scenes: list[Scene]) -> None:
    drawn = [sampler.preview(sample)[0] for sample in range(3)]
    with ThreadPoolExecutor(2) as pool:
        together = sampler.segment_together(drawn, pool)
    for sample, labels in enumerate(together):
        assert np.array_equal(labels, sampler.preview(sample)[1])


def batch(sampler: PatchSampler, step: int, count: int, threads: int = 2) -> Batch:
    """A batch made by `threads` threads."""
    with ThreadPoolExecutor(threads) as pool:
        return sampler.batch(step, count, pool)


def test_batches_do_not_depend_on_threads_or_on_what_was_asked_before(
    sampler: PatchSampler, scenes: list[Scene]
) -> None:
    found = batch(sampler, 5, 6, threads=1)
    assert same(found, batch(sampler, 5, 6, threads=4))
    assert same(found, batch(replace(sampler, imagery=Imagery(scenes)), 5, 6, threads=3))


def test_batches_differ_by_step_sample_and_seed(sampler: PatchSampler) -> None:
    found = batch(sampler, 5, 3)
    assert not torch.equal(found.image[0], found.image[1])
    for other in (batch(sampler, 6, 3), batch(replace(sampler, seed=4), 5, 3)):
        assert not any(torch.equal(a, b) for a in found.image for b in other.image)


def test_a_larger_first_batch_begins_with_the_smaller_one(sampler: PatchSampler) -> None:
    """Patches are numbered from batch to batch, so that all batches of a training are evenly spread together."""
    small, large = batch(sampler, 0, 2), batch(sampler, 0, 5)
    for part in PARTS:
        one, two = getattr(small, part), getattr(large, part)[:2]
        assert torch.equal(one, two[:, : small.regions] if part == "descriptors" else two)


def test_shapes_and_types(sampler: PatchSampler) -> None:
    found = batch(sampler, 0, 3)
    assert found.image.shape == found.moved.shape == (3, 4, 64, 64)
    assert found.labels.shape == found.moved_labels.shape == (3, 64, 64)
    assert found.image.dtype == found.moved.dtype == torch.float32
    assert found.labels.dtype == found.moved_labels.dtype == torch.int64
    assert found.regions == int(found.labels.max())
    assert found.to(torch.device("cpu")).regions == found.regions
    for labels, moved in zip(found.labels, found.moved_labels, strict=True):
        assert set(moved.unique().tolist()) <= {0, *labels.unique().tolist()}


def test_invalid_pixels_look_like_valid_ones_and_are_unlabelled(sampler: PatchSampler) -> None:
    unlabelled = 0
    for step in range(4):
        found = batch(sampler, step, 4)
        for images, labels, others in (
            (found.image, found.labels, set()),
            (found.moved, found.moved_labels, {(0.0,) * 4}),
        ):
            for image, label in zip(images.flatten(2), labels.flatten(1), strict=True):
                seen = {tuple(pixel) for pixel in image[:, label > 0].T.tolist()}
                assert {tuple(pixel) for pixel in image[:, label == 0].T.tolist()} <= seen | others
                unlabelled += int((label == 0).sum())
    assert unlabelled > 0


def test_labels_are_exactly_where_pixels_are_valid(sampler: PatchSampler) -> None:
    for sample in range(6):
        (pixels, valid, _), labels = sampler.preview(sample)
        assert pixels.shape == (4, 64, 64)
        assert np.array_equal(labels > 0, valid)
        assert not pixels[:, ~valid].any()


def test_previews_are_not_those_of_a_step(tmp_path: Path, sampler: PatchSampler) -> None:
    path = make_raster(tmp_path / "large.tif", landscape(400, 400, 4), photometric="minisblack")
    with Scene(path, (1, 2, 3, 4)) as scene:
        sampler = replace(sampler, imagery=Imagery([scene]))
        previews = [torch.from_numpy(sampler.preview(sample)[1]).long() for sample in range(6)]
        for step in range(6):
            trained = batch(sampler, step, 3).labels
            assert not any(torch.equal(labels, other) for labels in previews for other in trained)


def test_the_narrow_scene_is_padded(sampler: PatchSampler) -> None:
    widths = {int(crop.valid.any(axis=0).sum()) for crop, _ in map(sampler.preview, range(40))}
    assert widths == {50, 64}


@given(st.integers(0, 10_000), st.integers(8, 20))
def test_labels_move_with_the_image(seed: int, block: int) -> None:
    side = np.arange(64) // block
    labels = (side[:, None] * 10 + side + 1).astype(np.int32)
    image = np.repeat(labels[None].astype(np.float32), 2, axis=0)
    moved, moved_labels = transform(image, labels, np.random.default_rng(seed))
    assert moved.shape == (2, 64, 64)
    assert moved_labels.dtype == np.int32
    assert moved.dtype == np.float32
    assert all(np.array_equal(band, moved_labels) for band in moved)


def numbered(size: int) -> NDArray[np.int32]:
    """Pixels counted from 1, so that each says where it was."""
    return np.arange(1, size * size + 1, dtype=np.int32).reshape(size, size)


def undone(size: int, moved: NDArray[np.int32]) -> tuple[int, bool, int, int]:
    """The only (quarter turns, flip, down, right) that makes `moved` of the numbered pixels; of few pixels even."""
    rows, cols = np.nonzero(moved)
    found = []
    for turns in range(4):
        for flip in (False, True):
            whole = np.rot90(numbered(size), turns)
            whole = whole[:, ::-1] if flip else whole
            row, col = (int(at[0]) for at in np.nonzero(whole == moved[rows[0], cols[0]]))
            down, right = int(rows[0]) - row, int(cols[0]) - col
            expected = np.zeros_like(moved)
            for r, c in np.ndindex(size, size):
                if 0 <= r + down < size and 0 <= c + right < size:
                    expected[r + down, c + right] = whole[r, c]
            if np.array_equal(expected, moved):
                found.append((turns, flip, down, right))
    assert len(found) == 1
    return found[0]


@given(st.integers(0, 10_000), st.sampled_from([8, 16, 24]))
def test_a_transform_is_a_flip_quarter_turns_and_a_shift_and_nothing_else(seed: int, size: int) -> None:
    labels = numbered(size)
    image = labels[None].astype(np.float32) + np.array([0.25, -7], np.float32)[:, None, None]
    before = image.copy()
    moved, moved_labels = transform(image, labels, np.random.default_rng(seed))
    *_, down, right = undone(size, moved_labels)
    assert max(abs(down), abs(right)) <= size // 8
    assert np.array_equal(image, before)
    assert np.array_equal(labels, numbered(size))
    for band, offset in zip(moved, (0.25, -7), strict=True):
        assert np.array_equal(band, np.where(moved_labels > 0, moved_labels + np.float32(offset), 0))
    inside = moved_labels[moved_labels > 0]
    assert len(np.unique(inside)) == len(inside) == (size - abs(down)) * (size - abs(right))


def test_all_eight_orientations_and_all_shifts_are_reached() -> None:
    image, labels = np.zeros((1, 16, 16), np.float32), numbered(16)
    made = [undone(16, transform(image, labels, np.random.default_rng(seed))[1]) for seed in range(160)]
    assert {(turns, flip) for turns, flip, _, _ in made} == {(t, f) for t in range(4) for f in (False, True)}
    assert {(down, right) for _, _, down, right in made} == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}


def test_transforms_are_drawn_for_each_sample(sampler: PatchSampler) -> None:
    found = batch(sampler, 0, 6)
    assert not any(torch.equal(labels, moved) for labels, moved in zip(found.labels, found.moved_labels, strict=True))


@pytest.mark.parametrize("start", get_args(Start))
def test_descriptors_are_of_the_superpixels_of_the_image_before_its_colours_change(
    sampler: PatchSampler, start: Start
) -> None:
    """They are the same in a sampler whose jitter is another, and those of the patch as it was read."""
    sampler = replace(sampler, start=start)
    found = batch(sampler, 3, 4)
    assert found.descriptors.shape == (4, found.regions, dimensions(start, 4))
    assert found.descriptors.dtype == torch.float32
    for sample in range(4):
        pixels, valid, _ = sampler._draw(np.random.default_rng([3, 3, sample]), 3 * 4 + sample)
        labels = found.labels[sample].numpy().astype(np.int32)
        assert np.array_equal(labels > 0, valid)
        expected = superpixel_views(pixels, labels, found.regions, STATS.low, STATS.high, start)
        assert np.array_equal(found.descriptors[sample].numpy(), expected)
        assert not np.allclose(expected[: int(labels.max())].std(axis=0), 0)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_jitter_leaves_near_infrared_and_what_is_outside_alone(seed: int, bands: int) -> None:
    random = np.random.default_rng(seed)
    inside = random.random((16, 16)) < 0.7
    image: NDArray[np.float32] = random.normal(size=(bands, 16, 16)).astype(np.float32) * inside
    before = image.copy()
    found = jitter(image, inside, random)
    assert np.array_equal(image, before)
    assert found.dtype == np.float32
    assert np.array_equal(found[3:], before[3:])
    assert not found[:, ~inside].any()
    assert np.abs(found[:3] - before[:3])[:, inside].max() > 0
    assert (np.abs(found[:3] - before[:3]) <= 0.1 * np.abs(before[:3]) + 0.1 + 1e-6).all()


def test_patches_are_found_where_most_of_the_scene_is_nodata(tmp_path: Path, sampler: PatchSampler) -> None:
    pixels = np.zeros((4, 640, 640), np.uint8)
    pixels[:, 300:340, 300:340] = landscape(40, 40, 4)
    path = make_raster(tmp_path / "sparse.tif", pixels, nodata=0, photometric="minisblack")
    with Scene(path, (1, 2, 3, 4)) as scene:
        found = batch(replace(sampler, imagery=Imagery([scene])), 0, 20)
    assert (found.labels.flatten(1).amax(dim=1) > 0).all()


def test_imagery_of_nothing_is_an_error(tmp_path: Path, sampler: PatchSampler) -> None:
    path = make_raster(tmp_path / "void.tif", np.zeros((4, 100, 100), np.uint8), nodata=0, photometric="minisblack")
    with Scene(path, (1, 2, 3, 4)) as scene, pytest.raises(InputError, match="almost all nodata"):
        batch(replace(sampler, imagery=Imagery([scene])), 0, 1)


@pytest.mark.parametrize("limits", [(0, 1 << 30), (64 << 20, 1 << 30), (64 << 20, 100_000)])
def test_what_is_kept_decoded_changes_nothing(scenes: list[Scene], limits: tuple[int, int]) -> None:
    imagery = Imagery(scenes, max_cached_image=limits[0], cache_size=limits[1])
    for index, window in ((0, Window.of(10, 20, 64, 64)), (1, Window.of(3, 0, 64, 50)), (0, Window.of(80, 60, 64, 64))):
        found, direct = imagery.read(index, window), scenes[index].read(window)
        assert all(np.array_equal(a, b) for a, b in zip(found, (*direct, direct[1]), strict=True))


def parts(numbers: range, seed: int, sides: tuple[int, int, int]) -> NDArray[np.int64]:
    """The part of the unit cube, cut into a box of parts, that each number of the sequence falls into."""
    points = np.array([spread(seed, number) for number in numbers])
    assert points.min() >= 0
    assert points.max() < 1
    return np.asarray(np.ravel_multi_index(tuple((points * sides).astype(np.int64).T), sides))


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1 << 62))
def test_patches_reach_all_parts_of_the_imagery_evenly(seed: int, first: int) -> None:
    """Wherever counting begins: each of 4 x 4 x 4 parts among 256 patches, each of 64 images among 128."""
    found = parts(range(first, first + 256), seed, (4, 4, 4))
    assert np.bincount(found, minlength=64).min() >= 1
    images = parts(range(first, first + 128), seed, (64, 1, 1))
    assert 1 <= np.bincount(images, minlength=64).min() <= np.bincount(images).max() <= 4


def test_places_depend_on_the_seed_and_are_exact_for_large_numbers() -> None:
    assert not np.isclose(spread(1, 5), spread(2, 5)).any()
    step = (spread(1, 1) - spread(1, 0)) % 1
    # g^4 = g + 1; the steps are 1 / g, 1 / g^2 and 1 / g^3.
    assert (1 / step[0]) ** 4 == pytest.approx(1 / step[0] + 1)
    assert step == pytest.approx(step[0] ** np.arange(1, 4))
    for number in (1 << 41, (1 << 54) + 3, (1 << 62) + 95):
        assert (spread(1, number + 1) - spread(1, number)) % 1 == pytest.approx(step, abs=1e-12)
    for power in range(40, 63):
        assert np.abs(spread(1, 5 + (1 << power)) - spread(1, 5)).max() > 0.01


def test_small_imagery_needs_few_patches(scenes: list[Scene]) -> None:
    """Four coverings are enough, and their number is told where sizes are known."""
    pixels = sum(scene.extent.pixels for scene in scenes)
    assert Imagery(scenes).enough_patches(64) == -(-4 * pixels // 64**2)
    assert Imagery(scenes, uniform=True).enough_patches(64) == math.inf


def test_images_are_kept_without_their_indices(tmp_path: Path) -> None:
    """What is kept has the type of the file, so that as many images fit; windows are the same to the bit."""
    path = make_raster(tmp_path / "scene.tif", landscape(90, 70))
    window = Window.of(11, 7, 50, 60)
    with DerivedScene(path, indices=parse_indices(["exg"])) as scene:
        small, large = Imagery([scene]), Imagery([scene], max_cached_image=90 * 70 * 3)
        expected, _ = scene.read(window)
        for imagery in (small, large):
            np.testing.assert_array_equal(imagery.read(0, window).pixels, expected)
            assert imagery.cached_bytes == 90 * 70 * (3 + 1)
