"""Scale and offset that a file declares for its values, and the conversion of values to other ones.

By GDAL's convention, what was measured is value x scale + offset; a file that declares nothing has scale 1 and offset
0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.location import Location
from geoseg.raster.source import ImageSource, Pixels


@dataclass(frozen=True)
class Scaling:
    """What is declared for each band.

    Attributes:
        scale: Finite, not 0.
        offset: Finite.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def none(cls, bands: int) -> Scaling:
        """Return the scaling of a file that declares nothing."""
        return cls((1.0,) * bands, (0.0,) * bands)

    @classmethod
    def of(cls, scales: Sequence[float], offsets: Sequence[float], bands: Sequence[int]) -> Scaling:
        """Return what a file declares for `bands`, counted from 1; a scale of 0 or a NaN declares nothing."""
        pairs = [(float(scales[band - 1]), float(offsets[band - 1])) for band in bands]
        usable = [p if math.isfinite(p[0]) and math.isfinite(p[1]) and p[0] else (1.0, 0.0) for p in pairs]
        return cls(tuple(scale for scale, _ in usable), tuple(offset for _, offset in usable))

    @property
    def declared(self) -> bool:
        """Whether anything is declared."""
        return self != Scaling.none(len(self.scale))

    def to_json(self) -> dict[str, list[float]]:
        """Return scale and offset as lists."""
        return {"scale": list(self.scale), "offset": list(self.offset)}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[float]]) -> Scaling:
        """Return the scaling that `to_json` described."""
        return cls(tuple(map(float, data["scale"])), tuple(map(float, data["offset"])))


@dataclass(frozen=True)
class Conversion:
    """Values to other values: value x gain + bias per band, in another type.

    Attributes:
        gain: Per band.
        bias: Per band.
        dtype: NumPy name of the type; integers are rounded, and what it cannot hold becomes its nearest value.
    """

    gain: tuple[float, ...]
    bias: tuple[float, ...]
    dtype: str

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the converted pixels (bands, rows, cols); NaN becomes 0 in a type of integers."""
        converted = np.empty(pixels.shape, self.dtype)
        for values, out, gain, bias in zip(pixels, converted, self.gain, self.bias, strict=True):
            out[...] = held(values.astype(np.float64) * gain + bias, self.dtype)
        return converted

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"gain": list(self.gain), "bias": list(self.bias), "dtype": self.dtype}


def held(numbers: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """Return numbers as a type holds them: within its range and, if it has integers only, rounded, with 0 for NaN."""
    whole = np.dtype(dtype).kind in "iu"
    limits = np.iinfo(dtype) if whole else np.finfo(dtype)
    inside: NDArray[np.float64] = np.clip(numbers, float(limits.min), float(limits.max))
    return np.nan_to_num(np.rint(inside), copy=False) if whole else inside


def kind_of(dtype: np.dtype[Any]) -> str:
    """Return the kind of number that a type holds; types of one kind hold the same numbers.

    Returns:
        'float', 'integer' for more than 8 bits, or the name of a type of 8 bits.
    """
    if dtype.kind == "f":
        return "float"
    return "integer" if dtype.itemsize > 1 else str(dtype)


def conversion(scene: Scaling, dtype: np.dtype[Any], target: Scaling, target_dtype: np.dtype[Any]) -> Conversion | None:
    """Return what turns the values of a scene into those that another file has for the same measurement.

    Both declare what their values mean, so the conversion is (value x scale + offset - target's offset) / target's
    scale. If only one of them declares a scale, and both store values of the same kind, these are taken for the same
    numbers up to the offset: the declaration was lost, or is newer.

    Returns:
        None where values are the same, or where nothing is declared.
    """
    if scene == target or len(scene.scale) != len(target.scale):
        return None
    here, there = scene.scale, target.scale
    ones = (1.0,) * len(here)
    alike = kind_of(dtype) == kind_of(target_dtype)
    if alike and (here == ones) != (there == ones):
        here = there = there if here == ones else here
    gain = tuple(s / t for s, t in zip(here, there, strict=True))
    bias = tuple((o - p) / t for o, p, t in zip(scene.offset, target.offset, there, strict=True))
    same = all(g == 1 for g in gain) and not any(bias) and alike
    return None if same else Conversion(gain, bias, str(target_dtype))


class ConvertedImage:
    """An image whose values are converted as it is read. An `ImageSource`.

    Attributes:
        image: The image.
    """

    def __init__(self, image: ImageSource, conversion: Conversion) -> None:
        self.image, self._conversion = image, conversion

    @property
    def path(self) -> Location:
        """What messages call the image."""
        return self.image.path

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.image.shape

    @property
    def extent(self) -> Window:
        """The window of all pixels."""
        return self.image.extent

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers of the bands."""
        return self.image.bands

    @property
    def band_names(self) -> tuple[str, ...]:
        """A name for each band."""
        return self.image.band_names

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the converted pixels."""
        return np.dtype(self._conversion.dtype)

    def read(self, window: Window) -> Pixels:
        """Return the converted pixels of a window, and which of them are valid."""
        pixels, valid = self.image.read(window)
        return self._conversion.apply(pixels), valid

    def close(self) -> None:
        """Close the image."""
        self.image.close()
