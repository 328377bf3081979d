"""Pictures for people: previews, legends, and tables. A picture is an RGB array (rows, cols, 3) of uint8."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.files.atomic import publish_bytes
from geoseg.lazy import lazy

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont
else:
    Image = lazy("PIL.Image")
    ImageDraw = lazy("PIL.ImageDraw")
    ImageFont = lazy("PIL.ImageFont")

Picture = NDArray[np.uint8]
"""RGB, (rows, cols, 3)."""

_LEGEND_ROWS, _LEGEND_CHARACTERS = 32, 60
_MATRIX_CHARACTERS = 26
_FONT_SIZE = 14
_LINE, _SWATCH, _INDENT = 22, 24, 34
_GAP, _LABEL = 6, 300
"""Of a class sheet: pixels between its patches, and left of them for name and note."""
"""A line of a legend: its height, the width of its swatch, and where its text begins, in pixels."""
_MARGIN, _TITLE = 10, 44
"""Around a table, and for the two lines above it, in pixels."""

_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc",
)  # fmt: skip


def stretch(pixels: NDArray[Any], low: Sequence[float], high: Sequence[float]) -> Picture:
    """Return imagery as a picture, stretched linearly per band from low..high to 0..255 and clipped.

    Args:
        pixels: (bands, rows, cols) of any numeric type. The first three bands become red, green and blue; with fewer
            bands, the first one becomes all three.
        low: Per band, the value that becomes 0.
        high: Per band, the value that becomes 255.
    """
    chosen = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    limits = [(low[i], high[i]) for i in range(3)] if len(pixels) >= 3 else [(low[0], high[0])] * 3
    with np.errstate(invalid="ignore"):
        scaled = [(band.astype(np.float64) - a) * (255 / (b - a)) for band, (a, b) in zip(chosen, limits, strict=True)]
    return np.stack([np.nan_to_num(band).clip(0, 255).astype(np.uint8) for band in scaled], axis=-1)


def colourise(classes: NDArray[Any], class_map: ClassMap) -> Picture:
    """Return class ids (rows, cols) in the colours of their class map, nodata in white."""
    table = np.full((int(max(classes.max(initial=0), class_map.highest)) + 1, 3), 255, dtype=np.uint8)
    for entry in class_map.classes:
        table[entry.id] = entry.rgb
    coloured: Picture = table[classes]
    return coloured


def mark_boundaries(picture: Picture, labels: NDArray[np.int32]) -> Picture:
    """Return a copy of the picture with the inner boundaries of superpixels `labels` (rows, cols) in yellow."""
    from skimage.segmentation import find_boundaries

    marked = picture.copy()
    boundaries = find_boundaries(labels, mode="inner")  # type: ignore[no-untyped-call]
    marked[boundaries] = (255, 230, 0)
    return marked


def montage(rows: Sequence[Sequence[Picture]], gap: int = 4) -> Picture:
    """Return pictures of equal size in a grid on white, `gap` pixels apart."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def add_legend(picture: Picture, classes: Sequence[LandClass], shares: Sequence[float]) -> Picture:
    """Return the picture with a legend to its right: colour, name, and share in [0, 1] of each class."""
    width = 210
    height = max(picture.shape[0], _LINE * len(classes) + 16)
    sheet = Image.new("RGB", (picture.shape[1] + width, height), "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(sheet)
    font = font_for([entry.name for entry in classes])
    left = picture.shape[1] + 12
    for i, (entry, share) in enumerate(zip(classes, shares, strict=True)):
        _draw_entry(draw, font, (left, 8 + i * _LINE), entry, f"{entry.name}  {share:.1%}")
    return np.asarray(sheet)


def draw_legend(classes: Sequence[LandClass]) -> Picture:
    """Return a legend: the colour and the name of each class, in columns of up to 32 rows, or more for many classes."""
    pad = 12
    font = font_for([entry.name for entry in classes])
    max_rows = max(_LEGEND_ROWS, math.isqrt(8 * len(classes)))
    rows = -(-len(classes) // max(1, -(-len(classes) // max_rows)))
    columns = [classes[start : start + rows] for start in range(0, len(classes), rows or 1)]
    names = [[shorten(entry.name, _LEGEND_CHARACTERS) for entry in column] for column in columns]
    widths = [_INDENT + max(math.ceil(font.getlength(name)) for name in column) + 2 * pad for column in names]
    sheet = Image.new("RGB", (max(1, sum(widths)), rows * _LINE + 2 * pad - 6), "white")
    draw = ImageDraw.Draw(sheet)
    left = pad
    for column, texts, width in zip(columns, names, widths, strict=True):
        for i, (entry, text) in enumerate(zip(column, texts, strict=True)):
            _draw_entry(draw, font, (left, pad + i * _LINE), entry, text)
        left += width
    return np.asarray(sheet)


def draw_matrix(
    shares: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], title: str, legend: str
) -> Picture:
    """Return a table of shares, white to dark blue, each cell with its value in percent.

    Args:
        shares: float64 (R, C) in [0, 1]; nan is drawn in grey. Cells (i, i) are framed.
        rows: R names, to the left. Above 40 rows or columns, cells are half as large.
        columns: C names, turned upright, above.
        title: The first line of the picture.
        legend: The second line.
    """
    cell = 44 if max(len(rows), len(columns)) <= 40 else 22
    font, small = font_for([*rows, *columns]), ImageFont.load_default(12 if cell == 44 else 9)
    rows, columns = ([shorten(name, _MATRIX_CHARACTERS) for name in names] for names in (rows, columns))
    left = _MARGIN + max(int(font.getlength(name)) for name in rows) + _MARGIN
    head = max(int(font.getlength(name)) for name in columns) + _MARGIN
    top = _MARGIN + _TITLE + head
    lines = [_MARGIN + int(font.getlength(text)) for text in (title, legend)]
    size = (_MARGIN + max(left + cell * len(columns), *lines), top + cell * len(rows) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((_MARGIN, _MARGIN), f"{title}\n{legend}", fill="black", font=font)
    for j, name in enumerate(columns):
        upright = Image.new("RGB", (head, 20), "white")
        ImageDraw.Draw(upright).text((0, 10), name, fill="black", font=font, anchor="lm")
        sheet.paste(upright.rotate(90, expand=True), (left + j * cell + (cell - 20) // 2, top - head))
    for i, name in enumerate(rows):
        draw.text((left - _MARGIN, top + i * cell + cell // 2), name, fill="black", font=font, anchor="rm")
        for j, share in enumerate(shares[i].tolist()):
            _draw_cell(draw, small, (left + j * cell, top + i * cell), cell, share, framed=i == j)
    return np.asarray(sheet)


def draw_sheet(classes: Sequence[LandClass], notes: Sequence[str], patches: Sequence[Sequence[Picture]]) -> Picture:
    """Return a row for each class: its colour, its name and a note, and its patches.

    Args:
        classes: The classes.
        notes: A line about each of them.
        patches: Square pictures of each, all of one size; the name of a class without any is grey.
    """
    gap, label = _GAP, _LABEL
    side, height = _row_size(patches)
    columns = max([1, *map(len, patches)])
    size = (label + columns * (side + gap) + gap, len(classes) * height + gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font, small = font_for([entry.name for entry in classes]), font_for(notes)
    boxes = sheet_boxes(patches)
    for i, (entry, note, row) in enumerate(zip(classes, notes, patches, strict=True)):
        top = gap + i * height
        draw.rectangle((gap, top, gap + _SWATCH, top + side - 1), fill=entry.colour, outline="black")
        lines = _wrapped(entry.name, font, label - _SWATCH - 4 * gap, 3)
        draw.multiline_text(
            (_SWATCH + 3 * gap, top), "\n".join(lines), fill="black" if row else "#767676", font=font, spacing=6
        )
        draw.text((_SWATCH + 3 * gap, top + len(lines) * _LINE), note, fill="#595959", font=small)
        for patch, (left, upper, _, _) in zip(row, boxes[i], strict=True):
            sheet.paste(Image.fromarray(patch), (left, upper))
    return np.asarray(sheet)


def sheet_boxes(patches: Sequence[Sequence[Picture]]) -> list[list[tuple[int, int, int, int]]]:
    """Return where `draw_sheet` puts each patch: left, top, width and height in pixels, for each class."""
    side, height = _row_size(patches)
    return [
        [(_LABEL + j * (side + _GAP), _GAP + i * height, patch.shape[1], patch.shape[0]) for j, patch in enumerate(row)]
        for i, row in enumerate(patches)
    ]


def _row_size(patches: Sequence[Sequence[Picture]]) -> tuple[int, int]:
    """Side of a patch on a sheet, and height of a row."""
    side = max([64, *(len(patch) for row in patches for patch in row)])
    return side, max(side, 4 * _LINE) + _GAP


def save_png(picture: Picture, path: Path) -> None:
    """Write the picture to `path`, atomically.

    Raises:
        WriteError: The file system failed.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    publish_bytes(path, buffer.getvalue())


def _draw_entry(draw: ImageDraw.ImageDraw, font: Any, corner: tuple[int, int], entry: LandClass, text: str) -> None:
    """Draw one line of a legend: a swatch in the colour of the class, and the text."""
    left, top = corner
    draw.rectangle((left, top, left + _SWATCH, top + 15), fill=entry.colour, outline="black")
    draw.text((left + _INDENT, top), text, fill="black", font=font)


def _draw_cell(
    draw: ImageDraw.ImageDraw, font: Any, corner: tuple[int, int], cell: int, share: float, framed: bool
) -> None:
    """Draw one cell of a table of shares."""
    left, top = corner
    box = (left, top, left + cell - 2, top + cell - 2)
    if math.isnan(share):
        fill = (200, 200, 200)
    else:
        red, green, blue = (round(255 + (dark - 255) * share) for dark in (8, 48, 107))
        fill = (red, green, blue)
    draw.rectangle(box, fill=fill, outline=(213, 94, 0) if framed else fill, width=2)
    if not math.isnan(share):
        ink = "white" if share > 0.5 else "black"
        draw.text((left + cell // 2, top + cell // 2), f"{100 * share:.0f}", fill=ink, font=font, anchor="mm")


def font_for(texts: Sequence[str]) -> Any:
    """Pillow's own font, which is the same everywhere, unless a font of the system has more of the characters."""
    characters = {character for text in texts for character in text if character.isprintable()}
    best, fewest = ImageFont.load_default(_FONT_SIZE), len(characters) + 1
    for name in (None, *_FONTS):
        try:
            font = best if name is None else ImageFont.truetype(name, _FONT_SIZE)
        except OSError:
            continue
        missing_glyph = bytes(font.getmask("\uffff"))
        missing = sum(bytes(font.getmask(character)) == missing_glyph for character in characters)
        if missing < fewest:
            best, fewest = font, missing
        if not missing:
            break
    return best


def _wrapped(text: str, font: Any, width: int, most: int) -> list[str]:
    """A text in lines of at most `width` pixels; what does not fit into `most` lines is cut off."""
    lines = [""]
    for character in " ".join(text.split()):
        if font.getlength(lines[-1] + character) <= width:
            lines[-1] += character
            continue
        if len(lines) == most:
            lines[-1] = lines[-1][:-1] + "…"
            break
        # A line ends at its last blank, if it has one.
        head, blank, tail = lines[-1].rpartition(" ")
        lines[-1:] = [head, tail + character] if blank and character != " " else [lines[-1], character.strip()]
    return lines


def shorten(name: str, length: int) -> str:
    """Return a name on one line, cut to a number of characters."""
    name = " ".join(name.split())
    return name if len(name) <= length else name[: length - 1] + "…"
