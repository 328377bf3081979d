"""Failure modes as pictures: two images, and the maps of five ways of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from data import Data
from maps import mapper_of
from networks import learn
from rows import INMARS, Training, parts
from score import Mapper
from variants import CellSampler

from geoseg.classes import ClassMap
from geoseg.outputs.pictures import colourise, montage, save_png

SHOWN = ("tile1_part6", "tile2_part2")
METHODS = {
    "MI, without superpixels": 0,
    "IIC's objective, on superpixels": 0,
    "MI": 0,
    INMARS: 0,
    "geoseg": 2,
}
"""Parts of the ladder, and which of their rows: geoseg is shown as `geoseg predict` makes maps."""


def draw(data: Data, path: Path, quick: bool = False) -> None:
    """Draw to `path` the images, then the maps of MI without superpixels, IIC, MI, InMARS, and geoseg."""
    mappers = [_trained(data, name, row, quick) for name, row in METHODS.items()]
    sheet = []
    for image in data.images:
        if image.path.stem in SHOWN or quick:
            row = [np.ascontiguousarray(np.moveaxis(image.pixels, 0, 2))]
            for mapper in mappers:
                made = mapper(image)
                row.append(colourise(made.clusters[made.regions] + 1, ClassMap.default(data.classes)))
            sheet.append([each[:360, :360] for each in row])
    save_png(montage(sheet), path)


def _trained(data: Data, name: str, row: int, quick: bool) -> Mapper:
    part = parts(data.classes, quick)[f"K = {data.classes}: {name}"]
    assert isinstance(part, Training)
    trained, _ = learn(data, part, 0)
    return mapper_of(data, trained, part.rows[row], part.sampler is not CellSampler)
