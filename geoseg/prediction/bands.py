"""Match the bands of a scene to those of a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from geoseg.bands import advise_bands, band_list, differ, match_bands, read_names
from geoseg.config import Opening
from geoseg.errors import BandError
from geoseg.extras import Extra, check_counts, extras_for
from geoseg.location import Location
from geoseg.model.file import Model
from geoseg.raster.derived import DerivedScene, open_bands
from geoseg.raster.orientation import warn_of_orientation
from geoseg.raster.scene import EVERY_BAND, Scene

log = logging.getLogger(__name__)


def open_for(
    model: Model,
    path: Location,
    bands: Sequence[int | str] | None,
    assume_crs: str | None = None,
    opening: Opening | None = None,
    quiet: bool = False,
    extras: Sequence[Extra] | None = None,
) -> Scene:
    """Open a scene with the bands that `model` expects.

    If no bands are given, they are matched by their names (see `geoseg.bands`): those of the model in another order are
    reordered, and other ones are refused. Names that cannot be compared, such as B4 and red, are taken in their order
    with a warning.

    Args:
        model: The model.
        path: The scene.
        bands: Band numbers, counted from 1, or names, in the model's order; None matches them by name.
        assume_crs: CRS of a scene that has none.
        opening: Which rasters may be opened, and how.
        quiet: Do not warn; see `Scene`.
        extras: The rasters that the model expects beside the scene; None where the command takes none.

    Raises:
        InputMissingError, InputError: See `Scene`.
        BandError: The bands do not match; the message names those of both sides.
    """
    rasters = extras_for(path, model.extras, extras)
    try:
        scene = open_bands(path, bands, assume_crs, opening=opening, quiet=quiet, indices=model.indices, extras=rasters)
    except BandError as error:
        raise _with_advice(error, model, path, bands, opening) from None
    try:
        if isinstance(scene, DerivedScene):
            check_counts([(extra.scene.path, extra.bands) for extra in scene.extras], model.extras)
        if len(scene.file_bands) != len(model.file_bands):
            raise _misfit(model, scene, opening)
        if bands is None:
            order, certain = match_bands(model.file_bands, _own_names(scene))
            if order is None:
                raise _misfit(model, scene, opening)
            if order != tuple(range(len(order))):
                numbers = tuple(scene.bands[i] for i in order)
                scene.close()
                log.info("%s: bands taken in the model's order, %s", path, ", ".join(map(str, numbers)))
                scene = open_bands(
                    path, numbers, assume_crs, opening=opening, quiet=True, indices=model.indices, extras=rasters
                )
            if not certain and not quiet:
                _warn_of_names(model, scene)
        elif not quiet:
            _warn_of_choice(model, scene)
    except BaseException:
        scene.close()
        raise
    if not quiet:
        warn_of_orientation([scene])
    return scene


def recorded_bands(scene: Scene) -> dict[str, Any]:
    """Return what a record says of the bands of a scene: the numbers of those of its file, the names of others."""
    more = scene.band_names[len(scene.file_bands) :]
    return {"bands": list(scene.file_bands), **({"more_bands": list(more)} if more else {})}


def _warn_of_names(model: Model, scene: Scene) -> None:
    log.warning(
        "%s: its bands %s are taken for the model's %s in this order, as these names cannot be compared; "
        "if the order is another, give --bands",
        scene.path, band_list(_own_names(scene)), band_list(model.file_bands),
    )  # fmt: skip


def _warn_of_choice(model: Model, scene: Scene) -> None:
    """Warn where chosen bands are not those of the model by their names. What is tagged alpha may well be infrared."""
    pairs = zip(read_names(model.file_bands), read_names(_own_names(scene)), strict=True)
    if any(differ(wanted, chosen) and chosen.meaning != "alpha" for wanted, chosen in pairs):
        log.warning(
            "%s: --bands takes %s for the model's %s",
            scene.path, band_list(_own_names(scene)), band_list(model.file_bands),
        )  # fmt: skip


def _own_names(scene: Scene) -> tuple[str, ...]:
    """The names of the bands that the file has."""
    return scene.band_names[: len(scene.file_bands)]


def _all_names(path: Location, opening: Opening | None) -> tuple[str, ...]:
    with Scene(path, EVERY_BAND, opening=opening, quiet=True) as scene:
        return scene.band_names


def _misfit(model: Model, scene: Scene, opening: Opening | None) -> BandError:
    """The error for a scene whose bands are not those of the model."""
    found, expected = _own_names(scene), model.file_bands
    names = found if scene.palette is not None else _all_names(scene.path, opening)
    beside = " beside an alpha band" if "alpha" in names and "alpha" not in found else ""
    return BandError(
        f"{scene.path}: {len(found)} band{'s' * (len(found) != 1)} ({band_list(found)}){beside}; the model expects "
        f"{len(expected)} ({band_list(expected)}): {_way_out(expected, names)}"
    )


def _with_advice(
    error: BandError, model: Model, path: Location, bands: Sequence[int | str] | None, opening: Opening | None
) -> BandError:
    """The error of a scene from whose bands some have to be chosen, with those of the model."""
    names = _all_names(path, opening) if bands is None else ()
    if len([name for name in names if name != "alpha"]) <= len(model.file_bands) or "cyan" in str(error):
        return error
    return BandError(
        f"{path}: has {len(names)} bands ({band_list(names)}); the model expects {len(model.file_bands)} "
        f"({band_list(model.file_bands)}): {_way_out(model.file_bands, names)}"
    )


def _way_out(expected: Sequence[str], names: Sequence[str]) -> str:
    """What to do about a scene that has bands of these names."""
    advice = advise_bands(expected, names)
    if advice:
        return f"choose them with --bands {advice}"
    wanted = [entry for entry in read_names(expected) if entry.named]
    entries = read_names(names)
    if len(names) == len(expected) and any(entry.meaning == "alpha" for entry in read_names(expected)):
        # The model learnt from a band tagged alpha that was chosen as data.
        return f"take all of its bands with --bands {','.join(str(i + 1) for i in range(len(names)))}"
    present = [entry for entry in entries if entry.meaning != "alpha"]
    hint = "; --bands can choose the alpha band if it is data" if len(entries) > len(present) else ""
    missing = [entry.short for entry in wanted if all(differ(entry, other) for other in present)]
    if missing:
        return f"the scene has no {' or '.join(missing)}; use a model of its bands{hint}"
    if len(present) < len(expected):
        return f"the scene has too few; use a model of its bands{hint}"
    return "choose them with --bands, by number or name, in the model's order"
