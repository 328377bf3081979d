"""What lies beside the rasters of a map: styles, legend, STAC Item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap
from geoseg.errors import GeosegError, InputError
from geoseg.files.atomic import publish_bytes
from geoseg.footprint import footprint
from geoseg.grid import Window
from geoseg.location import Location
from geoseg.model.file import versions
from geoseg.outputs import Outputs
from geoseg.pictures import legend, save_png
from geoseg.raster.scene import Scene
from geoseg.stac import COG, Asset, class_band, confidence_band, processing, stac_item
from geoseg.styles import file_qml, raster_sld
from geoseg.units import Period

# Media type and roles by suffix, of what is neither the classes nor their confidence.
_KINDS = {
    ".qml": ("application/xml", ("metadata", "style")),
    ".sld": ("application/vnd.ogc.sld+xml", ("metadata", "style")),
    ".legend.png": ("image/png", ("metadata", "legend")),
    ".preview.png": ("image/png", ("overview",)),
    ".aux.xml": ("application/xml", ("metadata",)),
    ".gpkg": ("application/geopackage+sqlite3", ("data",)),
    ".fgb": ("application/vnd.flatgeobuf", ("data",)),
    ".parquet": ("application/vnd.apache.parquet", ("data",)),
    ".shp": ("application/vnd.shp", ("data",)),
    ".shx": ("application/vnd.shx", ("data",)),
    ".dbf": ("application/vnd.dbf", ("data",)),
    ".geojson": ("application/geo+json", ("data",)),
    ".geojsonl": ("application/geo+json-seq", ("data",)),
    ".geojsons": ("application/geo+json-seq", ("data",)),
}


def write_styles(outputs: Outputs, classes: ClassMap, sld: bool, picture: bool) -> None:
    """Write the QGIS style; where asked for, the SLD and the picture of a legend.

    Raises:
        WriteError: the file system failed.
    """
    publish_bytes(outputs.style, file_qml(classes.classes))
    if sld:
        publish_bytes(outputs.sld, raster_sld(classes.classes, outputs.classes.stem))
    if picture:
        save_png(legend(classes.classes), outputs.legend)


def check_item(path: Location, scene: Scene, extent: Window, wanted: Period | None) -> Period:
    """Return when the scene was taken, `wanted` or by what it says, once it is known that a STAC Item can be written.

    Raises:
        InputError: there is no time, or no place on the globe; the message names the way out.
    """
    taken = wanted or scene.taken
    if taken is None:
        raise InputError(
            f"{path}: does not say when it was taken, as a STAC Item must; give --datetime, for instance 2020-07-14"
        )
    if scene.georeference.wkt is None:
        raise InputError(f"{path}: has no CRS, and a STAC Item needs a place; give --assume-crs, or leave --stac out")
    try:
        footprint(scene.georeference, extent)
    except GeosegError as error:
        raise InputError(f"{path}: {error}; leave --stac out") from error
    return taken


def write_item(
    outputs: Outputs, scene: Scene, extent: Window, taken: Period, classes: ClassMap, hashes: Mapping[Path, str],
    provenance: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the STAC Item of the files in `hashes` (path -> SHA-256), which are complete.

    Raises:
        WriteError: the file system failed.
    """
    stem, sampling = scene.path.stem, scene.area_or_point
    model = provenance["model_sha256"]
    lineage = f"Classes of {scene.path.name} by geoseg, learnt without labels; SHA-256 of the model: {model}"
    software = {name: str(version) for name, version in versions().items()}
    item = stac_item(
        outputs.item, f"{stem}-classes", scene.georeference.shifted(extent), extent.shape, taken,
        {_key(outputs, path): _asset(outputs, path, digest, classes, sampling) for path, digest in hashes.items()},
        {"title": f"Classes of {scene.path.name}", **processing(lineage, software)},
    )  # fmt: skip
    publish_bytes(outputs.item, item)


def _key(outputs: Outputs, path: Path) -> str:
    keys = {
        outputs.classes: "classes", outputs.confidence: "confidence", outputs.polygons: "polygons",
        outputs.style: "style", outputs.sld: "sld", outputs.legend: "legend", outputs.preview: "overview",
    }  # fmt: skip
    return keys.get(path, path.name)


def _asset(outputs: Outputs, path: Path, digest: str, classes: ClassMap, sampling: str) -> Asset:
    if path == outputs.classes:
        band = class_band("classes", classes.dtype, classes.classes, sampling)
        return Asset(path, "Classes", COG, ("data",), digest, (band,))
    if path == outputs.confidence:
        band = confidence_band("confidence", sampling)
        return Asset(path, "Confidence of the classes", COG, ("data",), digest, (band,))
    kind, roles = next(
        (kind for suffix, kind in _KINDS.items() if path.name.lower().endswith(suffix)),
        ("application/octet-stream", ("data",)),
    )
    return Asset(path, path.name, kind, roles, digest)
