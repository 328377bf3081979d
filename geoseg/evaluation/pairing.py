"""Which rasters of a folder are labels, and which label raster belongs to which image."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from geoseg.config import Opening
from geoseg.datasets.imagery import IMAGE_SUFFIXES, LABEL_SUFFIXES, place_of, select_imagery
from geoseg.errors import InputError
from geoseg.location import Location, Remote, local
from geoseg.raster.folders import RASTER_SUFFIXES, describe_others, list_files
from geoseg.raster.formats import read_head, vector_format
from geoseg.raster.guards import regular_file
from geoseg.raster.scene import EVERY_BAND, Scene

log = logging.getLogger(__name__)

_VECTOR_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".kml", ".gml", ".parquet")


def find_images(rasters: Iterable[Location], labels: Path, folder: Location | None = None) -> list[Path]:
    """Return those of `rasters` that are images rather than labels.

    Rasters in the folder `labels`, or that file itself, are labels. If images lie there too, so that nothing would
    remain, labels are recognised by LABEL_SUFFIXES instead. Labels of other names, previews and the like are left out
    as in training; see `select_imagery`.

    Args:
        rasters: Found in `folder`.
        labels: Label raster, or folder of them.
        folder: Where the rasters lie; None, or no folder, if they were named one by one.
    """
    paths = local(*rasters)
    place = labels.absolute()
    images = [path for path in paths if place not in (path.absolute(), *path.absolute().parents)]
    images = images or [path for path in paths if not path.stem.endswith(LABEL_SUFFIXES)]
    return select_imagery(images, folder) if isinstance(folder, Path) and folder.is_dir() else images


def find_labels(images: Sequence[Location], labels: Path, folder: Location | None = None) -> list[Path]:
    """Return the label raster of each image.

    That is `labels` itself if it is a file. Otherwise it is the file in that folder or below it with the stem of the
    image; one of LABEL_SUFFIXES may be added, and one of IMAGE_SUFFIXES left out. Of several, it is the one in the same
    subfolder of `labels` as the image is of `folder`. Stems that differ in case only count where no other does.

    Args:
        images: The images.
        labels: Label raster, or folder of them.
        folder: The folder of the images; None if they were named one by one.

    Raises:
        InputMissingError: There is no such file or folder.
        InputError: An image has no label raster, or several, or the same as another image.
    """
    if not labels.is_dir():
        regular_file(labels)
        if len(images) != 1:
            raise InputError(f"{labels}: is one file for {len(images)} images; give a folder of label rasters")
        return [labels]
    files = list_files(labels)
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(set(files) - set(local(*images))):
        if path.suffix.lower() in RASTER_SUFFIXES:
            by_stem.setdefault(path.stem.casefold(), []).append(path)
    found = [_label_of(image, labels, by_stem, folder, files) for image in images]
    _check_unique(images, found)
    unused = sum(map(len, by_stem.values())) - len(found)
    if unused:
        log.warning("%s: %d label raster%s without an image, not scored", labels, unused, "s" * (unused > 1))
    return found


def refuse_vectors(labels: Path, image: Location, opening: Opening) -> None:
    """Raise InputError where `labels` is a file of polygons, with the command that burns them into the image's grid."""
    kind = vector_format(read_head(labels))
    if not kind:
        return
    with Scene(image, EVERY_BAND, stored=True, opening=opening, quiet=True) as scene:
        (rows, cols), bounds, place = scene.shape, scene.bounds, scene.georeference
    grid = f"-te {' '.join(f'{value:.12g}' for value in bounds)} -ts {cols} {rows}"
    out = shlex.quote(str(labels.with_suffix(".tif")))
    same = f" (in the CRS of {image}; ogr2ogr -t_srs reprojects them)" if place.crs else ""
    raise InputError(
        f"{labels}: is {kind}; labels are rasters. gdal_rasterize -a FIELD -ot Int32 -a_nodata 0 {grid} "
        f"{shlex.quote(str(labels))} {out} makes one of polygons whose FIELD is a number{same}"
    )


def _label_of(
    image: Location, labels: Path, by_stem: Mapping[str, list[Path]], folder: Location | None, files: Sequence[Path]
) -> Path:
    stems = [image.stem, *(image.stem.removesuffix(suffix) for suffix in IMAGE_SUFFIXES)]
    names = list(dict.fromkeys(stem + suffix for stem in stems for suffix in ("", *LABEL_SUFFIXES)))
    folded = [path for name in dict.fromkeys(map(str.casefold, names)) for path in by_stem.get(name, [])]
    found = [path for name in names for path in folded if path.stem == name] or folded
    if len(found) > 1 and not isinstance(image, Remote):
        for place in (_parents, place_of):
            wanted = place(_below(image, folder))
            found = [path for path in found if place(_below(path, labels)) == wanted] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{image}: has several label rasters, {found[0]} and {found[1]}; keep one of them in {labels}")
    others = describe_others(files)
    vectors = sorted(path for path in files if path.suffix.lower() in _VECTOR_SUFFIXES)
    if vectors:
        others += f"{' and ' * bool(others)}{len(vectors)} vector file{'s' * (len(vectors) > 1)}, for gdal_rasterize,"
    raise InputError(
        f"{image}: has no label raster in {labels}; looked for {image.stem}.png or .tif, also with "
        f"{', '.join(LABEL_SUFFIXES)}: rename the label raster, or give --data labelled images only"
        + (f" ({others} passed over)" if others else "")
    )


def _below(path: Path, folder: Location | None) -> Path:
    return path.relative_to(folder) if isinstance(folder, Path) and path.is_relative_to(folder) else Path(path.name)


def _parents(name: Path) -> tuple[str, ...]:
    return tuple(part.casefold() for part in name.parts[:-1])


def _check_unique(images: Sequence[Location], labels: Sequence[Path]) -> None:
    owners: dict[Path, Location] = {}
    for image, label in zip(images, labels, strict=True):
        other = owners.setdefault(label, image)
        if other != image:
            raise InputError(
                f"{image}: has no label raster of its own, as {label} is that of {other} too; put label rasters into "
                "the same subfolders as their images, or give --data labelled images only"
            )
