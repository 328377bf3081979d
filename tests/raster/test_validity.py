"""The one rule of validity: marks of every kind, alone and together, against a plain reading of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.rasters import TRANSFORM, UTM, landscape, make_raster
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp

from geoseg.config import Opening
from geoseg.errors import BandError, InputError
from geoseg.evaluation.labels import LabelRaster
from geoseg.grid import Span
from geoseg.raster.class_raster import ClassRaster, Confidence
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


def test_a_mask_beside_nodata_and_alpha_is_read_without_a_warning_of_rasterio(tmp_path: Path) -> None:
    # It warns of four bands with alpha last, one of which has a nodata value.
    path = make_raster(tmp_path / "s.tif", np.ones((4, *SHAPE), np.uint8), photometric="minisblack").with_suffix(".vrt")
    mask = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 3 > 0
    make_raster(path.with_suffix(".mask.tif"), np.where(mask, 255, 0).astype(np.uint8)[None])
    marks = Marks(np.ones((4, *SHAPE), np.uint8), alphas=(4,), nodata={2: 0.0})
    bands = "".join(vrt_band(marks, path, band, "", masked=band == 1) for band in (1, 2, 3, 4))
    path.write_text(f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}">{bands}</VRTDataset>')
    np.testing.assert_array_equal(read(path, opening=Opening(allow_vrt=True))[1], mask)


def check_readers(path: Path, opening: Opening, valid: Bools, kind: np.dtype[Any]) -> None:
    """Whoever reads one band agrees: a scene, a class raster, and labels."""
    with Scene(path, opening=opening, quiet=True) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], valid)
    if kind.kind != "f":
        with ClassRaster(path, opening=opening) as raster, LabelRaster(path, opening=opening) as labels:
            np.testing.assert_array_equal(raster.read(Span(0, SHAPE[0])) != 0, valid)
            np.testing.assert_array_equal(labels.read(labels.scene.extent)[1], valid)


def read(path: Path, **how: Any) -> tuple[NDArray[Any], Bools]:
    """Pixels and validity of all of a file."""
    with Scene(path, **how) as scene:
        return scene.read(scene.extent)


def test_a_transparent_colour_is_no_nodata_value_of_its_bands(tmp_path: Path) -> None:
    pixels = landscape(40, 50)
    pixels[:, :10] = np.array([255, 0, 255], np.uint8)[:, None, None]
    pixels[:, 20:25], pixels[1, 30:35] = 255, 0
    valid = np.arange(40)[:, None].repeat(50, axis=1) >= 10
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "key.png", transparency=(255, 0, 255))
    # As gdal_translate converts it: a TIFF has one nodata value, that of the first band.
    tiff = make_raster(tmp_path / "key.tif", pixels, nodata=255)
    with rasterio.open(tiff, "r+") as file:
        file.update_tags(NODATA_VALUES="255 0 255")
    for path in (tmp_path / "key.png", tiff):
        for bands in (None, (1, 2), (3,)):
            np.testing.assert_array_equal(read(path, bands=bands)[1], valid)
        with Scene(path) as scene:
            assert scene.masks == "nodata values 255 0 255"
        # What is given stands in place of all that is declared.
        expected = (pixels != 0).all(axis=0)
        np.testing.assert_array_equal(read(path, opening=Opening(nodata=0))[1], expected)


@pytest.mark.parametrize("text", ["1 2", "1 2 x", "1 2 3 4", "1 2 300"])
def test_a_colour_that_no_pixel_can_have_is_told(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(20, 30))
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES=text)
    assert read(path)[1].all()
    told = [record.message for record in caplog.records if record.name.startswith("geoseg")]
    assert ["declares NODATA_VALUES" in message for message in told] == [True]


PALETTE = {0: (9, 9, 9, 0), 1: (10, 20, 30, 255), 2: (40, 50, 60, 0), 3: (70, 80, 90, 128)}


def palette_vrt(path: Path, kind: str, bands: str, table: bool = True) -> Path:
    """A VRT of the bands of source.tif, a letter for each: p for indices into a palette, a for alpha, v for values."""
    entries = "".join('<Entry c1="{}" c2="{}" c3="{}" c4="{}"/>'.format(*colour) for colour in PALETTE.values())
    tags = {
        "p": "<ColorInterp>Palette</ColorInterp>" + f"<ColorTable>{entries}</ColorTable>" * table,
        "a": "<ColorInterp>Alpha</ColorInterp>",
        "v": "",
    }
    text = "".join(
        f'<VRTRasterBand dataType="{kind if letter != "a" else "Byte"}" band="{band}">{tags[letter]}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">source.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, letter in enumerate(bands, start=1)
    )
    path.write_text(f'<VRTDataset rasterXSize="4" rasterYSize="2">{text}</VRTDataset>')
    return path


@pytest.mark.parametrize("bands", ["p", "pa", "ap", "aap"])
@pytest.mark.parametrize("kind", ["Byte", "UInt16"])
def test_palettes_are_expanded_beside_alpha_and_may_be_transparent(kind: str, bands: str, tmp_path: Path) -> None:
    pixels = np.array([[[0, 1, 2, 3], [3, 3, 1, 1]], [[1, 0, 9, 0], [0, 1, 0, 9]], [[9, 1, 1, 1], [1, 1, 1, 0]]])
    pixels = np.roll(pixels.astype(np.uint8), bands.index("p"), axis=0)[: len(bands)]
    make_raster(tmp_path / "source.tif", pixels, crs=None, photometric="minisblack")
    path, opening = palette_vrt(tmp_path / "scene.vrt", kind, bands), Opening(allow_vrt=True)
    opaque = (pixels[[band for band, letter in enumerate(bands) if letter == "a"]] > 0).all(axis=0)
    indices = pixels[bands.index("p")]
    with Scene(path, opening=opening) as scene:
        assert (scene.band_names, scene.dtype) == (("red", "green", "blue"), np.dtype("uint8"))
        found, valid = scene.read(scene.extent)
        assert "transparent palette entries" in scene.masks
        assert scene.colours[1] == "#0a141e"
    colours = np.array([colour[:3] for colour in PALETTE.values()])
    np.testing.assert_array_equal(found, colours[indices].transpose(2, 0, 1))
    np.testing.assert_array_equal(valid, opaque & (indices % 2 == 1))
    stored, valid = read(path, opening=opening, stored=True)
    np.testing.assert_array_equal(stored[0], indices)
    np.testing.assert_array_equal(valid, opaque & (indices % 2 == 1))
    with pytest.raises(BandError, match="leave --bands out"):
        Scene(path, (1,), opening=opening)


def test_indices_are_never_read_as_values(tmp_path: Path) -> None:
    make_raster(tmp_path / "source.tif", np.ones((3, 2, 4), np.uint8), crs=None)
    path, opening = tmp_path / "scene.vrt", Opening(allow_vrt=True)
    palette_vrt(path, "Byte", "pv")
    with pytest.raises(BandError, match=r"band 1 holds indices into a palette, not values; choose others .*it has 2"):
        Scene(path, opening=opening)
    assert read(path, bands=(2,), opening=opening)[0].shape == (1, 2, 4)
    with Scene(path, EVERY_BAND, opening=opening) as scene:
        assert scene.bands == (1, 2)
    for kind, table, message in (("Byte", False, "but no palette"), ("Int16", True, "palette for values of int16")):
        palette_vrt(path, kind, "p", table)
        with pytest.raises(InputError, match=message):
            Scene(path, opening=opening)
        assert read(path, opening=opening, stored=True)[0].shape == (1, 2, 4)


def test_nodata_of_a_palette_that_is_given(tmp_path: Path) -> None:
    path = make_raster(tmp_path / "scene.tif", np.arange(16, dtype=np.uint8).reshape(1, 4, 4), nodata=9)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})
    # GDAL shows the declared value as transparent.
    with Scene(path, opening=Opening(nodata=3)) as scene:
        assert np.flatnonzero(~scene.read(scene.extent)[1]).tolist() == [3]
        assert scene.masks == "nodata 3"


@pytest.mark.parametrize(("kind", "value"), [("int64", 2**63 - 1), ("int64", 2**53 + 1), ("uint64", 2**64 - 1)])
def test_nodata_that_no_float_represents(kind: str, value: int, tmp_path: Path) -> None:
    pixels = np.full((1, 8, 8), value - 1, kind)
    pixels[0, 2] = value
    path = make_raster(tmp_path / "scene.tif", pixels, nodata=9)
    data = path.read_bytes()
    at = data.index((42113).to_bytes(2, "little"))
    text = str(value).encode() + b"\0"
    path.write_bytes(
        data[: at + 4] + len(text).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data[at + 12 :] + text
    )
    with Scene(path) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[1], pixels[0] != value)
        assert scene.masks.startswith("nodata")


def test_alpha_of_another_type_than_the_bands(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]], [[0, 1, 0, 1], [9, 9, 9, 0]]], np.uint8)
    make_raster(tmp_path / "source.tif", pixels, crs=None, photometric="minisblack")
    path, opening = palette_vrt(tmp_path / "scene.vrt", "Float32", "va"), Opening(allow_vrt=True)
    for bands in (None, (1,), EVERY_BAND):
        found, valid = read(path, bands=bands, opening=opening)
        np.testing.assert_array_equal(found[0], pixels[0])
        np.testing.assert_array_equal(valid, pixels[1] > 0)
    with pytest.raises(InputError, match="bands of different types"):
        Scene(path, (1, 2), opening=opening)


def test_a_raster_of_alpha_only(tmp_path: Path) -> None:
    make_raster(tmp_path / "source.tif", np.ones((1, 2, 4), np.uint8), crs=None)
    path, opening = palette_vrt(tmp_path / "scene.vrt", "Byte", "a"), Opening(allow_vrt=True)
    with pytest.raises(BandError, match="no band but alpha"):
        Scene(path, opening=opening)
    assert read(path, bands=(1,), opening=opening)[1].all()


def test_a_block_of_alpha_that_was_never_written(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    layout = {"driver": "GTiff", "count": 2, "height": 32, "width": 16, "dtype": "uint8", "nodata": 255}
    layout |= {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "band", "sparse_ok": True}
    with rasterio.open(path, "w", **layout) as file:
        file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
        file.write(np.ones((32, 16), np.uint8), 1)
        file.write(np.ones((16, 16), np.uint8), 2, window=((0, 16), (0, 16)))
    _, valid = read(path)
    assert (valid[:16].all(), valid[16:].any()) == (True, False)


def test_masks_of_the_vrt_and_of_its_bands(tmp_path: Path) -> None:
    make_raster(tmp_path / "source.tif", np.ones((1, 2, 4), np.uint8), crs=None)
    path = palette_vrt(tmp_path / "scene.vrt", "Byte", "v")
    mask = "<MaskBand><VRTRasterBand dataType='Byte'/></MaskBand>"
    text = path.read_text().replace("</VRTRasterBand>", f"{mask}</VRTRasterBand>{mask}")
    path.write_text(text)
    with pytest.raises(InputError, match="masks of bands, which GDAL ignores"):
        Scene(path, opening=Opening(allow_vrt=True))


def test_confidence_follows_the_rule(tmp_path: Path) -> None:
    pixels = np.full((2, 20, 30), 200, np.uint8)
    pixels[1, :5], pixels[0, 10:] = 0, 7
    raster = make_raster(tmp_path / "classes.tif", np.ones((1, 20, 30), np.uint8))
    path = make_raster(tmp_path / "sure.tif", pixels, nodata=7, photometric="minisblack", alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    with Scene(raster) as scene, Confidence(path, scene) as confidence:
        values = confidence.read(Span(0, 20))
    np.testing.assert_array_equal(
        values > 0, (np.arange(20)[:, None] >= 5) & (np.arange(20)[:, None] < 10) & (values > -1)
    )


def near_infrared(path: Path, band: NDArray[np.uint8]) -> Path:
    pixels = np.concatenate([landscape(60, 80), band[None]])
    return make_raster(path, pixels, colorinterp=(*RGB, ColorInterp.alpha))


def test_near_infrared_that_is_tagged_alpha_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    imagery = landscape(60, 80, bands=1, seed=3)[0]
    with_lake = imagery.copy()
    with_lake[:20] = 0
    for number, (band, bands, told) in enumerate(
        [(imagery, None, 1), (with_lake, (3, 1), 1), (imagery, (1, 2), 0), (with_lake, (1, 4), 0)]
    ):
        caplog.clear()
        (tmp_path / str(number)).mkdir()
        for name in ("scene.tif", "other.tif"):
            read(near_infrared(tmp_path / str(number) / name, band), bands=bands)
        assert ["band 4 is tagged alpha" in message for message in caplog.messages] == [True] * told, number
        if bands == (3, 1):
            assert "--bands 3,1,4" in caplog.text


def test_alpha_of_every_kind_is_not_taken_for_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)
    hard = np.where(random.random((60, 80)) < 0.5, 0, 255)
    feathered = np.clip(np.mgrid[:60, :80][1] * 7, 0, 255)
    lossy = np.where(hard > 0, random.integers(243, 256, hard.shape), 0)
    constant = np.full((60, 80), 128)
    for number, band in enumerate((hard, feathered, lossy, constant)):
        read(near_infrared(tmp_path / f"{number}.tif", band.astype(np.uint8)))
    assert not caplog.messages
