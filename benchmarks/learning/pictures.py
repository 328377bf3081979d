"""Failure modes as pictures: two images, and the maps of five ways of training."""

from __future__ import annotations

from pathlib import Path

import networks
import numpy as np
from data import Data
from ladder import FEW, INMARS, STEPS, K
from networks import learn, mapper, reconstruction
from score import Mapper

from geoseg.classes import ClassMap
from geoseg.outputs.pictures import colourise, montage, save_png

SHOWN = ("tile1_part6", "tile2_part2")


def draw(data: Data, path: Path) -> None:
    """Draw to `path` the images, then the maps of MI without superpixels, IIC, MI, InMARS, and geoseg."""
    mappers: list[Mapper] = []
    for name in (
        "MI, without superpixels",
        "IIC's objective, on superpixels",
        "MI",
        "InMARS: MI + adversarial + geometric",
    ):
        settings, kind, superpixels = INMARS[name]
        mappers.append(_trained(data, reconstruction(K, STEPS, **settings), kind, superpixels))
    mappers.append(_trained(data, FEW, networks.Trainer, superpixels=True))
    sheet = []
    for image in data.images:
        if image.path.stem in SHOWN:
            row = [np.ascontiguousarray(np.moveaxis(image.pixels, 0, 2))]
            row += [colourise(mapped(image) + 1, ClassMap.default(K)) for mapped in mappers]
            sheet.append([each[:360, :360] for each in row])
    save_png(montage(sheet), path)


def _trained(data: Data, recipe: networks.Recipe, kind: type[networks.Trainer], superpixels: bool) -> Mapper:
    *_, (_, trained) = learn(data, recipe, 0, kind, superpixels)
    return mapper(data, trained, "last", superpixels)
