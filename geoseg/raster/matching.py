"""Values of one scene brought to the distribution of others, band by band, by the statistics of the whole scene.

Sun, haze, season and the exposure of a camera change the values of the same ground from one date to the next. The
mapping is one for all pixels of the scene, so that it depends neither on blocks nor on the part that is mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Match
from geoseg.raster.scaling import Conversion, held
from geoseg.raster.statistics import BandStats


@dataclass(frozen=True)
class Curve:
    """Values to other values: per band, a line through nodes, which goes on beyond the first and the last.

    Attributes:
        source: Values of the nodes, per band, at least two, ascending.
        target: What they become, ascending.
        dtype: NumPy name of the type; integers are rounded, and what it cannot hold becomes its nearest value.
    """

    source: tuple[tuple[float, ...], ...]
    target: tuple[tuple[float, ...], ...]
    dtype: str

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the converted pixels (bands, rows, cols); NaN becomes 0 in a type of integers."""
        converted = np.empty(pixels.shape, self.dtype)
        for values, out, source, target in zip(pixels, converted, self.source, self.target, strict=True):
            if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
                first = int(np.iinfo(values.dtype).min)
                every = np.arange(first, int(np.iinfo(values.dtype).max) + 1)
                out[...] = held(_line(every, source, target), self.dtype)[values.astype(np.int32) - first]
            else:
                out[...] = held(_line(values, source, target), self.dtype)
        return converted

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"source": list(map(list, self.source)), "target": list(map(list, self.target)), "dtype": self.dtype}


def matching(scene: BandStats, learnt: BandStats, dtype: str, kind: Match) -> Conversion | Curve:
    """Return what gives the values of a scene the statistics of the imagery that a model learnt from.

    Args:
        scene: Statistics of the scene.
        learnt: Those of the model.
        dtype: Type of the model's imagery, in whose range the values stay.
        kind: 'moments': mean and standard deviation become those of the model. 'percentiles': so do the 2nd percentile,
            the mean and the 98th percentile, with lines between them; a band whose mean does not lie between its
            percentiles is matched by its moments.
    """
    gain = tuple(there / here for here, there in zip(scene.std, learnt.std, strict=True))
    bias = tuple(there - here * g for here, there, g in zip(scene.mean, learnt.mean, gain, strict=True))
    if kind == "moments":
        return Conversion(gain, bias, dtype)
    source: list[tuple[float, ...]] = []
    target: list[tuple[float, ...]] = []
    for here, there in zip(_nodes(scene), _nodes(learnt), strict=True):
        inside = all(low < middle < high for low, middle, high, _ in (here, there))
        # The mean and the mean plus one deviation stand for the moments.
        chosen = (0, 1, 2) if inside else (1, 3)
        source.append(tuple(here[i] for i in chosen))
        target.append(tuple(there[i] for i in chosen))
    return Curve(tuple(source), tuple(target), dtype)


def _nodes(stats: BandStats) -> list[tuple[float, float, float, float]]:
    """Per band: low, mean, high, and the mean plus one deviation."""
    above = [mean + std for mean, std in zip(stats.mean, stats.std, strict=True)]
    return list(zip(stats.low, stats.mean, stats.high, above, strict=True))


def _line(values: NDArray[Any], source: tuple[float, ...], target: tuple[float, ...]) -> NDArray[np.float64]:
    numbers = values.astype(np.float64)
    x, y = np.asarray(source), np.asarray(target)
    part = np.searchsorted(x[1:-1], numbers, side="right")
    result: NDArray[np.float64] = y[part] + (numbers - x[part]) * (np.diff(y) / np.diff(x))[part]
    return result
