"""Colours that mean something: each class gets one near what it looks like, and far from those of all others.

What a class may be decides the region of colours that it should have (water blue, vegetation green), and its own
lightness the place within it. Of a fixed set of colours, those are taken that lower
E = sum over pairs of exp(-d / WIDTH) + PULL sum over classes of (distance from the wanted colour)^2,
by coordinate descent, where d is the least CIEDE2000 difference of a pair in normal vision and, counted double, under
protanopia and deuteranopia. Without meaning, colours that are told apart by everybody are easy to find; the weights
are those with which maps still look like land cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassMap, LandClass
from geoseg.naming.guesses import Meaning, guess, meaning_of
from geoseg.naming.looks import Look
from geoseg.naming.vision import VISIONS, as_seen, ciede2000, cielab, from_oklch, oklch

Floats = NDArray[np.float64]

MOST = 256
"""With more classes than this, colours depend on the id alone: nobody tells so many apart."""

_WIDTH = 2.0
_PULL = 0.01
_DEFICIENT = 2.0
"""What a difference that somebody with a colour-vision deficiency sees counts, where one that others see counts 1."""
_SWEEPS = 40
_GAIN = 1e-9

_LIGHTNESS, _CHROMA, _HUES = (0.24, 0.94, 13), (0.0, 0.18, 7), 24
"""First, last and number of steps of the candidates in OKLab's polar form."""


@dataclass(frozen=True)
class _Region:
    """Where the colours of a meaning lie in OKLab's polar form.

    Attributes:
        hue: In degrees; None for that of the class itself.
        spread: How far hues may be from it, in degrees, before they mean something else.
        chroma: Wanted.
        lightness: Of the darkest class and of the brightest one.
    """

    hue: float | None
    spread: float
    chroma: float
    lightness: tuple[float, float]


_REGIONS: dict[Meaning | None, _Region] = {
    "water": _Region(248, 30, 0.11, (0.36, 0.80)),
    "vegetation": _Region(138, 24, 0.11, (0.36, 0.86)),
    "bare": _Region(82, 20, 0.09, (0.62, 0.92)),
    "built": _Region(25, 26, 0.07, (0.42, 0.82)),
    "shadow": _Region(262, 50, 0.02, (0.22, 0.40)),
    None: _Region(None, 40, 0.06, (0.40, 0.90)),
}
_BRIGHTNESS = (0.15, 0.92)
"""OKLab lightness of what is dark and bright in imagery, which the lightness of regions stands for."""
_HUE_SHARE = 0.5
"""How much of the distance of a class's own hue from that of its region its colour keeps."""
_TOLERANCE = 0.12, 0.05
"""Distances from the wanted lightness and chroma that weigh as much as a spread of hue."""


def coloured(classes: ClassMap, looks: Sequence[Look]) -> ClassMap:
    """Return a class map with the colours of `colours_of`, and names as they are.

    A name that says what a class is counts for more than its look.

    Args:
        classes: C classes.
        looks: Of each class.
    """
    if len(classes) > MOST:
        return classes
    meanings = [meaning_of(entry.name) or guess(look) for entry, look in zip(classes.classes, looks, strict=True)]
    found = zip(classes.classes, colours_of(looks, meanings), strict=True)
    return ClassMap(tuple(replace(entry, colour=colour) for entry, colour in found))


def colours_of(looks: Sequence[Look], meanings: Sequence[Meaning | None] | None = None) -> tuple[str, ...]:
    """Return the colours of up to `MOST` classes as '#rrggbb', all of them different.

    The same looks always get the same colours. A class that was not seen gets the colour of its id, if that is free.

    Args:
        looks: Of each class.
        meanings: What each class is; None leaves it to `geoseg.naming.guesses`.
    """
    if not looks:
        return ()
    found = [guess(look) for look in looks] if meanings is None else list(meanings)
    candidates, seen = _candidates()
    shades = oklch(candidates)
    wanted = np.stack([_wanted(k, look, meaning) for k, (look, meaning) in enumerate(zip(looks, found, strict=True))])
    spreads = np.array([_REGIONS[meaning].spread for meaning in found])
    chosen = _Search(seen, _deviations(wanted, spreads, shades)).run([look.share for look in looks])
    bytes_ = np.rint(candidates[chosen] * 255).astype(int)
    return tuple("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in bytes_.tolist())


@lru_cache(maxsize=1)
def _candidates() -> tuple[Floats, Floats]:
    """The colours to choose from, sRGB (N, 3), and CIELAB of them as each vision sees them (visions, N, 3)."""
    grid = np.meshgrid(np.linspace(*_LIGHTNESS), np.linspace(*_CHROMA), np.arange(_HUES) * (360 / _HUES), indexing="ij")
    lightness, chroma, hue = (axis.ravel() for axis in grid)
    once = (chroma > 0) | (hue == 0)
    colours, shown = from_oklch(np.stack([lightness, chroma, hue], axis=-1))
    colours = np.rint(colours[shown & once] * 255) / 255
    return colours, np.stack([cielab(as_seen(colours, vision)) for vision in VISIONS])


def _wanted(index: int, look: Look, meaning: Meaning | None) -> Floats:
    """The colour that a class would have if it were alone, in OKLab's polar form."""
    region = _REGIONS[meaning]
    rgb = LandClass.default(index + 1).rgb if look.rgb is None else look.rgb
    lightness, chroma, hue = oklch(np.array(rgb) / 255).tolist()
    if look.rgb is None:
        return np.array([lightness, chroma, hue])
    low, high = _BRIGHTNESS
    level = float(np.clip((lightness - low) / (high - low), 0, 1))
    if region.hue is not None:
        # The hue of a grey says nothing.
        turn = ((hue - region.hue + 180) % 360 - 180) * min(1.0, chroma / 0.03)
        hue = region.hue + float(np.clip(_HUE_SHARE * turn, -region.spread, region.spread))
    dark, bright = region.lightness
    return np.array([dark + level * (bright - dark), region.chroma, hue % 360])


def _deviations(wanted: Floats, spreads: Floats, shades: Floats) -> Floats:
    """Squared distances (K, N) of the wanted colours (K, 3) from the candidates (N, 3)."""
    lightness, chroma, hue = (wanted[:, None, axis] - shades[None, :, axis] for axis in range(3))
    turn = (hue + 180) % 360 - 180
    # Hues differ little among greys.
    vivid = np.minimum(1.0, shades[None, :, 1] / 0.05)
    near, pale = _TOLERANCE
    return np.asarray((lightness / near) ** 2 + (chroma / pale) ** 2 + vivid * (turn / spreads[:, None]) ** 2)


class _Search:
    """Coordinate descent on the energy.

    Args:
        seen: CIELAB of the candidates (visions, N, 3).
        deviations: (K, N).
    """

    def __init__(self, seen: Floats, deviations: Floats) -> None:
        self._seen, self._pull = seen, _PULL * deviations
        self._rows: dict[int, Floats] = {}

    def run(self, shares: Sequence[float]) -> NDArray[np.int64]:
        """Return the candidates of the classes, all different; those of the largest are chosen first."""
        K, N = self._pull.shape
        order = sorted(range(K), key=lambda k: (-shares[k], k))
        chosen, energy = np.full(K, -1), np.zeros(N)
        for k in order:
            chosen[k] = np.argmin(energy + self._pull[k])
            energy += self._row(int(chosen[k]))
        for _ in range(_SWEEPS):
            moved = False
            for k in order:
                total = energy - self._row(int(chosen[k])) + self._pull[k]
                best = int(np.argmin(total))
                if total[best] < total[chosen[k]] - _GAIN:
                    energy += self._row(best) - self._row(int(chosen[k]))
                    chosen[k], moved = best, True
            if not moved:
                break
        return chosen

    def _row(self, candidate: int) -> Floats:
        """Energies of the pairs of a candidate with all others, (N,)."""
        if candidate not in self._rows:
            differences = ciede2000(self._seen, self._seen[:, candidate, None])
            differences[1:] *= _DEFICIENT
            self._rows[candidate] = np.exp(-differences.min(axis=0) / _WIDTH)
        return self._rows[candidate]
