"""geoseg info: what a file is, in a few facts: a scene, a model, or a raster or polygons that geoseg wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.config import Opening
from geoseg.files.record import Record, find_record
from geoseg.location import Location, Remote
from geoseg.model.card_file import read_card
from geoseg.outputs.names import POLYGONS
from geoseg.raster.guards import regular_file
from geoseg.vector.description import describe

if TYPE_CHECKING:
    from geoseg.raster.scene import Scene


def file_info(path: Location, opening: Opening | None = None) -> dict[str, Any]:
    """Describe a scene, a model, or a raster or polygons that geoseg wrote.

    Args:
        path: The file.
        opening: How a raster is opened; None for the defaults.

    Returns:
        Name -> value of each fact, JSON types only, in the order to show them. 'kind' is 'scene', 'model', 'classes',
        'confidence', 'superpixels' or 'polygons'.

    Raises:
        InputMissingError: There is no such file.
        InputError: It is neither a raster nor a model nor polygons.
        UnavailableError: A remote file cannot be reached.
    """
    if path.suffix == ".safetensors":
        return _model(regular_file(path))
    if isinstance(path, Path) and path.suffix.lower() in POLYGONS:
        return _polygons(regular_file(path))
    from geoseg.raster.scene import EVERY_BAND, Scene

    with Scene(path, EVERY_BAND, opening=opening) as scene:
        facts, provenance = _raster(scene), scene.provenance
        if provenance is None:
            return {**facts, "band names": list(scene.band_names)}
    record = None if isinstance(path, Remote) else find_record(path)
    return {**facts, "kind": provenance["layer"], **_classes(record), **_origin(provenance)}


def _polygons(path: Path) -> dict[str, Any]:
    record = find_record(path, search_folder=True)
    facts = describe(path)
    facts["crs"] = facts["crs"] or "none (pixel space)"
    kind = "superpixels" if record is not None and record.content.get("superpixels") is not None else "polygons"
    if record is None:
        return {"kind": kind, **facts, "record": "none"}
    return {"kind": kind, **facts, **_classes(record), "record": record.path.name, **_origin(record.content)}


def _classes(record: Record | None) -> dict[str, Any]:
    classes = None if record is None else record.classes
    return {"classes": [entry.name for entry in classes.classes]} if classes else {}


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("geoseg", "scene", "raster", "model_sha256", "settings")
    return {"provenance": {key: provenance[key] for key in keys if key in provenance}}


def _raster(scene: Scene) -> dict[str, Any]:
    rows, cols = scene.shape
    georeference = scene.georeference
    return {
        "kind": "scene",
        "format": scene.driver,
        "size": f"{cols} x {rows} px ({rows * cols / 1e6:.1f} Mpx)",
        "bands": scene.count,
        "dtype": str(scene.dtype),
        "invalid pixels": scene.masks,
        "crs": _crs_name(georeference.crs),
        **({"coordinate epoch": georeference.epoch} if georeference.epoch else {}),
        "pixel size": [abs(v) for v in georeference.pixel_size],
        "bounds": list(scene.bounds),
        "blocks": f"{scene.block_shape[1]} x {scene.block_shape[0]} px",
    }


def _crs_name(crs: Any) -> str:
    if crs is None:
        return "none (pixel space)"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt()).split('"')[1]


def _sizes(sizes: Any) -> str:
    """The sides of pixels that a model learnt from, in metres."""
    if sizes is None:
        return "not known"
    least, most = (f"{size:.3g}" for size in sizes)
    return f"{least} m" if least == most else f"{least} to {most} m"


def _model(path: Path) -> dict[str, Any]:
    card = read_card(path)
    provenance = card["provenance"]
    try:
        training = {
            "recipe": provenance["recipe"]["name"],
            "steps": provenance["steps"],
            "trained on": f"{provenance['data']['scenes']} scenes, {provenance['data']['pixels'] / 1e6:.1f} Mpx",
            "versions": provenance["versions"],
        }
    except (KeyError, TypeError):
        # A model that other software wrote may record less; nothing is computed from it.
        training = {"provenance": provenance}
    return {
        "kind": "model",
        "format": card["format"],
        "network": card["network"],
        "bands": card["bands"],
        **({"indices": [entry["name"] for entry in card["indices"]]} if "indices" in card else {}),
        **({"extras": [entry["name"] for entry in card["extras"]]} if "extras" in card else {}),
        "dtype": card["dtype"],
        "range": {
            name: f"{low:.6g} to {high:.6g}"
            for name, low, high in zip(
                card["bands"], card["statistics"]["low"], card["statistics"]["high"], strict=True
            )
        },
        "pixel size": _sizes(card.get("pixel_size")),
        **({"scaling": card["scaling"]} if "scaling" in card else {}),
        **({"experts": card["experts"]} if "experts" in card else {}),
        "classes": [entry["name"] for entry in card["classes"]],
        **({"taught": card["teaching"]["names"]} if "teaching" in card else {}),
        "superpixels": card["superpixels"],
        "windows": card["windows"],
        **training,
    }
