"""How a COG is laid out and put together: the same bytes in any way, sparse, large, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.class_maps import parts_of
from helpers.commandline import first_band
from helpers.rasters import TRANSFORM, UTM
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from geoseg.classes import ClassMap
from geoseg.errors import WriteError
from geoseg.grid import Block, Window
from geoseg.raster import cog_layout, cog_writer
from geoseg.raster.cog import write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.georeference import Georeference
from geoseg.raster.mosaic import RasterSpec

SHAPE = 1130, 1300


def spec_of(shape: tuple[int, int] = SHAPE, **how: Any) -> RasterSpec:
    classes = how.pop("classes", ClassMap.default(6))
    place = Georeference(CRS.from_string(UTM), TRANSFORM)
    return RasterSpec(Window.of(0, 0, *shape), place, how.pop("dtype", "uint8"), "classes", {}, classes=classes, **how)


def patches(shape: tuple[int, int] = SHAPE, highest: int = 6) -> Any:
    coarse = np.random.default_rng(5).integers(0, highest + 1, (shape[0] // 9 + 1, shape[1] // 9 + 1))
    return np.kron(coarse, np.ones((9, 9), np.uint8))[: shape[0], : shape[1]].astype(np.uint8)


@pytest.mark.parametrize("kind", ["classes", "confidence", "superpixels"])
def test_law_2_neither_parts_nor_chunks_nor_threads_change_a_byte(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {
        "classes": {}, "confidence": {"classes": None},
        "superpixels": {"classes": None, "dtype": "uint32", "resampling": "NEAREST"},
    }[kind]  # fmt: skip
    shape, made = (1600, 2100), set()
    spec = spec_of(shape, **how)
    ways = [(512, 2048, 2048, 16, 8), (1536, 512, 1024, 1, 1), (1536, 1024, 512, 3, 5)]
    for number, (size, rows, cols, threads, batch) in enumerate(ways):
        parts = parts_of(tmp_path / f"{number}", patches(shape).astype(spec.dtype), spec, size)
        monkeypatch.setattr(cog_writer, "_CHUNK_ROWS", rows)
        monkeypatch.setattr(cog_writer, "_CHUNK_COLS", cols)
        monkeypatch.setattr(cog_writer, "_MAX_THREADS", threads)
        monkeypatch.setattr(cog_writer, "_BATCH", batch)
        write_cog(tmp_path / "map.tif", spec, parts)
        made.add((tmp_path / "map.tif").read_bytes())
    assert len(made) == 1


def test_a_bigtiff_has_the_same_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, values = spec_of(), patches()
    parts = parts_of(tmp_path / "parts", values, spec)
    write_cog(tmp_path / "map.tif", spec, parts)
    monkeypatch.setattr(cog_layout, "MAX_CLASSIC", (tmp_path / "map.tif").stat().st_size - 1)
    write_cog(tmp_path / "big.tif", spec, parts)
    assert [(tmp_path / name).read_bytes()[2] for name in ("map.tif", "big.tif")] == [42, 43]
    assert cog_validate(tmp_path / "big.tif", strict=True) == (True, [], [])
    for level in (None, 0, 1):
        which = {} if level is None else {"overview_level": level}
        with rasterio.open(tmp_path / "map.tif", **which) as one, rasterio.open(tmp_path / "big.tif", **which) as other:
            assert one.profile == other.profile
            assert (one.tags(), one.colormap(1)) == (other.tags(), other.colormap(1))
            np.testing.assert_array_equal(one.read(1), other.read(1))


def test_what_is_all_nodata_is_not_stored(tmp_path: Path) -> None:
    spec, values = spec_of((4096, 4096)), np.zeros((4096, 4096), np.uint8)
    values[700:710, 3000:3010] = 4
    assert write_cog(tmp_path / "map.tif", spec, parts_of(tmp_path / "parts", values, spec, 2048)) == (4,)
    np.testing.assert_array_equal(first_band(tmp_path / "map.tif"), values)
    assert cog_validate(tmp_path / "map.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "map.tif") as file:
        stored = [
            file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1) for row in range(8) for col in range(8)
        ]
    assert [place is not None for place in stored] == [index == 8 + 5 for index in range(64)]
    with rasterio.open(tmp_path / "map.tif", overview_level=2) as file:
        assert np.argwhere(file.read(1)).min(axis=0).tolist() == [700 // 8, 3000 // 8]


def test_a_file_that_reads_back_differently_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, path = spec_of(), tmp_path / "map.tif"
    parts = parts_of(tmp_path / "parts", patches(), spec)
    path.write_bytes(b"an older map")
    write = cog_layout.Blocks.write

    def losing(blocks: Any, target: Path, tags: Any) -> str:
        digest = write(blocks, target, tags)
        with target.open("r+b") as file:
            file.seek(-100, 2)
            (byte,) = file.read(1)
            file.seek(-100, 2)
            file.write(bytes([byte ^ 1]))
        return digest

    monkeypatch.setattr(cog_layout.Blocks, "write", losing)
    with pytest.raises(WriteError, match="reads back other pixels"):
        write_cog(path, spec, parts)
    assert path.read_bytes() == b"an older map"
    assert {name.name for name in tmp_path.iterdir()} == {"map.tif", "parts"}


def test_parts_have_the_edges_of_blocks_and_come_in_raster_order(tmp_path: Path) -> None:
    write_part(tmp_path / "part.tif", np.ones((512, 512), np.uint8))
    spec = spec_of((1024, 1024))
    for row, col in ((0, 100), (100, 0)):
        with pytest.raises(ValueError, match="edges"):
            write_cog(tmp_path / "map.tif", spec, [(Block(0, Window.of(row, col, 512, 512)), tmp_path / "part.tif")])
    with pytest.raises(ValueError, match="not a part of uint16"):
        write_cog(
            tmp_path / "map.tif",
            spec_of((512, 512), dtype="uint16"),
            [(Block(0, Window.of(0, 0, 512, 512)), tmp_path / "part.tif")],
        )
    parts = [(Block(index, Window.of(512 - 512 * index, 0, 512, 512)), tmp_path / "part.tif") for index in (0, 1)]
    with pytest.raises(ValueError, match="below"):
        write_cog(tmp_path / "map.tif", spec, iter(parts))
    assert {name.name for name in tmp_path.iterdir()} == {"part.tif"}


def test_a_disk_too_small_for_the_file_is_seen_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path = spec_of(), tmp_path / "map.tif"
    parts = parts_of(tmp_path / "parts", patches(), spec)
    write_cog(path, spec, parts)
    size, old = path.stat().st_size, path.read_bytes()

    def space(_: Path, needed: int) -> None:
        assert needed <= size
        if needed == size:
            raise WriteError("the disk is too small")

    monkeypatch.setattr(cog_writer, "check_space", space)
    monkeypatch.setattr(cog_layout.Blocks, "write", lambda *_: pytest.fail("was written"))
    with pytest.raises(WriteError, match="too small"):
        write_cog(path, spec, parts)
    assert path.read_bytes() == old
