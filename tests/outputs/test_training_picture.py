"""The picture of a training shows the map that the model would make."""

from __future__ import annotations

import numpy as np
from helpers.fields import BRIGHT, DARK, fields_trainer, made_mixture
from numpy.typing import NDArray

from geoseg.classes import ClassMap
from geoseg.outputs.training_picture import training_picture

LOGITS = (0.1, 0.0, 0.2)
"""Of a network that prefers the third class, faintly."""


def maps(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The third and the sixth of the pictures in each row, which show classes: (rows, 2 * 64, 3)."""
    side, gap = 64, (picture.shape[1] - 6 * 64) // 5
    return np.hstack([picture[:, index * (side + gap) :][:, :side] for index in (2, 5)])


def test_the_classes_are_those_of_the_experts() -> None:
    colours = [entry.rgb for entry in ClassMap.default(3).classes]
    of_network = maps(training_picture(fields_trainer(None, LOGITS)))
    mixture = made_mixture((DARK, BRIGHT, 9000), 1 / 5)
    of_model = maps(training_picture(fields_trainer(mixture, LOGITS)))
    shares = [[(picture == colour).all(axis=2).mean() for colour in colours] for picture in (of_network, of_model)]
    assert shares[0][:2] == [0, 0]
    assert shares[0][2] > 0.9
    assert min(shares[1][:2]) > 0.2
    assert shares[1][2] == 0
