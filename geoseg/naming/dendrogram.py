"""A picture of which classes are alike: the tree of their merges, with a swatch and the facts of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from geoseg.classes import LandClass
from geoseg.lazy import lazy
from geoseg.naming.likeness import Tree
from geoseg.outputs.pictures import Picture, font_for, shorten

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
else:
    Image = lazy("PIL.Image")
    ImageDraw = lazy("PIL.ImageDraw")

_ROW, _SWATCH, _GAP, _MARGIN = 22, 24, 10, 12
_TREE = 460
_CHARACTERS = 40
_INK, _PALE, _CUT = (40, 40, 40), (170, 170, 170), (213, 94, 0)


def draw_tree(tree: Tree, classes: Mapping[int, LandClass], notes: Mapping[int, str], groups: int) -> Picture:
    """Return a picture (rows, cols, 3): classes to the left, merges to the right of them, farther for those less alike.

    Distances are drawn by their square root. A dashed line shows where the tree is cut; what is merged there is dark.

    Args:
        tree: The tree.
        classes: Its leaves by id.
        notes: What is written behind the name of each, such as its share.
        groups: The number of groups that it is cut into.
    """
    order = tree.order
    texts = {i: f"{i}  {shorten(classes[i].name, _CHARACTERS)}  {notes.get(i, '')}".rstrip() for i in order}
    font = font_for(list(texts.values()))
    left = (
        _MARGIN + _SWATCH + _GAP + math.ceil(max((font.getlength(text) for text in texts.values()), default=0)) + _GAP
    )
    size = (left + _TREE + _MARGIN, _MARGIN * 2 + _ROW * max(1, len(order)))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    height = {class_id: _MARGIN + _ROW * (i + 0.5) for i, class_id in enumerate(order)}
    for class_id in order:
        top = height[class_id] - 8
        draw.rectangle((_MARGIN, top, _MARGIN + _SWATCH, top + 15), fill=classes[class_id].colour, outline="black")
        draw.text((_MARGIN + _SWATCH + _GAP, height[class_id]), texts[class_id], fill="black", font=font, anchor="lm")
    ends = _draw_joins(draw, tree, {leaf: height[class_id] for leaf, class_id in enumerate(tree.ids)}, left, groups)
    if 1 < groups < len(order):
        for y in range(0, size[1], 8):
            draw.line((ends, y, ends, y + 4), fill=_CUT, width=1)
    return np.asarray(sheet)


def _draw_joins(draw: ImageDraw.ImageDraw, tree: Tree, heights: dict[int, float], left: int, groups: int) -> float:
    """Draw the merges, those that are done in ink and the others pale; return where the cut is."""
    n = len(tree.ids)
    largest = math.sqrt(max((join.distance for join in tree.joins), default=0.0)) or 1.0
    places = dict.fromkeys(range(n), float(left))
    done = n - groups
    for number, join in enumerate(tree.joins):
        x = left + _TREE * math.sqrt(join.distance) / largest
        one, other = heights[join.one], heights[join.other]
        colour, width = (_INK, 2) if number < done else (_PALE, 1)
        for node, y in ((join.one, one), (join.other, other)):
            draw.line((places[node], y, x, y), fill=colour, width=width)
        draw.line((x, one, x, other), fill=colour, width=width)
        heights[n + number], places[n + number] = (one + other) / 2, x
    if not 0 < done < n - 1:
        return float(left)
    return (places[n + done - 1] + places[n + done]) / 2
