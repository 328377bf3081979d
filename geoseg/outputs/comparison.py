"""Whether two class rasters mean the same by an id."""

from __future__ import annotations

from collections.abc import Mapping

from geoseg.classes import LandClass
from geoseg.errors import InputError
from geoseg.outputs.transitions import MAX_CLASSES
from geoseg.raster.class_raster import ClassRaster


def common_classes(old: ClassRaster, new: ClassRaster) -> tuple[tuple[LandClass, ...], str | None]:
    """Return the classes of two class rasters in order of their ids, and the SHA-256 of the model of both.

    Maps of one model have the same classes, unless one of them was renamed. Other maps have, if they give the same
    names to the same ids and none of these is a name by default, such as "class 3", which every model gives.

    Raises:
        InputError: The ids mean something else in the other raster, or nothing says what they mean; or there are too
            many classes.
    """
    models = [_model(raster) for raster in (old, new)]
    same = models[0] is not None and models[0] == models[1]
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
    return tuple(classes[value] for value in sorted(classes)), models[0] if same else None


def _check(
    old: ClassRaster, new: ClassRaster, one: Mapping[int, LandClass], other: Mapping[int, LandClass],
    models: list[str | None], same: bool,
) -> None:  # fmt: skip
    shared = sorted(one.keys() & other.keys())
    differing = [value for value in shared if one[value].name != other[value].name]
    alone = sorted(one.keys() ^ other.keys())
    if same and differing:
        value = differing[0]
        raise InputError(
            f"{new.path}: calls class {value} {other[value].name!r}, {old.path} calls it {one[value].name!r}: give "
            "both the same classes (geoseg classes)"
        )
    if same and alone:
        raise InputError(
            f"{new.path}: class {alone[0]} is in one map only, though one model made both: classes of one were "
            "merged; merge them in both (geoseg classes)"
        )
    if same or (shared and not differing and not _by_default(one, other)):
        return
    known = ", ".join(map(_short, reversed(models)))
    raise InputError(
        f"{new.path}: was not made by the model of {old.path} ({known}), so their ids mean different things; "
        "map both dates with one model: geoseg predict OLD_SCENE NEW_SCENE --model MODEL --out FOLDER"
    )


def _by_default(*maps: Mapping[int, LandClass]) -> bool:
    """Whether a class has the name that every model gives."""
    return any(entry.name == LandClass.default(entry.id).name for classes in maps for entry in classes.values())


def _model(raster: ClassRaster) -> str | None:
    provenance = raster.scene.provenance
    found = None if provenance is None else provenance.get("model_sha256")
    return found if isinstance(found, str) else None


def _short(model: str | None) -> str:
    return "no model known" if model is None else f"model {model[:12]}"
