"""The page of a report: below its limit, escaped, and complete in itself."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.maps import NASTY, page_data
from PIL import Image

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError
from geoseg.naming.embedding import encode_map
from geoseg.naming.page import MAX_BYTES, MapView, PageText, report_page
from geoseg.naming.sheet import SheetRow
from geoseg.outputs.class_areas import ClassArea

TEXT = PageText("A & B", "facts", "map.classes.json", {"Map": "<m>.tif"}, {"scene": {"name": "</pre>"}})


def rows_of(names: list[str], patches: int = 1, side: int = 16) -> list[SheetRow]:
    """A row for each name, the first one unused."""
    random = np.random.default_rng(0)
    rows = []
    for i, name in enumerate(names, 1):
        pictures = [random.integers(0, 256, (side, side, 3), np.uint8) for _ in range(patches if i > 1 else 0)]
        area = ClassArea(100 * i, 25.0 * i, 0.5) if i > 1 else None
        share = 0.0 if i == 1 else i / (len(names) * (len(names) + 1) / 2 - 1)
        rows.append(SheetRow(LandClass(i, name, LandClass.default(i).colour), area, share, tuple(pictures)))
    return rows


def view_of(shape: tuple[int, int], classes: int) -> MapView:
    random = np.random.default_rng(1)
    ids = random.integers(0, classes + 1, shape)
    return MapView(ids, ids != 0, random.integers(0, 256, (*shape, 3), np.uint8), np.ones(shape, bool), 0.5)


class Parsed(HTMLParser):
    """Tags in order, and attributes by name."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def test_names_are_data_and_never_markup() -> None:
    names = ["plain", *NASTY]
    plain = Parsed(report_page(TEXT, rows_of([f"c{i}" for i in range(len(names))]), view_of((20, 30), 6)).decode())
    page = report_page(TEXT, rows_of(names), view_of((20, 30), 6)).decode()
    parsed = Parsed(page)
    assert parsed.tags == plain.tags, "no name makes a tag"
    # By area, which grows with the id here; the unused one is last.
    order = [*reversed(names[1:]), names[0]]
    typed = [value for value in parsed.values("input", "value") if value in names]
    assert typed == order
    assert [text for text in parsed.texts if text in names] == order
    assert not re.search("[<>&]", page.split('id="data">')[1].split("</script>")[0]), "no tag or comment begins there"
    assert ClassMap.from_json(page_data(page)["classes"]).classes == tuple(row.entry for row in rows_of(names))


def test_merged_classes_keep_their_clusters() -> None:
    rows = rows_of(["a", "b"])
    merged = [rows[0], SheetRow(LandClass(2, "b", "#112233", (2, 3, 5)), rows[1].area, 1.0)]
    page = report_page(TEXT, merged).decode()
    assert [entry["clusters"] for entry in page_data(page)["classes"]] == [[1], [2, 3, 5]]
    assert "clusters 2, 3, 5" in page


def test_a_page_asks_for_nothing() -> None:
    page = report_page(TEXT, rows_of(["a", "b", "c"]), view_of((20, 30), 3)).decode()
    parsed = Parsed(page)
    links = [value for _, name, value in parsed.attributes if name in ("src", "href", "action", "srcset", "data")]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not re.findall(r"(?:https?:)?//[a-z]|@import|url\((?!data:image/jpeg;base64,|var)", _without_data(page))
    (policy,) = [v for v in parsed.values("meta", "content") if "default-src" in v]
    assert policy.startswith("default-src 'none'; img-src data: blob:;")


def _without_data(page: str) -> str:
    return re.sub(r"[A-Za-z0-9+/=]{200,}", "", page).replace("// ", "")


def test_unused_classes_are_marked_and_cannot_be_chosen() -> None:
    page = report_page(TEXT, rows_of(["nothing", "something"]), view_of((20, 30), 2)).decode()
    assert re.search(r'class="entry unused" data-id="1" disabled>', page)
    assert re.search(r'class="entry" data-id="2" aria-pressed="false">', page)
    assert "not in this map" in page
    assert page.count("Show on the map") == 1


def test_a_page_stays_below_its_limit_whatever_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is what compresses worst."""
    rows = rows_of(["unused", *("🌳" * 300 + str(i) for i in range(253))], patches=4, side=48)
    page = report_page(TEXT, rows, view_of((600, 600), 254))
    assert 0.4 * MAX_BYTES < len(page) < MAX_BYTES
    assert page.rstrip().endswith(b"</html>")
    # The map alone would be larger, and so would the scene and the sheet.
    monkeypatch.setattr("geoseg.naming.page.MAX_BYTES", 200_000)
    page = report_page(TEXT, rows_of([f"c{i}" for i in range(24)], patches=8, side=48), view_of((500, 600), 24))
    assert 120_000 < len(page) < 200_000
    assert page.count(b"data:image/jpeg") == 24, "the scene, and patches of each class that is used"
    data = page_data(page.decode())["map"]
    assert 600 > data["width"] > 200
    assert data["metres"] == pytest.approx(0.5 * 600 / data["width"])
    monkeypatch.setattr("geoseg.naming.page.MAX_BYTES", 20_000)
    with pytest.raises(InputError, match="do not fit into a page; shorten them"):
        report_page(TEXT, rows)


def test_more_classes_than_a_palette_holds_are_told_and_saved_all_the_same() -> None:
    page = report_page(TEXT, rows_of([f"c{i}" for i in range(300)], patches=0), view_of((40, 40), 300)).decode()
    assert page.count('class="entry') == 254
    assert "46 more classes" in page
    assert len(page_data(page)["classes"]) == 300


def test_the_picture_of_the_map_has_the_indices_of_its_classes() -> None:
    view = view_of((31, 47), 5)
    data = page_data(report_page(TEXT, rows_of(["u", "a", "b", "c", "d"]), view).decode())["map"]
    with Image.open(io.BytesIO(base64.b64decode(data["png"]))) as picture:
        assert picture.mode == "P"
        indices = np.asarray(picture)
        assert np.asarray(picture.convert("RGBA"))[..., 3].tolist() == np.where(indices, 255, 0).tolist()
    ids = np.array([0, *data["ids"]])
    # Class 1 is said to be unused, so it is not painted.
    np.testing.assert_array_equal(ids[indices], np.where(view.ids == 1, 0, view.ids))
    assert (data["width"], data["height"], data["metres"]) == (47, 31, 0.5)


def test_where_the_scene_is_not_valid_it_is_not_shown() -> None:
    view = view_of((24, 32), 3)
    rows = rows_of(["u", "a", "b"])
    assert b"--mask:url" not in report_page(TEXT, rows, view)
    valid = np.ones((24, 32), bool)
    valid[5:, :9] = False
    page = report_page(TEXT, rows, replace(view, valid=valid)).decode()
    (mask,) = re.findall(r'style="--mask:url\(data:image/png;base64,([^)]+)\)"', page)
    with Image.open(io.BytesIO(base64.b64decode(mask))) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGBA"))[..., 3] == 255, valid)


def test_a_map_that_has_to_shrink_keeps_its_classes() -> None:
    indices = np.random.default_rng(0).integers(0, 200, (300, 400)).astype(np.uint8)
    png, shape = encode_map(indices, 200, 20_000)
    assert len(png) <= 20_000
    with Image.open(io.BytesIO(png)) as picture:
        small = np.asarray(picture)
    assert small.shape == shape
    assert max(shape) > 100
    assert set(np.unique(small)) <= set(np.unique(indices))
