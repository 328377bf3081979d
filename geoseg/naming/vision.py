"""Colours as people see them: OKLab, CIELAB, CIEDE2000, and simulated colour-vision deficiencies.

Colours are sRGB in [0, 1] with the last axis of length 3, unless said otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vision = Literal["normal", "protan", "deutan"]

VISIONS: tuple[Vision, ...] = ("normal", "protan", "deutan")

_DEFICIENCIES: dict[Vision, Floats] = {
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Full protanopia and deuteranopia, on linear RGB (Machado, Oliveira and Fernandes 2009, "A physiologically-based model
for simulation of color vision deficiency", severity 1.0)."""

_TO_XYZ = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]]
)
_WHITE = np.array([0.9504559, 1.0, 1.0890578])
_TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def linear(colours: Floats) -> Floats:
    """Return linear RGB."""
    return np.where(colours <= 0.04045, colours / 12.92, ((np.maximum(colours, 0) + 0.055) / 1.055) ** 2.4)


def encoded(values: Floats) -> Floats:
    """Return sRGB of linear RGB, which is clipped to [0, 1]."""
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def as_seen(colours: Floats, vision: Vision) -> Floats:
    """Return colours as somebody with this vision sees them."""
    return colours if vision == "normal" else encoded(linear(colours) @ _DEFICIENCIES[vision].T)


def oklch(colours: Floats) -> Floats:
    """Return OKLab in polar form (Ottosson 2020): lightness in [0, 1], chroma, hue in degrees in [0, 360)."""
    lab = np.cbrt(linear(colours) @ _TO_CONES.T) @ _TO_OKLAB.T
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    return np.stack([lab[..., 0], np.hypot(lab[..., 1], lab[..., 2]), hue], axis=-1)


def from_oklch(colours: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return sRGB, clipped, of colours in OKLab's polar form, and which of them sRGB can show."""
    lightness, chroma, hue = np.moveaxis(colours, -1, 0)
    angle = np.radians(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    values = (lab @ np.linalg.inv(_TO_OKLAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
    shown: NDArray[np.bool_] = np.asarray(((values > -1e-3) & (values < 1 + 1e-3)).all(axis=-1))
    return encoded(values), shown


def cielab(colours: Floats) -> Floats:
    """Return CIELAB for the white of sRGB, D65."""
    ratios = linear(colours) @ _TO_XYZ.T / _WHITE
    f = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(one: Floats, other: Floats) -> Floats:
    """Return the differences of colours in CIELAB, broadcast: about 1 can just be seen, 10 at a glance.

    By Sharma, Wu and Dalal 2005, "The CIEDE2000 color-difference formula", equations 2 to 22, with weights of 1.
    """
    L1, a1, b1 = np.moveaxis(one, -1, 0)
    L2, a2, b2 = np.moveaxis(other, -1, 0)
    mean = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean / (mean + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    C1, C2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1), np.arctan2(b2, a2)
    grey = C1 * C2 == 0
    dh = np.where(grey, 0.0, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi)
    # The middle of the shorter arc; for a grey, whose hue counts for nothing, the sum.
    h = np.where(grey, h1 + h2, h1 + dh / 2)
    dL, dC, dH = L2 - L1, C2 - C1, 2 * np.sqrt(C1 * C2) * np.sin(dh / 2)
    L, C = (L1 + L2) / 2 - 50, (C1 + C2) / 2
    T = (
        1 - 0.17 * np.cos(h - np.pi / 6) + 0.24 * np.cos(2 * h) + 0.32 * np.cos(3 * h + np.radians(6))
        - 0.20 * np.cos(4 * h - np.radians(63))
    )  # fmt: skip
    degrees = np.degrees(h) % 360
    rotation = np.radians(60 * np.exp(-(((degrees - 275) / 25) ** 2)))
    seventh = C**7
    R = -2 * np.sqrt(seventh / (seventh + 25.0**7)) * np.sin(rotation)
    SL, SC, SH = 1 + 0.015 * L**2 / np.sqrt(20 + L**2), 1 + 0.045 * C, 1 + 0.015 * C * T
    parts = dL / SL, dC / SC, dH / SH
    total: Any = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + R * parts[1] * parts[2]
    return np.asarray(np.sqrt(np.maximum(total, 0)))


def least_difference(colours: Floats, vision: Vision = "normal") -> float:
    """Return the least CIEDE2000 difference between two of n colours (n, 3); inf for fewer than two."""
    lab = cielab(as_seen(np.asarray(colours, np.float64), vision))
    differences = ciede2000(lab[:, None], lab[None])
    np.fill_diagonal(differences, np.inf)
    return float(differences.min(initial=np.inf))
