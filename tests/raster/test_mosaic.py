"""The mosaic of parts: a VRT of VRTs, one for each row of blocks, which is read as one VRT of all parts would be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from affine import Affine
from helpers.commandline import first_band
from helpers.rasters import TRANSFORM, UTM
from rasterio.crs import CRS

import geoseg.raster.mosaic
from geoseg.classes import ClassMap
from geoseg.errors import WriteError
from geoseg.grid import Block, Partition, Window
from geoseg.raster.cog import read_rows, write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference, GroundPoint
from geoseg.raster.mosaic import RasterSpec, mosaic_vrt

PLACED = Georeference(CRS.from_string(UTM), TRANSFORM)
GCPS = Georeference(
    None, Affine.identity(),
    tuple(GroundPoint(row, col, 11 + col / 1e4, 50 - row / 1e4, 0) for row in (0, 1130) for col in (0, 1300)),
    CRS.from_epsg(4326).to_wkt(),
)  # fmt: skip
RPC = Georeference(None, Affine.identity(), rpcs=(
    *((f"{axis}_{kind}", "1") for axis in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for kind in ("OFF", "SCALE")),
    *((f"{axis}_{kind}_COEFF", " ".join(["1"] * 20)) for axis in ("LINE", "SAMP") for kind in ("NUM", "DEN")),
))  # fmt: skip
EXTENT = Window.of(0, 0, 1130, 1300)
FEW, MANY = ClassMap.default(6), ClassMap.default(300)
KINDS = {
    "classes": RasterSpec(EXTENT, PLACED, "uint8", "classes", {"a": "<&>"}, classes=FEW),
    "many classes": RasterSpec(EXTENT.shifted(30, 50), PLACED, "uint16", "classes", {}, "Point", MANY),
    "confidence": RasterSpec(EXTENT, GCPS, "uint8", "confidence", {}),
    "superpixels": RasterSpec(EXTENT, RPC, "uint32", "superpixels", {}, resampling="NEAREST"),
}


def parts_of(folder: Path, spec: RasterSpec, size: int = 512, missing: int = 5) -> list[tuple[Block, Path]]:
    """Random parts of the extent; every `missing`-th block has none."""
    highest, random = {"uint8": 7, "uint16": 301, "uint32": 1 << 20}[spec.dtype], np.random.default_rng(1)
    parts = []
    folder.mkdir()
    for block in Partition((spec.extent,), size):
        if block.index % missing:
            coarse = random.integers(0, highest, (size // 8, size // 8))
            values = np.kron(coarse, np.ones((8, 8), int))[: block.window.shape[0], : block.window.shape[1]]
            write_part(folder / f"{block.index}.tif", values.astype(spec.dtype))
            parts.append((block, folder / f"{block.index}.tif"))
    return parts


def flat(parts: Any) -> Iterator[list[tuple[Window, Path]]]:
    """What makes one VRT of all parts."""
    return ([(block.window, path)] for block, path in parts)


def files(path: Path) -> dict[str, str]:
    """The files that are written, and their digests."""
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in path.parent.glob(f"{path.name}*")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_parts_in_any_order_gives_the_same_files(kind: str, tmp_path: Path) -> None:
    spec = KINDS[kind]
    parts = parts_of(tmp_path / "parts", spec)
    shuffled = [parts[i] for i in np.random.default_rng(2).permutation(len(parts))]
    made = []
    for name, each in {"list": parts, "shuffled": shuffled, "reversed": parts[::-1], "stream": iter(parts)}.items():
        (tmp_path / name).mkdir()
        write_cog(tmp_path / name / "map.tif", spec, each)
        made.append(files(tmp_path / name / "map.tif"))
    assert made[1:] == [made[0]] * 3
    assert set(made[0]) == {"map.tif", *(["map.tif.aux.xml"] if spec.classes else [])}


@pytest.mark.parametrize("size", [208, 512])
def test_a_mosaic_of_rows_is_read_as_one_of_all_parts(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = KINDS["many classes"]
    parts = parts_of(tmp_path / "parts", spec, size)
    by_cols = sorted(parts, key=lambda part: (part[0].index % 2, -part[0].index))
    made = [np.concatenate(list(read_rows(spec, each, 512, tmp_path))) for each in (parts, parts[::-1], by_cols)]
    monkeypatch.setattr(geoseg.raster.mosaic, "_rows", flat)
    expected = np.concatenate(list(read_rows(spec, parts, 512, tmp_path)))
    assert all(np.array_equal(each, expected) for each in made)


def test_its_rows_are_read_from_the_top_down(tmp_path: Path) -> None:
    spec = KINDS["classes"]
    parts = parts_of(tmp_path / "parts", spec)
    write_cog(tmp_path / "map.tif", spec, parts)
    rows = list(read_rows(spec, parts, 130, tmp_path))
    assert [len(each) for each in rows] == [130] * 8 + [90]
    np.testing.assert_array_equal(np.concatenate(rows), first_band(tmp_path / "map.tif"))
    assert {path.name for path in tmp_path.iterdir()} == {"parts", "map.tif", "map.tif.aux.xml"}


def test_blocks_around_the_extent_that_follow_it(tmp_path: Path) -> None:
    """As a run has them whose map is sieved: rows of the strips left and right have the same pixels."""
    extent = Window.of(100, 100, 200, 200)
    around = Window.of(60, 60, 280, 290)
    strips = [Window.of(60, 60, 40, 290), Window.of(100, 60, 200, 40), Window.of(100, 300, 200, 50)]
    spec = replace(KINDS["classes"], extent=around)
    parts, expected = [], np.zeros(around.shape, np.uint8)
    for block in Partition((extent, *strips, Window.of(300, 60, 40, 290)), 64):
        values = np.full(block.window.shape, 1 + block.index % 6, np.uint8)
        expected[block.window.within(around)] = values
        write_part(tmp_path / f"{block.index}.tif", values)
        parts.append((block, tmp_path / f"{block.index}.tif"))
    np.testing.assert_array_equal(np.concatenate(list(read_rows(spec, parts, 64, tmp_path))), expected)


def test_a_gap_hides_nothing_that_came_before(tmp_path: Path) -> None:
    spec = replace(KINDS["classes"], extent=Window.of(0, 0, 32, 48))
    blocks, parts = Partition((spec.extent,), 16), []
    for index in (4, 0, 3, 5):
        write_part(tmp_path / f"{index}.tif", np.full((16, 16), index + 1, np.uint8))
        parts.append((blocks[index], tmp_path / f"{index}.tif"))
    (rows,) = read_rows(spec, parts, 32, tmp_path)
    assert rows[::16, ::16].tolist() == [[1, 0, 0], [4, 5, 6]]


def test_what_gdal_keeps_in_memory_grows_with_the_rows(tmp_path: Path) -> None:
    spec = replace(KINDS["classes"], extent=Window.of(0, 0, 600, 700))

    def sources(text: str) -> list[str]:
        return [str(each.text) for each in ElementTree.fromstring(text).iter("SourceFilename")]

    parts = [(block, Path(f"{block.index}.tif")) for block in Partition((spec.extent,), 10)]
    top = sources(mosaic_vrt(spec, iter(parts), tmp_path))
    assert [len(sources(Path(row).read_text())) for row in top] == [70] * 60
    assert [Path(path).name for path in sources(Path(top[1]).read_text())] == [f"{i}.tif" for i in range(70, 140)]


def test_a_damaged_part_leaves_no_intermediate_files(tmp_path: Path) -> None:
    spec = KINDS["classes"]
    parts = parts_of(tmp_path / "parts", spec)
    parts[3][1].write_bytes(parts[3][1].read_bytes()[:200])
    with pytest.raises(WriteError, match=r"map\.tif: cannot be written"):
        write_cog(tmp_path / "map.tif", spec, parts)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_row_that_cannot_be_written_is_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = KINDS["classes"]
    parts = parts_of(tmp_path / "parts", spec)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".vrt":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"rows: cannot be written \(No space left"):
        next(read_rows(spec, parts, 512, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
