"""Pictures: colours are those of the class map, and stretches clip instead of wrapping."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from geoseg.classes import ClassMap, LandClass
from geoseg.outputs.pictures import (
    Picture,
    add_legend,
    colourise,
    draw_legend,
    mark_boundaries,
    montage,
    save_png,
    stretch,
)


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(["uint8", "uint16", "int16", "float32"]))
def test_stretch_rises_and_clips(seed: int, bands: int, dtype: str) -> None:
    pixels = np.sort(np.random.default_rng(seed).integers(0, 250, size=(bands, 1, 60)), axis=2).astype(dtype)
    picture = stretch(pixels, [50.0] * bands, [200.0] * bands)
    assert picture.shape == (1, 60, 3)
    assert picture.dtype == np.uint8
    for channel in range(3):
        band = pixels[channel if bands >= 3 else 0, 0].astype(float)
        values = picture[0, :, channel].astype(int)
        assert (np.diff(values) >= 0).all()
        assert (values[band <= 50] == 0).all()
        assert (values[band >= 200] == 255).all()
        assert np.abs(values - (band.clip(50, 200) - 50) * 1.7).max() <= 1


def test_what_is_not_finite_is_drawn_without_a_warning() -> None:
    pixels = np.array([[[np.nan, np.inf, -np.inf, 1.0]]], dtype=np.float32)
    assert stretch(pixels, [0.0], [1.0])[0, :, 0].tolist() == [0, 255, 0, 255]


@given(st.integers(0, 100), st.integers(1, 300))
def test_painted_pixels_have_the_colour_of_their_class(seed: int, count: int) -> None:
    class_map = ClassMap.default(count)
    classes = np.random.default_rng(seed).integers(0, count + 1, size=(9, 11)).astype(class_map.dtype)
    colours = {0: (255, 255, 255)} | {entry.id: entry.rgb for entry in class_map.classes}
    picture = colourise(classes, class_map)
    for row, col in np.ndindex(classes.shape):
        assert tuple(picture[row, col].tolist()) == colours[int(classes[row, col])]


def test_outlines_follow_the_boundaries_and_leave_the_picture_itself_alone() -> None:
    picture = np.full((20, 20, 3), 90, np.uint8)
    labels = np.ones((20, 20), np.int32)
    labels[:, 10:] = 2
    drawn = mark_boundaries(picture, labels)
    changed = (drawn != picture).any(axis=2)
    assert (picture == 90).all()
    assert np.flatnonzero(changed.any(axis=0)).tolist() == [9, 10]
    assert (drawn[changed] == (255, 230, 0)).all()


@pytest.mark.parametrize(("rows", "cols", "gap"), [(1, 1, 4), (2, 3, 4), (3, 2, 0)])
def test_pictures_side_by_side_are_all_there(rows: int, cols: int, gap: int) -> None:
    pictures = [[np.full((5, 7, 3), 10 * i + j, np.uint8) for j in range(cols)] for i in range(rows)]
    sheet = montage(pictures, gap)
    assert sheet.shape == (rows * 5 + (rows - 1) * gap, cols * 7 + (cols - 1) * gap, 3)
    for i, row in enumerate(pictures):
        for j, picture in enumerate(row):
            top, left = i * (5 + gap), j * (7 + gap)
            assert np.array_equal(sheet[top : top + 5, left : left + 7], picture)
    assert (sheet == 255).all(axis=2).sum() == sheet.shape[0] * sheet.shape[1] - rows * cols * 35


def test_the_legend_has_every_colour_beside_the_unchanged_picture() -> None:
    classes = ClassMap.default(20)
    picture = np.random.default_rng(0).integers(0, 255, size=(60, 80, 3)).astype(np.uint8)
    sheet = add_legend(picture, classes.classes, [0.05] * 20)
    assert np.array_equal(sheet[:60, :80], picture)
    assert sheet.shape[0] > 20 * 20
    legend = {tuple(colour) for colour in sheet[:, 80:].reshape(-1, 3).tolist()}
    assert {entry.rgb for entry in classes.classes} <= legend


def test_a_share_is_needed_for_every_class() -> None:
    with pytest.raises(ValueError, match="shorter"):
        add_legend(np.zeros((60, 80, 3), np.uint8), ClassMap.default(3).classes, [0.5, 0.5])


def named(*names: str) -> list[LandClass]:
    return [LandClass(i, name, LandClass.default(i).colour) for i, name in enumerate(names, 1)]


def swatches(picture: Picture) -> list[tuple[int, int, int, int, int]]:
    """(left, top, and the colour) of each field of one colour that is 23 x 14 pixels within a black frame."""
    black = (picture == 0).all(axis=2)
    found = []
    for top, left in np.argwhere(black[:-15, :-24] & black[15:, :-24] & black[:-15, 24:] & black[15:, 24:]):
        inside = picture[top + 1 : top + 15, left + 1 : left + 24]
        frame = black[top : top + 16, left : left + 25]
        if frame[0].all() and frame[-1].all() and (inside == inside[0, 0]).all() and not frame[1:-1, 1:-1].any():
            found.append((int(left), int(top), *inside[0, 0].tolist()))
    return found


@pytest.mark.parametrize("count", [1, 2, 8, 32, 33, 100, 300])
def test_the_legend_alone_has_every_class_in_order(count: int) -> None:
    classes = ClassMap.default(count).classes
    found = swatches(draw_legend(classes))
    assert [colour for _, _, *colour in sorted(found)] == [list(entry.rgb) for entry in classes]
    height, width, _ = draw_legend(classes).shape
    assert height <= 32 * 22 + 24 or count > 128
    assert height < 2 * width or count <= 32


def test_names_are_written_beside_their_colours() -> None:
    with_names, without = draw_legend(named("water", "roofs")), draw_legend(named("water", " "))
    assert with_names.shape == without.shape
    differs = (with_names != without).any(axis=2)
    assert not differs[:28].any()
    assert differs[34:50, 46:].any()


def test_the_legend_is_as_wide_as_the_longest_name_but_not_endless() -> None:
    short, long, endless = (draw_legend(named("x" * length)).shape[1] for length in (3, 30, 3000))
    assert short < long < endless < 1000
    assert (draw_legend(named("x" * 30))[:, -12:] == 255).all()


def test_a_name_is_one_line() -> None:
    assert np.array_equal(draw_legend(named("a\n b", "c")), draw_legend(named("a b", "c")))


def test_a_legend_of_no_classes_is_a_picture() -> None:
    assert draw_legend([]).size > 0


def test_letters_that_pillows_own_font_lacks_are_drawn_where_a_font_has_them() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 14)
    except OSError:
        pytest.skip("no font here but Pillow's own")
    pictures = [draw_legend(named(letter)) for letter in ("ä", "ö", "ж")]
    assert not any(np.array_equal(a, b) for a, b in pairwise(pictures)), "boxes instead of letters"


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, size=(30, 40, 3)).astype(np.uint8)
    save_png(picture, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
