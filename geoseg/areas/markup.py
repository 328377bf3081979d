"""Reads polygons from KML (OGC 12-007) and from GML 2 and 3 (OGC 02-069, 07-036)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.areas.shapes import batches, polygon
from geoseg.files.xml import parse_xml
from geoseg.lazy import lazy

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_GML = "opengis.net/gml"
_HREF = "{http://www.w3.org/1999/xlink}href"
_EXTERIOR, _INTERIOR = ("exterior", "outerBoundaryIs"), ("interior", "innerBoundaryIs")
_MEMBERS = ("surfaceMember", "polygonMember", "surfaceMembers", "baseSurface", "geometryMember")
_CURVES = (
    "Arc", "ArcString", "ArcByCenterPoint", "ArcByBulge", "ArcStringByBulge", "Circle", "CircleByCenterPoint",
    "CubicSpline", "BSpline", "Bezier", "Clothoid", "Geodesic", "GeodesicString", "OffsetCurve",
)  # fmt: skip


class _Found(NamedTuple):
    """A polygon, with the name of its CRS and the number of its coordinates per vertex; 0 if unknown."""

    element: Any
    srs: str
    dimension: int


def open_markup(content: bytes) -> tuple[pyproj.CRS | None, Iterator[NDArray[Any]]]:
    """Return the CRS and the polygons of a KML or GML text.

    Raises:
        ValueError, SyntaxError, IndexError: The text is not XML, is neither KML nor GML, or has curves or references
            to geometries elsewhere.
        pyproj.exceptions.CRSError: The CRS is unknown.
    """
    root = parse_xml(content)
    crs: pyproj.CRS | None
    found = list(_polygons(root))
    if _local(root) == "kml":
        crs, swapped = pyproj.CRS.from_user_input("OGC:CRS84"), False
    elif any(_GML in str(element.tag) for element in root.iter()):
        names = {each.srs for each in found} - {""}
        if len(names) > 1:
            raise ValueError(f"its polygons have several CRSs: {', '.join(sorted(names))[:80]}")
        crs, swapped = _crs(names.pop() if names else _envelope(root))
    else:
        raise ValueError("it is XML, but neither KML nor GML")
    return crs, batches(_shape(each, swapped) for each in found)


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _polygons(root: Any) -> Iterator[_Found]:
    stack = [(root, "", 0)]
    while stack:
        element, srs, dimension = stack.pop()
        name = _local(element)
        srs = element.get("srsName", srs)
        dimension = int(element.get("srsDimension", dimension))
        if name in _MEMBERS and element.get(_HREF):
            raise ValueError("it refers to geometries elsewhere (xlink:href)")
        if name in ("Polygon", "PolygonPatch", "Triangle", "Rectangle"):
            yield _Found(element, srs, dimension)
        else:
            stack += [(child, srs, dimension) for child in reversed(element)]


def _envelope(root: Any) -> str:
    """The CRS of the bounds, for geometries that name none."""
    return next(
        (str(e.get("srsName")) for e in root.iter() if _local(e) in ("Envelope", "Box") and e.get("srsName")), ""
    )


def _crs(name: str) -> tuple[pyproj.CRS | None, bool]:
    """The CRS, and whether its coordinates are stored with the northing or latitude first."""
    if not name:
        return None, False
    # In the older forms, such as EPSG:4326, coordinates are always x, y.
    strict = name.startswith("urn:") or "/def/crs/" in name
    text = f"EPSG:{name.rpartition('#')[2]}" if "epsg.xml#" in name.lower() else name
    if "/def/crs/" in name:
        authority, _, code = name.split("/def/crs/")[1].split("/")[:3]
        text = f"{authority}:{code}"
    crs = pyproj.CRS.from_user_input(text)
    axes = [axis.direction for axis in crs.axis_info[:2]]
    return crs, strict and len(axes) == 2 and axes[0] in ("north", "south") and axes[1] in ("east", "west")


def _shape(found: _Found, swapped: bool) -> Any:
    exterior: list[NDArray[np.float64]] = []
    holes: list[NDArray[np.float64]] = []
    for boundary in found.element:
        if _local(boundary) in (*_EXTERIOR, *_INTERIOR):
            ring = _ring(boundary, found.dimension)[:, :2]
            (exterior if _local(boundary) in _EXTERIOR else holes).append(ring[:, ::-1] if swapped else ring)
    return polygon([*exterior[:1], *holes])


def _ring(boundary: Any, dimension: int) -> NDArray[np.float64]:
    pieces = []
    for element in boundary.iter():
        name, text = _local(element), (element.text or "").strip()
        if name in _CURVES:
            raise ValueError(f"it has curves ({name}); convert them to polygons")
        if name == "coordinates":
            pieces.append(_tuples(element, text))
        elif name in ("posList", "pos"):
            numbers = np.array(text.split(), np.float64)
            size = int(element.get("srsDimension", dimension)) or (len(numbers) if name == "pos" else 0)
            pieces.append(numbers.reshape(-1, size or (3 if len(numbers) % 2 else 2))[:, :2])
    return np.concatenate(pieces)


def _tuples(element: Any, text: str) -> NDArray[np.float64]:
    """The vertices of <coordinates>x,y x,y</coordinates>."""
    between, after, point = element.get("cs", ","), element.get("ts", " "), element.get("decimal", ".")
    words = text.split() if after.isspace() else text.split(after)
    return np.array([[float(part.replace(point, ".")) for part in word.split(between)[:2]] for word in words if word])
