"""What a report says of a map in words: its size and area, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.config import ReportConfig
from geoseg.naming.origin import provenance_of
from geoseg.naming.page import PageText
from geoseg.naming.sheet import SheetRow
from geoseg.outputs.class_areas import hectares
from geoseg.raster.class_raster import ClassRaster, Confidence
from geoseg.raster.georeference import crs_name
from geoseg.raster.ground import Ground
from geoseg.raster.scene import Scene


def page_text(
    config: ReportConfig, raster: ClassRaster, scene: Scene, confidence: Confidence | None, rows: Sequence[SheetRow]
) -> PageText:
    """Return what the report of a map says."""
    record = {name: value for name, value in provenance_of(raster).items() if name not in ("classes", "layer")}
    return PageText(
        config.title or f"Land cover of {scene.path.stem}",
        ", ".join(_facts(raster, rows)),
        f"{raster.path.stem}.classes.json",
        dict(_made(raster, scene, confidence, record)),
        record or None,
    )


def _facts(raster: ClassRaster, rows: Sequence[SheetRow]) -> list[str]:
    """The size of the map in a few words."""
    shape, georeference = raster.scene.shape, raster.scene.georeference
    distance = Ground(georeference, shape).sampling_distance
    used = [row.area for row in rows if row.area]
    facts = [f"{len(used)} classes" if len(used) != 1 else "1 class"]
    if used and all(area.m2 is not None for area in used):
        facts.append(f"{hectares(sum(area.m2 or 0.0 for area in used))} ha")
    facts.append(f"{shape[1]:,} \u00d7 {shape[0]:,} pixels" + (f" of {distance:.3g} m" if distance else ""))
    facts.append(crs_name(georeference.crs) if georeference.crs else "no CRS")
    return facts


def _made(
    raster: ClassRaster, scene: Scene, confidence: Confidence | None, record: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Name -> value of what the map was made with."""
    settings = record.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    made = [("Map", raster.path.name), ("Scene", scene.path.name)]
    if confidence is not None:
        made.append(("Confidence", confidence.path.name))
    made.append(("Bands shown", ", ".join(scene.band_names[:3])))
    if scene.taken is not None:
        made.append(("Taken", str(scene.taken)))
    origin = (("geoseg", "Made by geoseg"), ("model_sha256", "SHA-256 of the model"))
    choices = (("min_area", "Minimum area"), ("smooth", "Rounds of smoothing"))
    for source, names in ((record, origin), (settings, choices)):
        made += [(label, str(source[key])) for key, label in names if source.get(key) is not None]
    ground = Ground(raster.scene.georeference, raster.scene.shape)
    kind = "pixels, as the CRS does not give square metres"
    if ground.metric:
        kind = "of the map, whose projection is true to area within 1 %" if ground.uniform else "on the ellipsoid"
    return [*made, ("Areas", kind)]
