"""The report: one HTML file that shows a map, its scene and its classes, and in which these can be named.

It loads nothing from the network and has less than 5 MB, whatever the scene: pictures get what the text leaves.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, OutputError
from geoseg.files.atomic import publish_bytes
from geoseg.naming.embedding import Strip, encode_map, encode_mask, encode_scene, encode_strips
from geoseg.naming.sheet import SheetRow, sheet_picture
from geoseg.outputs.class_areas import hectares, percent
from geoseg.outputs.pictures import Picture, save_png
from geoseg.version import __version__

PAGES = (".html", ".htm")
"""Suffixes of pages."""

MAX_BYTES = 5_000_000
"""Size of a page, at most."""

_ROWS = 254
"""Classes that are shown, which is also what a palette holds."""

_RECORD = 100_000
"""Characters of provenance that are shown."""

_SHEET_SHARE, _MASK_SHARE, _MAP_SHARE = 0.3, 0.1, 0.55
"""Share of the pictures' bytes that the sheet may take; of the rest, the mask; and of what is left then, the map."""


@dataclass(frozen=True, eq=False)
class MapView:
    """What the map viewer of a report shows.

    Attributes:
        ids: Class ids (rows, cols) of a small copy of the map.
        shown: Where it has a class, bool (rows, cols).
        scene: The scene on the same pixels.
        valid: Where the scene is valid, bool (rows, cols).
        metres: Side of such a pixel on the ground; None where it is not known.
    """

    ids: NDArray[Any]
    shown: NDArray[np.bool_]
    scene: Picture
    valid: NDArray[np.bool_]
    metres: float | None


@dataclass(frozen=True, eq=False)
class PageText:
    """What a page says.

    Attributes:
        title: Heading.
        facts: A line below it.
        file: Name of the file that names and colours are saved as.
        provenance: Name -> value of what the map was made with.
        record: All that is recorded, as JSON.
    """

    title: str
    facts: str
    file: str
    provenance: Mapping[str, str]
    record: Any = None


def report_page(text: PageText, rows: Sequence[SheetRow], view: MapView | None = None) -> bytes:
    """Return a report as HTML, in UTF-8: map and scene, legend, class sheet, provenance.

    Args:
        text: What the page says.
        rows: The class sheet.
        view: The map; None makes a page of the sheet alone.

    Raises:
        InputError: The names of the classes alone need more than MAX_BYTES.
    """
    order = sorted(rows, key=lambda row: (-row.share, row.entry.id))
    shown, left = order[:_ROWS], order[_ROWS:]
    pictures = _Pictures() if view is None else _Pictures(shape=(view.ids.shape[0], view.ids.shape[1]))
    # base64 makes four bytes of three.
    budget = (MAX_BYTES - len(_assembled(text, rows, shown, left, pictures)) - 1000) * 3 // 4
    if budget > 0:
        pictures = _pictures(shown, view, budget)
    page = _assembled(text, rows, shown, left, pictures)
    if len(page) > MAX_BYTES:
        raise InputError(f"{text.file}: the names of the classes do not fit into a page; shorten them")
    return page


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a page.

    Attributes:
        strips: Class id -> its patches.
        shape: Size (rows, cols) of the picture of the map; None without a map.
        data: What the page's script is told of the map.
        scene: The scene, as an address.
        mask: Where it is valid, as an address; empty where it is everywhere.
    """

    strips: Mapping[int, Strip] = field(default_factory=dict)
    shape: tuple[int, int] | None = None
    data: Mapping[str, Any] | None = None
    scene: str = ""
    mask: str = ""


def _pictures(shown: Sequence[SheetRow], view: MapView | None, budget: int) -> _Pictures:
    """Encode the pictures in at most `budget` bytes, if that is possible at all."""
    strips = encode_strips([row.patches for row in shown], int(budget * _SHEET_SHARE))
    budget -= sum(len(strip.jpeg) for strip in strips)
    by_id = {row.entry.id: strip for row, strip in zip(shown, strips, strict=True)}
    if view is None:
        return _Pictures(by_id)
    mask = b"" if view.valid.all() else encode_mask(view.valid)
    # Specks are no outline to cut along: there, the background is shown.
    mask = mask if len(mask) <= budget * _MASK_SHARE else b""
    budget -= len(mask)
    ids = [row.entry.id for row in shown if row.area]
    png, shape = encode_map(_indices(view, ids), len(ids), int(budget * _MAP_SHARE))
    jpeg = encode_scene(view.scene, budget - len(png))
    metres = None if view.metres is None else view.metres * view.ids.shape[1] / shape[1]
    data = {"width": shape[1], "height": shape[0], "ids": ids, "metres": metres, "png": _base64(png)}
    return _Pictures(by_id, shape, data, _uri("jpeg", jpeg), _uri("png", mask) if mask else "")


def write_sheet(path: Path, rows: Sequence[SheetRow], title: str) -> None:
    """Write a class sheet, atomically: a PNG, or a page in which the classes can be named, by the suffix of `path`.

    Args:
        path: The file, .png, .html or .htm.
        rows: The sheet.
        title: Heading of a page.

    Raises:
        OutputError: The suffix is another one.
        InputError: See `report_page`.
        WriteError: The file system failed; an old file is intact.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        save_png(sheet_picture(rows), path)
    elif suffix in PAGES:
        facts = f"{sum(row.area is not None for row in rows)} of {len(rows)} classes are in this map"
        publish_bytes(path, report_page(PageText(title, facts, f"{path.stem}.classes.json", {}), rows))
    else:
        raise OutputError(f"{path}: a class sheet is a picture or a page; name it {path.stem}.png or {path.stem}.html")


def _indices(view: MapView, ids: Sequence[int]) -> NDArray[np.uint8]:
    """The copy of the map as indices of a palette: 0 without a class, or with one that is not shown."""
    order = np.argsort(ids)
    known = np.asarray(ids, np.int64)[order]
    if not len(known):
        return np.zeros(view.ids.shape, np.uint8)
    places = np.searchsorted(known, view.ids).clip(max=len(known) - 1)
    here = view.shown & (known[places] == view.ids)
    return np.where(here, order[places] + 1, 0).astype(np.uint8)


def _assembled(
    text: PageText, rows: Sequence[SheetRow], shown: Sequence[SheetRow], left: Sequence[SheetRow], pictures: _Pictures
) -> bytes:
    body = [] if pictures.shape is None else [_stage(shown, pictures, pictures.shape)]
    body += [_sheet(shown, left, pictures.strips, pictures.shape is not None), _provenance(text)]
    classes = [
        {"id": row.entry.id, "name": row.entry.name, "colour": row.entry.colour, "clusters": list(row.entry.clusters)}
        for row in rows
    ]
    page = _filled(
        "page.html",
        version=escape(__version__),
        title=escape(text.title),
        facts=escape(text.facts),
        css=_asset("page.css"),
        js=_asset("page.js"),
        body="\n".join(body),
        data=_embedded({"file": text.file, "classes": classes, "map": pictures.data}),
    )
    return page.encode("utf-8", "replace")


def _stage(shown: Sequence[SheetRow], pictures: _Pictures, shape: tuple[int, int]) -> str:
    """The viewer and the legend."""
    sure = any(row.area and row.area.confidence is not None for row in shown)
    metric = all(row.area.m2 is not None for row in shown if row.area)
    heads = ["", "Class", "Area, ha" if metric else "Pixels", "Share", *(["Conf."] if sure else [])]
    return _filled(
        "stage.html",
        scene=pictures.scene,
        masked=f' style="--mask:url({pictures.mask})"' if pictures.mask else "",
        aspect=f"{shape[1]}/{shape[0]}",
        plain="" if sure else " plain",
        heads="".join(f"<span>{head}</span>" for head in heads),
        entries="".join(_entry(row, sure) for row in shown),
    )


def _entry(row: SheetRow, sure: bool) -> str:
    """A line of the legend."""
    cells, unused, state = ["not in this map"], " unused", " disabled"
    if row.area is not None:
        amount = f"{row.area.pixels:,}" if row.area.m2 is None else hectares(row.area.m2)
        unit = "pixels" if row.area.m2 is None else "hectares"
        cells = [f'{escape(amount)}<span class="hidden"> {unit}</span>', escape(percent(row.share))]
        if sure and row.area.confidence is not None:
            cells.append(f'<span class="hidden">confidence </span>{100 * row.area.confidence:.0f} %')
        unused, state = "", ' aria-pressed="false"'
    return _filled(
        "entry.html",
        id=str(row.entry.id),
        colour=escape(row.entry.colour),
        name=escape(row.entry.name),
        numbers="".join(f'<span class="number">{cell}</span>' for cell in cells),
        unused=unused,
        state=state,
    )


def _sheet(shown: Sequence[SheetRow], left: Sequence[SheetRow], strips: Mapping[int, Strip], viewer: bool) -> str:
    """The class sheet, in which names and colours are edited."""
    more = ""
    if left:
        share = escape(percent(sum(row.share for row in left)))
        more = f'<p class="notice">{len(left)} more classes, with {share} of the area, are not shown.</p>'
    return _filled(
        "sheet.html",
        more=more,
        beside=" or beside the map" if viewer else "",
        cards="".join(_card(row, strips.get(row.entry.id, Strip()), viewer) for row in shown),
    )


def _card(row: SheetRow, strip: Strip, viewer: bool) -> str:
    number, show, patches = str(row.entry.id), "", ""
    if viewer and row.area is not None:
        show = f'<button type="button" data-id="{number}" aria-pressed="false">Show on the map</button>'
    if strip.count:
        spots = (f'<span style="background-position:{_position(i, strip.count)} 0"></span>' for i in range(strip.count))
        patches = _filled(
            "patches.html", id=number, count=str(strip.count), strip=_uri("jpeg", strip.jpeg), spots="".join(spots)
        )
    return _filled(
        "card.html",
        id=number,
        colour=escape(row.entry.colour.lower()),
        name=escape(row.entry.name),
        note=escape(_note(row)),
        show=show,
        patches=patches,
        unused="" if row.area else " unused",
    )


def _note(row: SheetRow) -> str:
    words = row.note.removeprefix(f"id {row.entry.id}, ")
    merged = "" if row.entry.clusters == (row.entry.id,) else f"; clusters {_listed(row.entry.clusters)}"
    return words + merged


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _position(i: int, count: int) -> str:
    return "0" if count < 2 else f"{100 * i / (count - 1):.4g}%"


def _provenance(text: PageText) -> str:
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in text.provenance.items())
    details = ""
    if text.record is not None:
        recorded = json.dumps(text.record, indent=1, sort_keys=True, ensure_ascii=False)[:_RECORD]
        details = f"<details><summary>Everything that is recorded</summary><pre>{escape(recorded)}</pre></details>"
    return _filled("made.html", rows=rows, details=details) if rows or details else ""


@cache
def _asset(name: str) -> str:
    return files("geoseg.naming").joinpath("assets", name).read_text("utf-8")


def _filled(template: str, /, **parts: str) -> str:
    """A template with its places filled, in one pass: what is put in is not searched for places again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset(template))


def _embedded(value: Any) -> str:
    """JSON that may stand in a script element: no tag can begin or end in it."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{_base64(data)}"
