"""A report in a real browser: it is moved, clicked, typed into and saved. Run with -m soak; needs Chromium.

GEOSEG_REPORT_PICTURES names a folder in which screenshots are kept.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import Browser, browsing, chromium
from helpers.maps import NASTY, make_map, quilt

from geoseg.classes import ClassMap, LandClass
from geoseg.config import ReportConfig
from geoseg.jobs.job import follow
from geoseg.jobs.report import ReportJob
from geoseg.naming.legend_file import parse_legend
from geoseg.naming.origin import open_scene
from geoseg.naming.page import write_sheet
from geoseg.naming.sheet import class_sheet
from geoseg.raster.class_raster import ClassRaster

pytestmark = pytest.mark.soak

NAMES = ("water", *NASTY, "not there")
VALUES = quilt(240, 300, 6)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a map of six classes, of which one is unused."""
    path, _ = make_map(tmp_path_factory.mktemp("map"), VALUES, NAMES)
    with ReportJob(ReportConfig(path)) as job:
        list(follow(job))
        return job.result.path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium here; apt-get install chromium brings it")
    with browsing(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


def pixels(browser: Browser) -> np.ndarray:
    """What the map's canvas shows, uint8 (rows, cols, 4), once it has been painted."""
    browser.run("new Promise((done) => setTimeout(done, 250))")
    script = "(() => { const c = document.getElementById('map'); return [c.height, c.width, ...c.getContext('2d')"
    rows, cols, *values = browser.run(script + ".getImageData(0, 0, c.width, c.height).data]; })()")
    return np.array(values, np.uint8).reshape(rows, cols, 4)


def text(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector({json.dumps(selector)}).textContent"))


def transform(browser: Browser) -> tuple[float, float, float]:
    """(left, top, scale) of the map in the view."""
    script = "(() => { const m = new DOMMatrix(getComputedStyle(document.getElementById('map')).transform);"
    left, top, scale = browser.run(script + " return [m.e, m.f, m.a]; })()")
    return left, top, scale


def test_the_map_is_painted_and_one_class_can_be_seen_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    colours = np.array([entry.rgb for entry in ClassMap.default(6).classes], np.uint8)
    np.testing.assert_array_equal(pixels(browser)[..., :3], colours[VALUES - 1])
    browser.click('.entry[data-id="3"]')
    alone = pixels(browser)
    np.testing.assert_array_equal(alone[..., 3] == 255, VALUES == 3)
    assert browser.run("document.querySelector('.entry[data-id=\"3\"]').getAttribute('aria-pressed')") == "true"
    assert NASTY[1] in text(browser, "#status")
    assert browser.run("document.querySelectorAll('#panel .patches span').length") == 8
    browser.press("Escape", 27)
    assert (pixels(browser)[..., 3] == 255).all()
    assert browser.run("document.querySelector('.entry[data-id=\"7\"]').disabled") is True


def test_names_and_colours_are_edited_and_saved(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page)
    browser.downloads(tmp_path)
    browser.click('.entry[data-id="1"]')
    browser.type("#panel-name", 'Wald & "Wiese" </script> 🌲')
    assert text(browser, '.entry[data-id="1"] .name') == 'Wald & "Wiese" </script> 🌲'
    # Enter goes on to the next class of the legend.
    browser.press("Enter", 13)
    following = browser.run("Number(document.querySelector('.entry[aria-pressed=true]').dataset.id)")
    assert following != 1
    assert browser.run("document.activeElement.id") == "panel-name"
    browser.type('.card[data-id="5"] input[type=text]', "built")
    browser.type('.card[data-id="3"] input[type=text]', " built ")
    assert "name of class 3: they are saved as one class" in text(browser, '.card[data-id="5"] .problem')
    browser.type('.card[data-id="2"] input[type=text]', "NoData")
    assert "Pixels without a class are called so" in text(browser, '.card[data-id="2"] .problem')
    script = "(() => { const c = document.querySelector('.card[data-id=\"6\"] input[type=color]'); c.value = '#123456';"
    browser.run(script + " c.dispatchEvent(new Event('input', {bubbles: true})); })()")
    browser.press("Escape", 27)
    painted = pixels(browser)
    assert (painted[VALUES == 6][:, :3] == (0x12, 0x34, 0x56)).all()
    assert text(browser, "#saved") == "Changed, not saved yet"
    browser.click(".saving .save")
    saved = _downloaded(tmp_path / "map.classes.json")
    assert text(browser, "#saved") == "Saved as map.classes.json"
    # `classes import` takes it: the merged class keeps the id of the first, the others keep theirs.
    known = ClassMap(tuple(LandClass(i, name, LandClass.default(i).colour) for i, name in enumerate(NAMES, 1)))
    classes = parse_legend(json.dumps(saved).encode(), Path("map.classes.json"), known)
    assert [entry.id for entry in classes.classes] == [1, 2, 3, 4, 6, 7]
    assert [entry.name for entry in classes.classes] == [
        'Wald & "Wiese" </script> 🌲', NASTY[0], "built", NASTY[2], NASTY[4], "not there",
    ]  # fmt: skip
    assert classes.classes[2].clusters == (3, 5)
    assert classes.classes[4].colour == "#123456"
    assert classes.clusters == 7


def _downloaded(path: Path) -> Any:
    end = time.monotonic() + 30
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return json.loads(path.read_text("utf-8"))


def test_what_is_not_changed_is_saved_as_it_was(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page)
    browser.downloads(tmp_path)
    browser.click(".legend .save")
    saved = _downloaded(tmp_path / "map.classes.json")
    record = json.loads((page.parent / "map.geoseg.json").read_text())
    assert ClassMap.from_json(saved["classes"]) == ClassMap.from_json(record["classes"])


def test_a_sheet_of_its_own_is_named_and_saved_too(browser: Browser, page: Path, tmp_path: Path) -> None:
    with ClassRaster(page.with_name("map.tif")) as raster:
        scene, part = open_scene(raster)
        with scene:
            write_sheet(tmp_path / "sheet.html", class_sheet(raster, scene, part=part), "Sheet")
    browser.open(tmp_path / "sheet.html")
    browser.downloads(tmp_path)
    browser.type('.card[data-id="2"] input[type=text]', "roof")
    browser.click(".save")
    saved = _downloaded(tmp_path / "sheet.classes.json")
    assert [entry["name"] for entry in saved["classes"]] == [NAMES[0], "roof", *NAMES[2:]]


def test_mouse_and_keys_move_zoom_and_divide(browser: Browser, page: Path) -> None:
    browser.open(page)
    left, top, scale = transform(browser)
    x, y = browser.middle("#view")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x + 90, y=y, deltaX=0, deltaY=-300)
    zoomed = transform(browser)
    assert zoomed[2] > 1.5 * scale
    # What is below the mouse stays there.
    box = browser.run("document.getElementById('view').getBoundingClientRect().x") + 1
    place = x + 90 - box
    assert (place - zoomed[0]) / zoomed[2] == pytest.approx((place - left) / scale, abs=0.6)
    browser.drag((x + 100, y), (x + 160, y + 30))
    assert transform(browser)[:2] == pytest.approx((zoomed[0] + 60, zoomed[1] + 30), abs=1)
    browser.run("document.getElementById('view').focus()")
    browser.press("0", 48)
    assert transform(browser) == pytest.approx((left, top, scale), abs=1e-3)
    browser.press("+", 187)
    assert transform(browser)[2] == pytest.approx(1.4 * scale, rel=1e-3)
    middle = browser.middle("#divider")
    browser.drag(middle, (middle[0] - 200, middle[1]))
    width = browser.run("document.getElementById('view').clientWidth")
    share = browser.run("Number(document.getElementById('divider').getAttribute('aria-valuenow'))")
    assert share == pytest.approx(100 * (middle[0] - box - 200) / width, abs=1)
    browser.run("document.getElementById('divider').focus()")
    browser.press("ArrowRight", 39)
    assert browser.run("Number(document.getElementById('divider').getAttribute('aria-valuenow'))") == share + 2
    browser.press("End", 35)
    assert browser.run("document.querySelector('.clip').style.clipPath").endswith(f"{width}px)")


def test_two_fingers_zoom(browser: Browser, page: Path) -> None:
    browser.open(page, 390, 844, touch=True)
    scale = transform(browser)[2]
    x, y = browser.middle("#view")
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 90)):
        points = [{"x": x - apart, "y": y + 60, "id": 1}, {"x": x + apart, "y": y + 60, "id": 2}]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert transform(browser)[2] == pytest.approx(scale * 90 / 40, rel=0.05)


CONTRAST = """(() => {
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = (text) => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = text; pen.fillRect(0, 0, 1, 1);
    const d = pen.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.matches('input[type=text]');
    if (!own || e.matches('script, noscript, noscript *, .hidden') || !e.getClientRects().length) continue;
    const ink = rgba(getComputedStyle(e).color);
    let ground = [255, 255, 255];
    const stack = [];
    for (let p = e; p; p = p.parentElement) stack.unshift(rgba(getComputedStyle(p).backgroundColor));
    for (const c of stack) ground = ground.map((v, i) => v * (1 - c[3]) + c[i] * c[3]);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), e.className || e.tagName]);
  }
  return found.sort((x, y) => x[0] - y[0]);
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_enough_contrast_and_a_phone_is_wide_enough(
    browser: Browser, page: Path, tmp_path: Path, dark: bool
) -> None:
    """WCAG 2.2, 1.4.3 (AA): 4.5 to 1; and 1.4.10: nothing to scroll sideways at 320 pixels."""
    browser.open(page, dark=dark)
    browser.click('.entry[data-id="2"]')
    ratios = browser.run(CONTRAST)
    assert len(ratios) > 40
    assert ratios[0][0] >= 4.5, ratios[:5]
    folder = Path(os.environ.get("GEOSEG_REPORT_PICTURES", tmp_path))
    browser.screenshot(folder / f"report-{'dark' if dark else 'light'}.png")
    browser.open(page, 320, 700, dark=dark, touch=True)
    browser.click('.entry[data-id="6"]')
    assert browser.run("document.documentElement.scrollWidth") <= 320
    browser.screenshot(folder / f"report-phone-{'dark' if dark else 'light'}.png", whole=True)


def test_everything_that_acts_can_be_reached_and_has_a_name(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click('.entry[data-id="2"]')
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    acting = [
        n for n in tree if n.get("role", {}).get("value") in ("button", "slider", "textbox", "ColorWell", "image")
    ]
    assert len(acting) > 30
    assert all(n.get("name", {}).get("value") for n in acting)
    ids = browser.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_nothing_is_asked_for_and_nothing_fails(browser: Browser, page: Path) -> None:
    """Of all that was opened in this module before."""
    browser.open(page)
    assert not browser.problems
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
    assert browser.run("document.title") == "Land cover of scene"
