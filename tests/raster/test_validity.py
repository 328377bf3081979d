"""The one rule of validity: marks of every kind, alone and together, against a plain reading of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.rasters import TRANSFORM, UTM, make_raster
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geoseg.config import Opening
from geoseg.evaluation.labels import LabelRaster
from geoseg.grid import Span
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.scene import EVERY_BAND, Scene

SHAPE = (11, 13)
TRIALS = 6
SEED = 0
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
GDAL_TYPES = {"uint8": "Byte", "float32": "Float32", "float64": "Float64"}
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

Bools = NDArray[np.bool_]


@dataclass
class Marks:
    """A raster, and all that marks its pixels. Bands count from 1; masks are True where valid."""

    pixels: NDArray[Any]
    alphas: tuple[int, ...] = ()
    nodata: dict[int, float] = field(default_factory=dict)
    key: tuple[float, ...] | None = None
    masks: list[Bools] = field(default_factory=list)
    band_masks: dict[int, list[Bools]] = field(default_factory=dict)
    transparent: tuple[int, ...] = ()

    def valid(self, bands: Sequence[int], given: float | None) -> Bools:
        """The rule, mark by mark."""
        marked = [~mask for mask in self.masks]
        for band in bands:
            values = self.pixels[band - 1]
            marked += [~mask for mask in self.band_masks.get(band, [])]
            if values.dtype.kind == "f":
                marked.append(~np.isfinite(values))
            if given is not None:
                marked.append(values == given)
            elif band in self.nodata and not (self.key and self.nodata[band] in (self.key[0], self.key[band - 1])):
                marked.append(values == self.nodata[band])
            if self.transparent and band not in self.alphas:
                marked.append(np.isin(values, self.transparent))
        if self.key is not None and given is None:
            marked.append(np.all([plane == value for plane, value in zip(self.pixels, self.key, strict=True)], axis=0))
        for band in set(self.alphas) - set(bands):
            marked.append((self.pixels[band - 1] == 0) | (self.pixels[band - 1] != self.pixels[band - 1]))
        return ~np.any([np.zeros(SHAPE, bool), *marked], axis=0)

    def names(self, bands: Sequence[int]) -> set[str]:
        """What `info` has to name."""
        own = [band for band in bands if band in self.nodata]
        if self.key:
            own = [band for band in own if self.nodata[band] not in (self.key[0], self.key[band - 1])]
        kinds = {
            "nodata values": self.key is not None,
            "nodata": bool(own),
            "mask": bool(self.masks) or any(band in self.band_masks for band in bands),
            "alpha": bool(set(self.alphas) - set(bands)),
            "transparent palette entries": bool(self.transparent),
        }
        return {name for name, there in kinds.items() if there}


def random_marks(random: np.random.Generator, kind: str, count: int) -> Marks:
    """A raster of few values, so that marks often meet, with alpha anywhere, nodata values and a colour key."""
    pixels = random.integers(0, 4, (count, *SHAPE)).astype(kind)
    if pixels.dtype.kind == "f":
        pixels[random.random(pixels.shape) < 0.1] = random.choice([np.nan, np.inf])
    tagged = random.choice(count, random.integers(0, min(count, 3)), replace=False) if random.random() < 0.7 else ()
    marks = Marks(pixels, tuple(sorted(int(band) + 1 for band in tagged)))
    if random.random() < 0.5:
        value = float(random.integers(0, 4))
        marks.nodata = dict.fromkeys(range(1, count + 1), value)
    if random.random() < 0.3:
        marks.key = tuple(map(float, random.integers(0, 4, count)))
    return marks


def random_mask(random: np.random.Generator) -> Bools:
    return random.random(SHAPE) < 0.8


def write_mask_beside(random: np.random.Generator, marks: Marks, path: Path) -> None:
    """A mask file beside a raster, of the whole or of each band."""
    count = len(marks.pixels)
    per_band = bool(random.random() < 0.5)
    masks = [random_mask(random) for _ in range(count if per_band else 1)]
    if per_band:
        for band, mask in enumerate(masks, start=1):
            marks.band_masks.setdefault(band, []).append(mask)
    else:
        marks.masks += masks
    layout = {"driver": "GTiff", "count": len(masks), "height": SHAPE[0], "width": SHAPE[1], "dtype": "uint8"}
    with rasterio.open(path.with_name(path.name + ".msk"), "w", **layout) as file:
        file.write(np.where(masks, 255, 0).astype(np.uint8))
        file.update_tags(**{f"INTERNAL_MASK_FLAGS_{i + 1}": 0 if per_band else 2 for i in range(count)})


def write_tiff(random: np.random.Generator, marks: Marks, path: Path) -> Path:
    """A GeoTIFF with one nodata value, and masks inside and beside."""
    count = len(marks.pixels)
    inside = random_mask(random) if random.random() < 0.3 else None
    marks.masks += [] if inside is None else [inside]
    colours = [ColorInterp.alpha if band in marks.alphas else ColorInterp.undefined for band in range(1, count + 1)]
    layout = {"driver": "GTiff", "count": count, "height": SHAPE[0], "width": SHAPE[1], "dtype": marks.pixels.dtype}
    layout |= {"crs": UTM, "transform": TRANSFORM, "photometric": "minisblack", "nodata": marks.nodata.get(1)}
    interleave = str(random.choice(["pixel", "band"]))
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **layout, interleave=interleave) as file,
    ):
        # Before pixels, since a TIFF that has some can no longer take a tag on any band.
        file.colorinterp = colours
        file.write(marks.pixels)
        if inside is not None:
            file.write_mask(inside)
        if marks.key is not None:
            file.update_tags(NODATA_VALUES=" ".join(f"{value:g}" for value in marks.key))
    if random.random() < 0.4:
        write_mask_beside(random, marks, path)
    return path


def write_vrt(random: np.random.Generator, marks: Marks, path: Path) -> Path:
    """A VRT, whose bands may have nodata values of their own, masks of their own, and a palette."""
    count, kind = len(marks.pixels), marks.pixels.dtype.name
    make_raster(path.with_suffix(".tif"), marks.pixels, photometric="minisblack", blockxsize=16, blockysize=16)
    marks.nodata = {band: float(random.integers(0, 4)) for band in marks.nodata if random.random() < 0.6}
    masks = [random_mask(random) for _ in range(count)]
    make_raster(path.with_suffix(".mask.tif"), np.where(masks, 255, 0).astype(np.uint8), photometric="minisblack")
    choice = random.random()
    whole, own = choice < 0.3, [band for band in range(1, count + 1) if choice > 0.7 and random.random() < 0.5]
    marks.masks += masks[:1] if whole else []
    for band in own:
        marks.band_masks.setdefault(band, []).append(masks[band - 1])
    data = [band for band in range(1, count + 1) if band not in marks.alphas]
    palette = ""
    if len(data) == 1 and kind in ("uint8", "uint16"):
        marks.transparent = tuple(map(int, np.flatnonzero(random.random(4) < 0.3)))
        entries = (f'<Entry c1="{v}" c2="9" c3="9" c4="{255 * (v not in marks.transparent)}"/>' for v in range(4))
        palette = f"<ColorTable>{''.join(entries)}</ColorTable>"
    size = f'rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}"'
    bands = [vrt_band(marks, path, band, palette if band in data else "", band in own) for band in range(1, count + 1)]
    key = "" if marks.key is None else " ".join(f"{value:g}" for value in marks.key)
    metadata = f'<Metadata><MDI key="NODATA_VALUES">{key}</MDI></Metadata>' if key else ""
    masked = vrt_mask(path, 1) if whole else ""
    path.write_text(f"<VRTDataset {size}><SRS>{UTM}</SRS>{metadata}{masked}{''.join(bands)}</VRTDataset>")
    if random.random() < 0.3:
        write_mask_beside(random, marks, path)
    return path


def vrt_band(marks: Marks, path: Path, band: int, palette: str, masked: bool) -> str:
    kind = marks.pixels.dtype.name
    colour = "Alpha" if band in marks.alphas else "Palette" if palette else "Undefined"
    nodata = f"<NoDataValue>{marks.nodata[band]:g}</NoDataValue>" if band in marks.nodata else ""
    source = f'<SourceFilename relativeToVRT="1">{path.stem}.tif</SourceFilename><SourceBand>{band}</SourceBand>'
    return (
        f'<VRTRasterBand dataType="{GDAL_TYPES.get(kind, kind.replace("ui", "UI").replace("int", "Int", 1))}" '
        f'band="{band}">{nodata}<ColorInterp>{colour}</ColorInterp>{palette}'
        f"<SimpleSource>{source}</SimpleSource>{vrt_mask(path, band) if masked else ''}</VRTRasterBand>"
    )


def vrt_mask(path: Path, band: int) -> str:
    source = f'<SourceFilename relativeToVRT="1">{path.stem}.mask.tif</SourceFilename><SourceBand>{band}</SourceBand>'
    return f'<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>{source}</SimpleSource></VRTRasterBand></MaskBand>'


@pytest.mark.parametrize("write", [write_tiff, write_vrt])
@pytest.mark.parametrize("kind", TYPES)
def test_law_5_any_marks_together(kind: str, write: Any, tmp_path: Path) -> None:
    random = np.random.default_rng([TYPES.index(kind), write is write_vrt, SEED])
    for number in range(TRIALS):
        marks = random_marks(random, kind, int(random.choice([1, 2, 3, 4, 4, 5, 13])))
        path = write(random, marks, tmp_path / f"{number}{'.vrt' if write is write_vrt else '.tif'}")
        given = float(random.integers(0, 4)) if random.random() < 0.25 else None
        opening = Opening(allow_vrt=True, nodata=given)
        every = range(1, len(marks.pixels) + 1)
        data = [band for band in every if band not in marks.alphas]
        chosen = sorted(map(int, random.choice(list(every), random.integers(1, len(marks.pixels) + 1), replace=False)))
        for bands in (data, chosen):
            with Scene(path, bands, stored=True, opening=opening) as scene:
                found = scene.read(scene.extent)[1]
            np.testing.assert_array_equal(found, marks.valid(bands, given), f"{marks}\n{bands} {given}")
        with Scene(path, EVERY_BAND, stored=True, opening=opening, quiet=True) as scene:
            np.testing.assert_array_equal(scene.read(scene.extent)[1], marks.valid(data, given))
            told = scene.masks
        if given is None:
            assert {name_of(mark) for mark in told.split(", ")} == (marks.names(data) or {"none"}), f"{marks}\n{told}"
        if len(data) == 1:
            check_readers(path, opening, marks.valid(data, given), marks.pixels.dtype)


def name_of(mark: str) -> str:
    """A mark as `masks` tells it, without its value."""
    return mark if not mark.startswith("nodata") else "nodata values" if "values" in mark else "nodata"


def check_readers(path: Path, opening: Opening, valid: Bools, kind: np.dtype[Any]) -> None:
    """Whoever reads one band agrees: a scene, a class raster, and labels."""
    with Scene(path, opening=opening, quiet=True) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], valid)
    if kind.kind != "f":
        with ClassRaster(path, opening=opening) as raster, LabelRaster(path, opening=opening) as labels:
            np.testing.assert_array_equal(raster.read(Span(0, SHAPE[0])) != 0, valid)
            np.testing.assert_array_equal(labels.read(labels.scene.extent)[1], valid)
