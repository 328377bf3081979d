"""Pictures people look at: what was learnt, and how a map turned out. RGB arrays (rows, cols, 3) uint8 and PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geoseg.classes import ClassMap, LandClass
from geoseg.files.atomic import publish_bytes

Picture = NDArray[np.uint8]

_LEGEND_ROWS, _LEGEND_LETTERS = 32, 60

_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc",
)  # fmt: skip


def rgb(pixels: NDArray[Any], low: Sequence[float], high: Sequence[float]) -> Picture:
    """Return the first three bands (the first one three times where there are fewer) of (bands, rows, cols),
    stretched linearly from low..high per band to 0..255."""
    chosen = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    span = [(low[i], high[i]) for i in range(3)] if len(pixels) >= 3 else [(low[0], high[0])] * 3
    with np.errstate(invalid="ignore"):
        scaled = [(band.astype(np.float64) - a) * (255 / (b - a)) for band, (a, b) in zip(chosen, span, strict=True)]
    return np.stack([np.nan_to_num(band).clip(0, 255).astype(np.uint8) for band in scaled], axis=-1)


def painted(classes: NDArray[Any], class_map: ClassMap) -> Picture:
    """Return a class raster (rows, cols) in the colours of its map, nodata white."""
    table = np.full((int(max(classes.max(initial=0), len(class_map))) + 1, 3), 255, dtype=np.uint8)
    for entry in class_map.classes:
        table[entry.id] = entry.rgb
    coloured: Picture = table[classes]
    return coloured


def outlined(picture: Picture, labels: NDArray[np.int32]) -> Picture:
    """Return the picture with the boundaries of its superpixels drawn in yellow."""
    from skimage.segmentation import find_boundaries

    drawn = picture.copy()
    boundaries = find_boundaries(labels, mode="inner")  # type: ignore[no-untyped-call]
    drawn[boundaries] = (255, 230, 0)
    return drawn


def side_by_side(rows: Sequence[Sequence[Picture]], gap: int = 4) -> Picture:
    """Return one picture of rows of pictures of equal size, on white."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full((len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def with_legend(picture: Picture, class_map: ClassMap, shares: Sequence[float]) -> Picture:
    """Return the picture with a legend to its right: colour, name, and share in [0, 1] of each class."""
    line, width = 22, 210
    height = max(picture.shape[0], line * len(class_map) + 16)
    sheet = Image.new("RGB", (picture.shape[1] + width, height), "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(sheet)
    font = _font(14, [entry.name for entry in class_map.classes])
    left = picture.shape[1] + 12
    for i, (entry, share) in enumerate(zip(class_map.classes, shares, strict=True)):
        top = 8 + i * line
        draw.rectangle((left, top, left + 24, top + 15), fill=entry.colour, outline="black")
        draw.text((left + 34, top), f"{entry.name}  {share:.1%}", fill="black", font=font)
    return np.asarray(sheet)


def legend(classes: Sequence[LandClass]) -> Picture:
    """Return the colour and the name of each class, in as many columns as keep the picture from growing tall."""
    line, pad, swatch, gap = 22, 12, 24, 10
    font = _font(14, [entry.name for entry in classes])
    most = max(_LEGEND_ROWS, math.isqrt(8 * len(classes)))
    rows = -(-len(classes) // max(1, -(-len(classes) // most)))
    columns = [classes[start : start + rows] for start in range(0, len(classes), rows or 1)]
    names = [[_shortened(entry.name, _LEGEND_LETTERS) for entry in column] for column in columns]
    widths = [swatch + gap + max(math.ceil(font.getlength(name)) for name in column) + 2 * pad for column in names]
    sheet = Image.new("RGB", (max(1, sum(widths)), rows * line + 2 * pad - 6), "white")
    draw = ImageDraw.Draw(sheet)
    left = pad
    for column, texts, width in zip(columns, names, widths, strict=True):
        for i, (entry, text) in enumerate(zip(column, texts, strict=True)):
            top = pad + i * line
            draw.rectangle((left, top, left + swatch, top + 15), fill=entry.colour, outline="black")
            draw.text((left + swatch + gap, top), text, fill="black", font=font)
        left += width
    return np.asarray(sheet)


def matrix_picture(
    shares: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], title: str, legend: str
) -> Picture:
    """Return a table of shares (R, C) in [0, 1], white to dark blue with its value in percent, under names along both
    sides; the cells (i, i) are framed, nan is grey. Above 40 names the cells are half as large."""
    cell, pad = (44 if max(len(rows), len(columns)) <= 40 else 22), 10
    font, small = _font(14, [*rows, *columns]), ImageFont.load_default(12 if cell == 44 else 9)
    rows, columns = ([_shortened(name, 26) for name in names] for names in (rows, columns))
    left = pad + max(int(font.getlength(name)) for name in rows) + pad
    head = max(int(font.getlength(name)) for name in columns) + pad
    top = pad + 44 + head
    width = pad + max(left + cell * len(columns), *(pad + int(font.getlength(text)) for text in (title, legend)))
    sheet = Image.new("RGB", (width, top + cell * len(rows) + pad), "white")
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((pad, pad), f"{title}\n{legend}", fill="black", font=font)
    for j, name in enumerate(columns):
        upright = Image.new("RGB", (head, 20), "white")
        ImageDraw.Draw(upright).text((0, 10), name, fill="black", font=font, anchor="lm")
        sheet.paste(upright.rotate(90, expand=True), (left + j * cell + (cell - 20) // 2, top - head))
    for i, name in enumerate(rows):
        draw.text((left - pad, top + i * cell + cell // 2), name, fill="black", font=font, anchor="rm")
        for j, share in enumerate(shares[i]):
            x, y = left + j * cell, top + i * cell
            fill = (200, 200, 200) if np.isnan(share) else tuple(round(255 + (c - 255) * share) for c in (8, 48, 107))
            frame = (213, 94, 0) if i == j else fill
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=fill, outline=frame, width=2)
            if not np.isnan(share):
                ink = "white" if share > 0.5 else "black"
                draw.text((x + cell // 2, y + cell // 2), f"{100 * share:.0f}", fill=ink, font=small, anchor="mm")
    return np.asarray(sheet)


def _font(size: int, texts: Sequence[str]) -> Any:
    """Return Pillow's own font, which is the same everywhere, unless one of the system's has more of the letters."""
    letters = {letter for text in texts for letter in text if letter.isprintable()}
    best, fewest = ImageFont.load_default(size), len(letters) + 1
    for name in (None, *_FONTS):
        try:
            font = best if name is None else ImageFont.truetype(name, size)
        except OSError:
            continue
        gap = bytes(font.getmask("\uffff"))
        lacking = sum(bytes(font.getmask(letter)) == gap for letter in letters)
        if lacking < fewest:
            best, fewest = font, lacking
        if not lacking:
            break
    return best


def _shortened(name: str, length: int) -> str:
    name = " ".join(name.split())
    return name if len(name) <= length else name[: length - 1] + "…"


def save_png(picture: Picture, path: Path) -> None:
    """Write the picture to `path`, atomically.

    Raises:
        WriteError: the file system failed.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    publish_bytes(path, buffer.getvalue())
