"""Whether two class rasters mean the same by an id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.classes import LandClass
from geoseg.errors import InputError
from geoseg.files.record import EARLIER
from geoseg.outputs.transitions import MAX_CLASSES
from geoseg.raster.class_raster import ClassRaster

_DECISIVE = ("match", "rescale", "smooth", "min_area")


def common_classes(old: ClassRaster, new: ClassRaster) -> tuple[tuple[LandClass, ...], str | None]:
    """Return the classes of two class rasters in order of their ids, and the SHA-256 of the model of both.

    Maps of one model have the same classes, unless one of them was renamed. Other maps have, if they give the same
    names to the same ids and none of these is a name by default, such as "class 3", which every model gives.

    Raises:
        InputError: The ids mean something else in the other raster, or nothing says what they mean; or there are too
            many classes.
    """
    models = [_models(raster) for raster in (old, new)]
    common = models[0] & models[1]
    same = bool(common)
    one, other = old.classes, new.classes
    if same:
        # A copy may have lost the file or the record that names its classes.
        one, other = one or other, other or one
    for raster, classes in ((old, one), (new, other)):
        if not classes:
            raise InputError(
                f"{raster.path}: names none of its classes, so nothing says that they are those of the other map; map "
                "both dates with one model, or give it a legend"
            )
    _check(old, new, one, other, models, same)
    classes = dict(one) | dict(other)
    if len(classes) > MAX_CLASSES:
        raise InputError(
            f"{old.path}: has {len(classes)} classes; transitions between more than {MAX_CLASSES} do not fit into 16 "
            "bits: merge some"
        )
    return tuple(classes[value] for value in sorted(classes)), min(common) if same else None


def differing_settings(old: ClassRaster, new: ClassRaster) -> tuple[str, ...]:
    """Return the options of `geoseg predict`, of those that decide classes, that were not alike for two class rasters.

    What no provenance says is not known to differ.
    """
    settings = [found for raster in (old, new) if isinstance(found := _provenance(raster).get("settings"), dict)]
    if len(settings) < 2:
        return ()
    return tuple(name for name in _DECISIVE if settings[0].get(name) != settings[1].get(name))


def _check(
    old: ClassRaster, new: ClassRaster, one: Mapping[int, LandClass], other: Mapping[int, LandClass],
    models: list[frozenset[str]], same: bool,
) -> None:  # fmt: skip
    shared = sorted(one.keys() & other.keys())
    differing = [value for value in shared if one[value].name != other[value].name]
    alone = sorted(one.keys() ^ other.keys())
    if same and (alone or _provenance(old).get("clusters") != _provenance(new).get("clusters")):
        raise InputError(
            f"{new.path}: does not have the classes of {old.path}, though one model made both: some were merged or "
            "taught in one of them; give both the classes of one model (geoseg classes apply), or predict both with it"
        )
    if same and differing:
        value = differing[0]
        raise InputError(
            f"{new.path}: calls class {value} {other[value].name!r}, {old.path} calls it {one[value].name!r}: give "
            "both the same classes (geoseg classes apply)"
        )
    if same or (shared and not differing and not _by_default(one, other)):
        return
    known = ", ".join(_short(raster) for raster in (new, old))
    raise InputError(
        f"{new.path}: was not made by the model of {old.path} ({known}), so their ids mean different things; "
        "map both dates with one model: geoseg predict OLD_SCENE NEW_SCENE --model MODEL --out FOLDER"
    )


def _by_default(*maps: Mapping[int, LandClass]) -> bool:
    """Whether a class has the name that every model gives."""
    return any(entry.name == LandClass.default(entry.id).name for classes in maps for entry in classes.values())


def _provenance(raster: ClassRaster) -> Mapping[str, Any]:
    return raster.scene.provenance or {}


def _models(raster: ClassRaster) -> frozenset[str]:
    """The SHA-256 of the model of a raster, and those that it had before its classes were edited."""
    provenance = _provenance(raster)
    earlier = provenance.get(EARLIER)
    found = [provenance.get("model_sha256"), *(earlier if isinstance(earlier, list) else [])]
    return frozenset(digest for digest in found if isinstance(digest, str))


def _short(raster: ClassRaster) -> str:
    model = _provenance(raster).get("model_sha256")
    return f"model {model[:12]}" if isinstance(model, str) else "no model known"
