"""The masks of a raster: inside the file, beside it, of the whole or of a band.

GDAL shows one mask of each band, and hides others behind it; here every mask is found. A mask that covers the whole
raster counts whichever bands are read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NodataShadowWarning
from rasterio.windows import Window as RasterioWindow

_FLAGS = "INTERNAL_MASK_FLAGS_{}"
"""The tag of a mask file that says what it is for a band of the raster (GDAL's raster data model, "Band Mask")."""
_PER_DATASET = 2


@dataclass(frozen=True, eq=False)
class MaskBand:
    """One mask.

    Attributes:
        file: rasterio's dataset.
        band: The band whose mask it is; or the band that holds it, where `stored`.
        stored: Whether `file` stores the mask as a band, rather than having it.
    """

    file: Any
    band: int
    stored: bool = False

    def read(self, region: RasterioWindow) -> NDArray[np.bool_]:
        """Return which pixels it leaves valid, bool (rows, cols)."""
        if self.stored:
            return np.asarray(self.file.read(self.band, window=region) != 0)
        with warnings.catch_warnings():
            # Of nodata values that hide alpha, which they do not do here.
            warnings.simplefilter("ignore", NodataShadowWarning)
            return np.asarray(self.file.read_masks(self.band, window=region) != 0)


@dataclass(frozen=True, eq=False)
class MaskFile:
    """An open file that holds masks of a raster.

    Attributes:
        file: rasterio's dataset.
        kind: 'beside': it lies beside the raster, and has tags that say what its bands are for; 'page': it is a page of
            the same TIFF; 'raster': it is the raster itself, opened without what lies beside it.
    """

    file: Any
    kind: Literal["beside", "page", "raster"]


def masks_shown(file: Any, bands: Sequence[int]) -> Iterator[MaskBand]:
    """Yield the masks that GDAL shows of a raster, apart from alpha bands and nodata values, for some of its bands."""
    flags = [set(shown) for shown in file.mask_flag_enums]
    real = {band for band, found in enumerate(flags, start=1) if found <= {MaskFlags.per_dataset}}
    whole = [band for band in sorted(real) if MaskFlags.per_dataset in flags[band - 1]]
    yield from (MaskBand(file, band) for band in whole[:1])
    yield from (MaskBand(file, band) for band in dict.fromkeys(bands) if band in real.difference(whole))


def masks_stored(mask_file: MaskFile, count: int, bands: Sequence[int]) -> Iterator[MaskBand]:
    """Yield the masks that a mask file holds for some bands of a raster of `count` bands.

    There are none where it needs tags that say what its bands are for, and has none.
    """
    file, tags = mask_file.file, mask_file.file.tags()
    if mask_file.kind == "raster":
        yield from masks_shown(file, bands)
        return
    if mask_file.kind == "page":
        flags = dict.fromkeys(range(1, count + 1), _PER_DATASET if file.count == 1 else 0)
    else:
        flags = {band: int(tags[name]) for band in range(1, count + 1) if (name := _FLAGS.format(band)) in tags}
    whole = [band for band, value in flags.items() if value & _PER_DATASET]
    yield from (MaskBand(file, 1, stored=True) for _ in whole[:1])
    for band in dict.fromkeys(bands):
        if band in flags and band not in whole and band <= file.count:
            yield MaskBand(file, band, stored=True)
