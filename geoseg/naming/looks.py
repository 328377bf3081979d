"""How classes look to a person: the colour as it is displayed, indices where the bands allow, contrast and share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.bands import customary_names, read_names
from geoseg.indices import FORMULAS
from geoseg.model.appearance import Appearance
from geoseg.raster.scaling import Scaling
from geoseg.raster.statistics import BandStats

_GREY = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class Roles:
    """Which bands show what, as indices; None where no band does, or the names do not say so.

    Attributes:
        rgb: The bands that are displayed as red, green and blue.
        coloured: Whether these are red, green and blue, by their names or by custom; else colours say nothing.
        infrared: Near infrared.
    """

    rgb: tuple[int, int, int]
    coloured: bool
    infrared: int | None

    @classmethod
    def of(cls, names: Sequence[str]) -> Roles:
        """Return the roles of bands by their names.

        Without names, the first three bands are red, green and blue, as pictures show them, and the fourth of four is
        near infrared, as in NAIP and most aerial surveys.
        """
        names = [name for name in names if name not in FORMULAS]
        read = read_names(customary_names(names))
        meanings = [name.meaning for name in read]
        if all(meaning in meanings for meaning in ("red", "green", "blue")):
            rgb = (meanings.index("red"), meanings.index("green"), meanings.index("blue"))
            return cls(rgb, True, meanings.index("nir") if "nir" in meanings else None)
        return cls((0, 1, 2) if len(names) >= 3 else (0, 0, 0), False, None)


@dataclass(frozen=True)
class Look:
    """How a class looks.

    Attributes:
        rgb: Mean colour as it is displayed, each in [0, 255]; None for a class that was not seen.
        share: Of the area, in [0, 1].
        contrast: See `geoseg.model.appearance.Appearance`; None where it is not known.
        confidence: Mean, in [0, 1]; None where it is not known.
        coloured: Whether `rgb` is a colour of the ground, and not only of the display.
        ndvi: (infrared - red) / (infrared + red), of the mean values (Rouse et al. 1974); None without infrared.
        ndwi: (green - infrared) / (green + infrared) (McFeeters 1996); None without infrared.
    """

    rgb: tuple[float, float, float] | None
    share: float
    contrast: float | None = None
    confidence: float | None = None
    coloured: bool = True
    ndvi: float | None = None
    ndwi: float | None = None

    @property
    def excess_green(self) -> float:
        """(2 g - r - b) / (r + g + b) of the colour (Woebbecke et al. 1995); 0 for a class that was not seen."""
        r, g, b = self.rgb or _GREY
        return (2 * g - r - b) / max(r + g + b, 1.0)


@dataclass(frozen=True)
class Display:
    """How imagery is displayed, and what its values stand for.

    Attributes:
        roles: Of its bands.
        low: (bands,), values that are displayed as black.
        high: (bands,), values that are displayed as white.
        scaling: Of the values.
    """

    roles: Roles
    low: tuple[float, ...]
    high: tuple[float, ...]
    scaling: Scaling

    @classmethod
    def of(cls, names: Sequence[str], dtype: str, stats: BandStats, scaling: Scaling | None = None) -> Display:
        """Return how imagery is displayed: uint8 as it is, else from the 2nd to the 98th percentile of each band."""
        count, as_is = len(names), dtype == "uint8"
        low, high = ((0.0,) * count, (255.0,) * count) if as_is else (stats.low, stats.high)
        return cls(Roles.of(names), low, high, scaling or Scaling.none(count))

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Display:
        """Return how the imagery of a model is displayed, by its card."""
        scaling = Scaling.from_json(card["scaling"]) if "scaling" in card else None
        return cls.of(card["bands"], str(card["dtype"]), BandStats.from_json(card["statistics"]), scaling)

    def looks(self, appearance: Appearance) -> tuple[Look, ...]:
        """Return how classes look."""
        return tuple(
            self._look(*row)
            for row in zip(
                appearance.shares.tolist(), appearance.means, appearance.contrast.tolist(),
                appearance.confidence.tolist(), strict=True,
            )
        )  # fmt: skip

    def _look(self, share: float, means: NDArray[np.float64], contrast: float, confidence: float) -> Look:
        if not np.isfinite(means).all():
            return Look(None, share, coloured=self.roles.coloured)
        r, g, b = (self._shown(means, band) for band in self.roles.rgb)
        values = [
            float(mean) * scale + offset
            for mean, scale, offset in zip(means, self.scaling.scale, self.scaling.offset, strict=True)
        ]
        red, green, _ = (values[band] for band in self.roles.rgb)
        infrared = None if self.roles.infrared is None else values[self.roles.infrared]
        return Look(
            (r, g, b), share, _known(contrast), _known(confidence), self.roles.coloured,
            None if infrared is None else _index(infrared, red), None if infrared is None else _index(green, infrared),
        )  # fmt: skip

    def _shown(self, means: NDArray[np.float64], band: int) -> float:
        low, high = self.low[band], self.high[band]
        return float(np.clip(255 * (means[band] - low) / (high - low), 0, 255))


def _index(one: float, other: float) -> float | None:
    """The normalised difference; None where the values are no reflectances."""
    if one < 0 or other < 0 or one + other <= 0:
        return None
    return (one - other) / (one + other)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
