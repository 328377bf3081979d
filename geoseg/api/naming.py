"""`geoseg.open_classes`, `geoseg.set_classes`, `geoseg.show_classes` and `geoseg.suggest_classes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.api.calls import (
    AreaLike,
    PathLike,
    ProgressOption,
    area_of,
    location_of,
    optional_path,
    path_of,
    run,
)
from geoseg.config import Opening, SuggestClassesConfig

if TYPE_CHECKING:
    from geoseg.classes import ClassMap
    from geoseg.jobs.class_facts import ClassFacts
    from geoseg.jobs.class_suggestions import Suggestion

Names = Mapping[int | str, str]
"""Id or name of a class -> its new name. Classes that get the same name become one."""


def open_classes(file: PathLike) -> ClassMap:
    """Return the classes of a model, or of a map by its class raster: ids, names, colours and clusters.

    Raises:
        GeosegError: The file is missing, or has no classes.
    """
    from geoseg.jobs.class_edits import classes_of

    return classes_of(path_of(file))


def set_classes(
    files: PathLike | Iterable[PathLike], classes: Names | ClassMap | PathLike, *, out: PathLike | None = None,
    min_area: AreaLike | None = None, overwrite: bool = False, progress: ProgressOption = False,
) -> list[Path]:  # fmt: skip
    """Give a model, finished maps, or all of them at once other classes, without predicting again.

    Args:
        files: Models and class rasters of maps, all of one model.
        classes: New names by id or old name; classes that get the same name become one. Or all classes; or a model, a
            map, or a CSV or JSON file to take them from.
        out: Where to write the first file instead of changing it.
        min_area: Merge smaller regions of maps into a neighbour: an `Area`, "50m2" or "12px".
        overwrite: Replace an existing `out`.
        progress: Function that is called with a `Progress` for each step, or True for a tqdm bar.

    Returns:
        The files that were changed or written.

    Raises:
        GeosegError: See `geoseg.errors`.

    Example:
        >>> geoseg.set_classes(["m.safetensors", "map.tif"], {3: "water", 4: "water"})  # doctest: +SKIP
    """
    from geoseg.classes import ClassMap
    from geoseg.jobs.class_edits import ClassEdit, changed_by
    from geoseg.naming.edits import rename

    several = not isinstance(files, str) and isinstance(files, Iterable)
    paths = [path_of(file) for file in files] if several else [path_of(files)]  # type: ignore[union-attr, arg-type]
    each = False
    if isinstance(classes, ClassMap):
        new = classes
        change = lambda _: new  # noqa: E731
    elif isinstance(classes, Mapping):
        names = {str(entry): name for entry, name in classes.items()}
        change = lambda old: rename(old, names)  # noqa: E731
    else:
        change, each = changed_by(path_of(classes), paths[0])
    with ClassEdit(paths, change, each, optional_path(out), area_of(min_area), overwrite) as edit:
        edit.save_models()
        for job in edit.jobs:
            run(job, progress)
        return edit.written


def show_classes(
    file: PathLike, *, map: PathLike | None = None, scene: PathLike | None = None, **opening: Any
) -> tuple[ClassFacts, ...]:
    """Return what is known of the classes of a model or a map: share, area, mean colour, confidence, and a guess.

    Args:
        file: The model, or the class raster of a map.
        map: With a model: a map of it, for areas and confidence.
        scene: The scene that the map was made from, for its colours.
        opening: allow_vrt, allow_remote, max_pixels, page and nodata of the scene, as in `train`.

    Raises:
        GeosegError: See `geoseg.errors`.
    """
    from geoseg.jobs.class_facts import class_table

    location = None if scene is None else location_of(scene)
    return class_table(path_of(file), optional_path(map), location, Opening(**opening)).rows


def suggest_classes(
    file: PathLike, *, map: PathLike | None = None, scene: PathLike | None = None, classes: int | None = None,
    **opening: Any,
) -> Suggestion:  # fmt: skip
    """Return which classes of a model or a map are alike and may be merged, and what they may be; nothing is changed.

    Args:
        file: The model, or the class raster of a map.
        map: With a model: a map of it, for areas, confidence and borders.
        scene: The scene that the map was made from, for its colours.
        classes: How many classes to merge to; None for as few as keep 98 % of the variance between classes.
        opening: allow_vrt, allow_remote, max_pixels, page and nodata of the scene, as in `train`.

    Raises:
        GeosegError: See `geoseg.errors`.

    Example:
        >>> found = geoseg.suggest_classes("m.safetensors")  # doctest: +SKIP
        >>> geoseg.set_classes("m.safetensors", found.named(geoseg.open_classes("m.safetensors")))  # doctest: +SKIP
    """
    from geoseg.jobs.class_suggestions import suggest

    location = None if scene is None else location_of(scene)
    return suggest(SuggestClassesConfig(path_of(file), optional_path(map), location, classes, **opening))
