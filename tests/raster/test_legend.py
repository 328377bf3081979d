"""Names and colours of the classes of other programs: category names, attribute tables, VRTs; and how users choose."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.rasters import make_raster

from geoseg.classes import LandClass
from geoseg.config import Opening
from geoseg.errors import SettingError
from geoseg.raster import legend
from geoseg.raster.attribute_table import read_dbf
from geoseg.raster.choice import choose
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.legend import Legend, read_legend


@pytest.fixture
def cover(tmp_path: Path) -> Path:
    """A class raster of 1..4, nodata 0, that says nothing of them."""
    return make_raster(tmp_path / "cover.tif", np.array([[[0, 1, 2, 3, 4]]], np.uint8), nodata=0)


def beside(path: Path, content: str) -> None:
    """Write the band's metadata into the file that GDAL keeps beside a raster."""
    text = f"<PAMDataset><PAMRasterBand band='1'>{content}</PAMRasterBand></PAMDataset>"
    path.with_name(path.name + ".aux.xml").write_text(text)


def table(columns: list[tuple[str, int, int]], rows: list[list[object]], **attributes: object) -> str:
    """A raster attribute table of GDAL. Columns are (name, type, usage)."""
    fields = "".join(
        f"<FieldDefn><Name>{n}</Name><Type>{t}</Type><Usage>{u}</Usage></FieldDefn>" for n, t, u in columns
    )
    body = "".join(f"<Row>{''.join(f'<F>{cell}</F>' for cell in row)}</Row>" for row in rows)
    said = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<GDALRasterAttributeTable{said}>{fields}{body}</GDALRasterAttributeTable>"


def dbf(columns: list[tuple[str, str, int]], rows: list[list[object]], encoding: str = "utf-8") -> bytes:
    """A dBASE table. Columns are (name, C or N, width)."""
    fields = b"".join(struct.pack("<11sc4xB15x", name.encode(), kind.encode(), width) for name, kind, width in columns)
    length = 1 + sum(width for _, _, width in columns)
    records = b""
    for row in rows:
        cells = (str(cell).encode(encoding) for cell in row)
        records += b" " + b"".join(
            cell.ljust(width) if kind == "C" else cell.rjust(width)
            for cell, (_, kind, width) in zip(cells, columns, strict=True)
        )
    head = struct.pack("<4BIHH20x", 3, 120, 1, 1, len(rows), 33 + len(fields), length)
    return head + fields + b"\r" + records + b"\x1a"


RGB = [("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8)]


@pytest.mark.parametrize(
    "content",
    [
        table([("Value", 0, 5), ("Class", 2, 2), *RGB], [[1, "Open Water", 0, 16, 255], [3, " Wood ", 300, -4, 1]]),
        # Esri's software leaves out what columns are for; the order differs, and there is more text than names.
        table(
            [("Note", 2, 0), ("CLASS NAME", 2, 0), ("Count", 1, 0), ("VALUE", 0, 0), ("red", 1, 0), ("green", 1, 0),
             ("blue", 1, 0)],
            [["x", "Open Water", 9, 1, 0, 16 / 255, 1], ["y", "Wood", 1, 3.0, 1, 0, 1 / 255]],
        ),
        # Values by their place, as in tables that come from Erdas.
        table([("Class_Names", 2, 2), *RGB], [["", 0, 0, 0], ["Open Water", 0, 16, 255], ["", 0, 0, 0],
                                              ["Wood", 255, 0, 1]], Row0Min=0, BinSize=1),
        table([("From", 0, 3), ("To", 0, 4), ("Name", 2, 2), *RGB],
              [[1, 1, "Open Water", 0, 16, 255], [3, 3, "Wood", 255, 0, 1]]),
    ],
)  # fmt: skip
def test_attribute_tables_name_and_colour(cover: Path, content: str) -> None:
    beside(cover, content)
    with ClassRaster(cover) as raster:
        assert raster.land_class(1) == LandClass(1, "Open Water", "#0010ff")
        assert raster.land_class(3) == LandClass(3, "Wood", "#ff0001")
        assert raster.land_class(4).name == "class 4"
        assert set(raster.classes) == {1, 3}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_tables_of_esri_name_and_colour(cover: Path, encoding: str) -> None:
    content = dbf(
        [("VALUE", "N", 6), ("COUNT", "N", 9), ("CLASS_NAME", "C", 20), ("RED", "N", 4), ("GREEN", "N", 4),
         ("BLUE", "N", 4)],
        [[1, 10, "Wälder", 1, 2, 3], [2, 5, "", 4, 5, 6]], encoding,
    )  # fmt: skip
    cover.with_name("cover.tif.vat.dbf").write_bytes(content)
    assert read_legend(cover) == Legend({1: "Wälder"}, {1: "#010203", 2: "#040506"})
    # Category names come first.
    beside(cover, "<CategoryNames><Category>none</Category><Category>forest</Category></CategoryNames>")
    assert read_legend(cover, nodata=0).names == {1: "forest"}
    for length in (0, 5, 31, 40, 100, 150, len(content) - 30):
        read_dbf(content[:length])
    for seed in range(60):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[np.random.default_rng(seed).integers(0, 240, 6)] ^= np.uint8(0xFF)
        read_dbf(damaged.tobytes())


def test_a_vrt_has_its_names_inside(cover: Path) -> None:
    names = "<CategoryNames><Category/><Category>sea</Category></CategoryNames>"
    rat = table([("Value", 0, 5), ("Name", 2, 2)], [[1, "lake"], [2, "wood"]])
    for content, expected in ((names, {1: "sea"}), (rat, {1: "lake", 2: "wood"})):
        vrt = cover.with_name("cover.vrt")
        vrt.write_text(
            "<VRTDataset rasterXSize='5' rasterYSize='1'><VRTRasterBand dataType='Byte' band='1'><NoDataValue>0"
            f"</NoDataValue>{content}<SimpleSource><SourceFilename relativeToVRT='1'>cover.tif</SourceFilename>"
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
        # What GDAL notes beside it, such as statistics, does not hide them.
        beside(vrt, "<Metadata><MDI key='STATISTICS_MAXIMUM'>4</MDI></Metadata>")
        with ClassRaster(vrt, opening=Opening(allow_vrt=True)) as raster:
            assert {value: entry.name for value, entry in raster.classes.items()} == expected


def test_each_name_stands_for_one_class_and_nodata_for_none(cover: Path) -> None:
    names = ("other", "other", "a", "other", "other 3")
    beside(cover, f"<CategoryNames>{''.join(f'<Category>{name}</Category>' for name in names)}</CategoryNames>")
    assert read_legend(cover, nodata=0).names == {1: "other", 2: "a", 3: "other 3", 4: "other 3 4"}
    with (
        ClassRaster(cover) as raster,
        pytest.raises(SettingError, match=r"are other, a, other 3, other 3 4$"),
    ):
        raster.ids_of(["nodata"])


BOMB = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>"


def test_what_cannot_be_read_safely_is_told_and_names_nothing(
    cover: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cover.with_name("cover.tif.aux.xml")
    content = (
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>a</Category></CategoryNames></PAMRasterBand>"
    )
    monkeypatch.setattr(legend, "MAX_BYTES", 5000)
    for text, words in (
        (BOMB + content.replace(">a<", ">&c;<") + "</PAMDataset>", "DOCTYPE"),
        (content, "no element found"),
        (content + " " * 5000 + "</PAMDataset>", "has more than"),
        (content + "<a>" * 1500, "cannot be parsed"),
    ):
        for encoding in ("utf-8", "utf-16"):
            caplog.clear()
            path.write_bytes(text.encode(encoding))
            assert read_legend(cover) == Legend()
            (message,) = caplog.messages
            assert message.startswith(f"{path}: ")
            assert "not read" in message
            assert words in message or encoding == "utf-16"
    path.unlink()
    os.mkfifo(path)
    assert read_legend(cover) == Legend()


def test_a_table_of_endless_ranges_names_no_more_than_there_can_be(cover: Path) -> None:
    rows: list[list[object]] = [[0, 60000, "a"], [0, 10**9, "b"], [0, 60000, "c"], ["x", 1e400, "d"], [0, 60000, "e"]]
    beside(cover, table([("From", 0, 3), ("To", 0, 4), ("Name", 2, 2)], rows))
    assert len(read_legend(cover).names) == 60001


KNOWN = {"Developed, Open Space": 21, "Developed": 20, "Open Space": 5, "Open Water": 11, "7": 3}


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["Developed, Open Space"], [21]),
        (["Developed,Open Space"], [20, 5]),
        (["Open Water, Developed, Open Space,3"], [11, 21, 3]),
        (["Developed", "Open Space"], [20, 5]),
        (["7,class 7, -1,"], [3, 7, -1]),
        (["1,1"], [1]),
        ([" , "], []),
    ],
)
def test_names_may_have_commas(texts: list[str], ids: list[int]) -> None:
    assert list(choose("r.tif", texts, KNOWN).values()) == ids


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(SettingError, match=r"no class called 'Open'; known names are 'Developed, Open Space', 'Dev"):
        choose("r.tif", ["Open, Space"], KNOWN)
    with pytest.raises(SettingError, match=r"known names are none: give ids$"):
        choose("r.tif", ["Open"], {})
    with pytest.raises(SettingError, match=r"name 39 and 60 more$"):
        choose("r.tif", ["Open"], {f"name {i}": i for i in range(100)})
