"""What the dock does with layers of the project: finds, draws, reloads and exports them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsDataProvider,
    QgsFeature,
    QgsField,
    QgsPalettedRasterRenderer,
    QgsPointXY,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from .dock_classes import NamingError, Row
from .dock_map import read_map

OPEN_FILES_STAY = sys.platform == "win32"
"""Whether a file that a layer has open can neither be replaced nor deleted."""

_DIMMED = 30
"""Opacity, of 255, of classes that are not selected."""


def path_of(layer: Any) -> Path | None:
    """Return the file of a layer; None for a layer that is none."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return Path(parts["path"]) if parts.get("path") else None


def maps_of_project() -> tuple[list[tuple[str, str, str]], list[Path]]:
    """Return the maps of geoseg in the project, and the files of its other rasters.

    Returns:
        Name, id and file of the layers of maps, names that several have with their files; the other files.
    """
    maps, others = [], set()
    for layer in QgsProject.instance().mapLayers().values():
        path = path_of(layer) if isinstance(layer, QgsRasterLayer) else None
        if path is not None and path.is_file():
            try:
                read_map(path)
                maps.append((layer.name(), layer.id(), path))
            except NamingError:
                others.add(path)
    names = [name for name, *_ in maps]
    texts = [f"{name} ({path.parent.name}/{path.name})" if names.count(name) > 1 else name for name, _, path in maps]
    return [(text, each, str(path)) for text, (_, each, path) in zip(texts, maps)], sorted(others)


def only_map(maps: Iterable[tuple[str, str, str]], layers: Iterable[Any]) -> str:
    """Return the id of the layer that is the only map among layers that were added; empty without one or of several."""
    added = {layer.id() for layer in layers if isinstance(layer, QgsRasterLayer)}
    found = [each for _, each, _ in maps if each in added]
    return found[0] if len(found) == 1 else ""


def is_made(layer: QgsVectorLayer) -> bool:
    """Return whether a layer has the columns of polygons, or those alone of superpixels, that geoseg draws."""
    names = set(layer.fields().names())
    if {"class_id", "class"} <= names and any(name.startswith("perimeter_") for name in names):
        return True
    others = names - {"fid", "id", "pixels", "area_m2", "planar_m2"}
    return {"id", "pixels"} <= names and bool(others) and all(name.startswith(("mean_", "std_")) for name in others)


def value_at(layer: QgsRasterLayer | None, point: QgsPointXY, crs: Any) -> int | None:
    """Return the class at a point in a CRS; None where there is none."""
    if layer is None:
        return None
    try:
        place = QgsCoordinateTransform(crs, layer.crs(), QgsProject.instance()).transform(point)
    except QgsCsException:  # a place that the CRS of the map does not have
        return None
    value, found = layer.dataProvider().sample(place, 1)
    return (int(value) or None) if found and value == value else None


def draw(layer: QgsRasterLayer, rows: Sequence[Row], only: Collection[int] = ()) -> None:
    """Draw a map with the classes as they will be; with `only`, other classes are pale."""
    entries = []
    for row in sorted(rows, key=lambda row: row.entry.id):
        shown = row if row.into is None else next(each for each in rows if each.entry.id == row.into)
        colour = QColor(shown.entry.colour)
        if only and row.entry.id not in only and row.into not in only:
            colour.setAlpha(_DIMMED)
        entries.append(QgsPalettedRasterRenderer.Class(row.entry.id, colour, shown.entry.name))
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries))
    layer.triggerRepaint()


def showing(files: Collection[Path]) -> dict[str, tuple[str, str]]:
    """Return the layers that show one of the files: id of the layer -> source and provider."""
    resolved = {path.resolve() for path in files}
    found = {}
    for layer in QgsProject.instance().mapLayers().values():
        path = path_of(layer)
        if path is not None and path.resolve() in resolved:
            found[layer.id()] = (layer.source(), layer.providerType())
    return found


def release(shown: Mapping[str, tuple[str, str]]) -> None:
    """Close the files of layers where a file that is open cannot be replaced."""
    if OPEN_FILES_STAY:
        _set_sources({key: ("", provider) for key, (_, provider) in shown.items()})


def reopen(shown: Mapping[str, tuple[str, str]]) -> None:
    """Open the files of layers, which may have been replaced, anew, and draw them in the styles beside or in them."""
    # Not by reloadData(): a provider may keep the old file, and what it knows of it.
    for layer in _set_sources(shown):
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def _set_sources(sources: Mapping[str, tuple[str, str]]) -> list[Any]:
    layers = [layer for key in sources if (layer := QgsProject.instance().mapLayer(key)) is not None]
    for layer in layers:
        layer.setDataSource(
            sources[layer.id()][0], layer.name(), sources[layer.id()][1], QgsDataProvider.ProviderOptions()
        )
    return layers


def add_map(raster: Path) -> str:
    """Add a map to the project; return the id of its layer.

    Raises:
        NamingError: It is no map of geoseg.
    """
    read_map(raster)
    layer = QgsRasterLayer(str(raster), raster.stem)
    QgsProject.instance().addMapLayer(layer)
    return str(layer.id())


def show_on(canvas: Any, layer: Any, extent: Sequence[float]) -> None:
    """Show bounds in the CRS of a raster, and what lies around them: at least 80 pixels, also of a point."""
    more = max(0.0, 20 * layer.rasterUnitsPerPixelX() - (extent[2] - extent[0]) / 2)
    transform = QgsCoordinateTransform(layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    canvas.setExtent(transform.transformBoundingBox(QgsRectangle(*extent).buffered(more)))
    canvas.zoomByFactor(2)


def export(layer: QgsVectorLayer, field: str, path: Path) -> int:
    """Write the features of a layer whose field is not empty, unsaved ones too, to a GeoPackage; return how many.

    Raises:
        NamingError: There is none, or the file cannot be written.
    """
    index = layer.fields().lookupField(field)
    if index < 0:
        raise NamingError(f"{layer.name()}: choose the field that names the class")
    source = layer.fields().at(index)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", "references"
    fields = type(layer.fields())()
    fields.append(QgsField(field, source.type(), source.typeName()))
    context = QgsProject.instance().transformContext()
    writer = QgsVectorFileWriter.create(str(path), fields, layer.wkbType(), layer.crs(), context, options)
    count = 0
    for feature in layer.getFeatures():
        value = feature.attribute(index)
        if value is None or not str(value).strip() or (hasattr(value, "isNull") and value.isNull()):
            continue
        copy = QgsFeature(fields)
        copy.setGeometry(feature.geometry())
        copy.setAttribute(0, value)
        count += bool(writer.addFeature(copy))
    failed = writer.errorMessage()
    del writer  # which closes the file
    if failed:
        raise NamingError(f"{path}: {failed}")
    if not count:
        raise NamingError(
            f"{layer.name()}: no feature has a class in its field {field}; click some places and name them"
        )
    return count
