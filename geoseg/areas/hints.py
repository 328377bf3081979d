"""What may be wrong where an area of interest and a scene do not meet: in words, for an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from geoseg.areas.placing import Box, horizontal, period
from geoseg.lazy import lazy
from geoseg.raster.georeference import Georeference

if TYPE_CHECKING:
    import pyproj
else:
    pyproj = lazy("pyproj")

_POINTS = 21


def where(crs: pyproj.CRS | None, area: Box, georeference: Georeference, scene: Box) -> str:
    """Say where an area and a scene lie, and what may be wrong.

    Args:
        crs: Of the area; None if its file names none.
        area: Bounds of the area, in its CRS.
        georeference: Of the scene.
        scene: Bounds of the scene, or of the part of it that is wanted, in its CRS.
    """
    scene_crs = None if georeference.wkt is None else horizontal(pyproj.CRS.from_wkt(georeference.wkt))
    own = scene_crs if crs is None else horizontal(crs)
    degrees = [_degrees(own, area), _degrees(scene_crs, scene)]
    if own is not None and scene_crs is not None and not own.equals(scene_crs, ignore_axis_order=True) and all(degrees):
        places = [f"{_words(box)} in degrees" for box in degrees if box]
    else:
        places = [f"{_words(area)} ({_name(crs)})", f"{_words(scene)} ({_name(scene_crs)})"]
    hint = next(_hints(crs, area, scene_crs, scene), "")
    return f"it lies at {places[0]}, the scene at {places[1]}" + (f"; {hint}" if hint else "")


def _hints(crs: pyproj.CRS | None, area: Box, scene_crs: pyproj.CRS | None, scene: Box) -> Iterator[str]:
    no_crs = "its file names no CRS (a lost .prj?)"
    as_degrees = _transformed(pyproj.CRS.from_user_input("OGC:CRS84"), scene_crs, area)
    swapped = (area[1], area[0], area[3], area[2])
    if crs is not None and period(crs) and not _on_the_globe(area):
        way = (
            f"save it with its CRS, which may be the scene's ({_name(scene_crs)})"
            if _meet(area, scene)
            else "save it with its CRS"
        )
        yield f"these are no degrees, though its file says so ({_name(crs)}): {way}"
    elif crs is not None and not period(crs) and _on_the_globe(area) and _meet(as_degrees, scene):
        yield f"its coordinates look like degrees, though its file says {_name(crs)}"
    elif crs is None and not period(scene_crs) and _on_the_globe(area):
        yield f"{no_crs}, and its coordinates look like degrees: save it with its CRS"
    elif crs is not None and _meet(area, scene):
        yield f"it would meet the scene if its CRS was the scene's ({_name(scene_crs)}): is {_name(crs)} wrong?"
    if period(crs or scene_crs) and _meet(_transformed(crs or scene_crs, scene_crs, swapped), scene):
        yield "longitude and latitude look exchanged"
    for other in _zones(crs or scene_crs):
        if _meet(_transformed(other, scene_crs, area), scene):
            yield f"it would meet the scene if its CRS was {_name(other)}"
    if crs is None:
        yield f"{no_crs}, so it is taken to be in the scene's"


def _zones(crs: pyproj.CRS | None) -> Iterator[pyproj.CRS]:
    """The other zones of the same grid, where the names of CRSs end in a zone: "WGS 84 / UTM zone 33N"."""
    code = None if crs is None else crs.to_epsg()
    found = re.search(r"zone (\d+)([NS]?)$", crs.name) if crs is not None and code else None
    if found is None or crs is None or code is None:
        return
    for number in range(1, 61):
        try:
            other = pyproj.CRS.from_epsg(code - int(found[1]) + number)
        except pyproj.exceptions.CRSError:
            continue
        if other.name == f"{crs.name[: found.start()]}zone {number}{found[2]}" and number != int(found[1]):
            yield other


def _on_the_globe(box: Box) -> bool:
    return box[0] >= -360 and box[2] <= 360 and box[1] >= -90 and box[3] <= 90


def _meet(one: Box | None, other: Box) -> bool:
    return one is not None and one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def _degrees(crs: pyproj.CRS | None, box: Box) -> Box | None:
    if crs is not None and period(crs) and not _on_the_globe(box):
        return None
    return _transformed(crs, pyproj.CRS.from_user_input("OGC:CRS84"), box)


def _transformed(crs: pyproj.CRS | None, target: pyproj.CRS | None, box: Box) -> Box | None:
    """Bounds of a box in another CRS; None where it has none."""
    if crs is None or target is None:
        return None
    try:
        transformer = pyproj.Transformer.from_crs(crs, target, always_xy=True)
        bounds = transformer.transform_bounds(*box, densify_pts=_POINTS)
    except pyproj.exceptions.ProjError:
        return None
    return bounds if np.isfinite(bounds).all() else None


def _words(box: Box) -> str:
    return " ".join(f"{value:.{4 if _on_the_globe(box) else 0}f}" for value in box)


def _name(crs: pyproj.CRS | None) -> str:
    if crs is None:
        return "no CRS"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.name
