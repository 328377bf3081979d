"""Laws of pooling over superpixels: means are exact, and the same whoever adds them up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.segments.regions import classify, paint, region_means


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int32], int, int, tuple[int, int]]:
    """A field, labels over it, their count, the stride and the offset of the labels in the field."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    stride = draw(st.sampled_from([1, 2, 4]))
    offset = (draw(st.integers(0, stride - 1)), draw(st.integers(0, stride - 1)))
    rows, cols, count = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 9))
    coarse = random.integers(0, count + 1, size=(rows // 3 + 1, cols // 5 + 1))
    labels = coarse[np.arange(rows)[:, None] // 3, np.arange(cols) // 5].astype(np.int32)
    shape = tuple(-(-(length + first) // stride) for length, first in zip((rows, cols), offset, strict=True))
    field = random.normal(0, draw(st.sampled_from([0.01, 1.0, 50.0])), size=(*shape, 3)).astype(np.float32)
    return field, labels, count, stride, offset


def full(field: NDArray[np.float32], labels: NDArray[np.int32], stride: int, offset: tuple[int, int]) -> NDArray:
    """The field at every pixel of the labels, (rows, cols, K)."""
    rows, cols = ((np.arange(n) + first) // stride for n, first in zip(labels.shape, offset, strict=True))
    return field[rows[:, None], cols]


@given(cases())
def test_means_are_those_of_numpy(case: tuple) -> None:
    field, labels, count, stride, offset = case
    means = region_means(field, labels, count, stride, offset)
    assert means.shape == (count + 1, 3)
    assert means.dtype == np.float32
    pixels = full(field, labels, stride, offset).astype(np.float64)
    for region in range(1, count + 1):
        of_region = pixels[labels == region]
        expected = of_region.mean(axis=0) if len(of_region) else np.zeros(3)
        assert np.abs(means[region] - expected).max() <= 2**-14


@given(cases())
def test_row_zero_and_empty_regions_are_zero(case: tuple) -> None:
    field, labels, count, stride, offset = case
    means = region_means(field + 1, labels, count + 2, stride, offset)
    assert not means[0].any()
    assert not means[count + 1 :].any()


@given(cases(), st.integers(2, 5))
def test_means_do_not_depend_on_threads(case: tuple, threads: int) -> None:
    field, labels, count, stride, offset = case
    one = region_means(field, labels, count, stride, offset, threads=1)
    assert np.array_equal(one, region_means(field, labels, count, stride, offset, threads=threads))


@given(cases(), st.data())
def test_a_region_within_a_part_has_the_mean_it_has_in_the_whole(case: tuple, data: st.DataObject) -> None:
    field, labels, count, stride, offset = case
    whole = region_means(field, labels, count, stride, offset)
    row = data.draw(st.integers(0, labels.shape[0] - 1))
    col = data.draw(st.integers(0, labels.shape[1] - 1))
    first, rest = divmod(row + offset[0], stride), divmod(col + offset[1], stride)
    part = region_means(
        field[first[0] :, rest[0] :], np.ascontiguousarray(labels[row:, col:]), count, stride, (first[1], rest[1])
    )
    outside = np.ones(labels.shape, dtype=bool)
    outside[row:, col:] = False
    inside = sorted(set(range(1, count + 1)) - set(labels[outside].tolist()))
    assert np.array_equal(part[inside], whole[inside])


@given(cases())
def test_values_off_the_regions_have_no_influence(case: tuple) -> None:
    field, labels, count, stride, offset = case
    means = region_means(field, labels, count, stride, offset)
    used = np.zeros(field.shape[:2], dtype=bool)
    rows, cols = np.nonzero(labels)
    used[(rows + offset[0]) // stride, (cols + offset[1]) // stride] = True
    other = np.where(used[..., None], field, np.float32(4e4))
    assert np.array_equal(means, region_means(other, labels, count, stride, offset))


def test_values_beyond_the_range_are_clipped_and_do_not_wrap() -> None:
    field = np.array([[[1e9, -1e9, 65536.0]]], dtype=np.float32)
    means = region_means(field, np.ones((4, 4), np.int32), 1, 4, (0, 0))
    assert means[1].tolist() == [65536.0, -65536.0, 65536.0]


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(2, 8))
def test_classify_is_argmax_and_its_softmax(seed: int, regions: int, classes: int) -> None:
    means = np.random.default_rng(seed).normal(0, 3, size=(regions, classes)).astype(np.float32)
    ids, probability = classify(means)
    p = np.exp(means.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert np.array_equal(ids, p.argmax(axis=1) + 1)
    assert np.abs(probability - p.max(axis=1)).max() < 1e-6


def test_the_lowest_of_equal_classes_wins_and_huge_logits_stay_finite() -> None:
    ids, probability = classify(np.array([[2, 2, 1], [6e4, -6e4, 6e4]], dtype=np.float32))
    assert ids.tolist() == [1, 1]
    assert np.isfinite(probability).all()
    assert probability[1] == np.float32(0.5)


@given(cases())
def test_paint_gives_each_pixel_the_value_of_its_region(case: tuple) -> None:
    _, labels, count, _, _ = case
    values = np.arange(count + 1) * 7
    assert np.array_equal(paint(values, labels), labels * 7)
