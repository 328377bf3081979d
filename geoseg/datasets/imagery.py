"""Which rasters of a folder are imagery, by their names: not labels, previews, or the quality layers of a product.

Names are compared without regard to case. Training must not learn from labels, and there is nothing to evaluate in a
preview, so both leave out the same files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

LABEL_SUFFIXES = ("_label", "_labels", "_gt", "_mask")
"""What the name of a label raster may add to that of its image: tile_1.jpg, tile_1_label.png."""

IMAGE_SUFFIXES = ("_RGBIR", "_RGB", "_IRRG", "_image", "_img", "_sat")
"""What the name of an image may have in place of a label suffix: tile_1_RGB.tif, tile_1_label.tif."""

_LABEL = r"labels?|lbl|masks?|gt|annotations?|ground[_ -]?truth"
_LABEL_PREFIX = re.compile(rf"^(?:{_LABEL})[_\-. ]+")
_LABEL_SUFFIX = re.compile(rf"(?:[_\-. ]+(?:{_LABEL}|seg|segmentation|label_?ids?|label_?train_?ids?))+$")
_LABEL_FOLDERS = frozenset([
    "label", "labels", "mask", "masks", "gt", "gts", "groundtruth", "ground_truth", "ground-truth", "ground truth",
    "annotation", "annotations", "ann_dir", "gtfine", "gtcoarse", "labelmap", "labelmaps", "label_maps",
    "segmentationclass", "segmentationobject",
])  # fmt: skip
_LABEL_WORDS = frozenset(["label", "labels", "mask", "masks", "gt", "annotation", "annotations"])
_IMAGE_WORDS = frozenset(
    ["image", "images", "img", "imgs", "imagery", "sat", "rgb", "scenes", "photos", "jpegimages", "no", "without"]
)

_PREVIEW_WORDS = frozenset(
    ["thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews", "quicklook", "quicklooks", "browse", "legend"]
)
_PREVIEW = re.compile(rf"(?:^|[_\-. ])(?:{'|'.join(_PREVIEW_WORDS)})(?:[_\-. ]?(?:large|small|\d+))*$")
_PREVIEW_OF = re.compile(r"^(?:thumb(?:nail)?|preview|quicklook|overview)[_\-. ]+|[_\-. ](?:overviews?|ovr|ql)$")
"""What makes the name of a raster that of its preview."""

_PREVIEW_FOLDERS = _PREVIEW_WORDS | {"overviews", "ql"}

# Scene classification, quality and mask layers of Sentinel-2, Landsat, HLS and Planet.
_QUALITY = re.compile(
    r"(?:^|[_.\-])(?:scl|bqa|fmask|udm2?|pvi|(?:aot|wvp)_\d+m|msk_[a-z]+(?:_\d+m|_b\w+)?|"
    r"qa_(?:pixel|radsat|aerosol)|(?:pixel|radsat|aerosol)_qa|cloud_?masks?)(?:_\d+m)?$"
)


def select_imagery(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return the imagery among the rasters under a folder, and log what is left out, in one line.

    Left out are:

    - labels: rasters in folders called labels, masks, gt, annotations and the like, and those whose name is an image's
      with one of LABEL_SUFFIXES or a similar word;
    - previews: those called thumbnail, preview, quicklook, browse, legend; also overview, beside the raster itself;
    - scene classification, cloud masks and other quality layers of satellite products.

    Where nothing else would remain, all of them are imagery: a folder of labels may be named itself.

    Args:
        paths: Of rasters.
        folder: Where they lie; only names below it count.
    """
    kinds = _classify(paths, folder)
    imagery = [path for path in paths if path not in kinds]
    if not imagery:
        return list(paths)
    if kinds:
        log.warning("%s: left out by their names: %s; rename what is imagery", folder, _describe(kinds, folder))
    return imagery


def place_of(name: Path) -> tuple[str, ...]:
    """Return the subfolders that an image and its labels share: those that are not called images, labels or the like.

    Args:
        name: Path relative to the folder of images, or of labels.
    """
    parents = [part.casefold() for part in name.parts[:-1]]
    return tuple(
        part for part in parents if part not in _LABEL_FOLDERS and not set(_words(part)) & (_IMAGE_WORDS | _LABEL_WORDS)
    )


def _classify(paths: Sequence[Path], folder: Path) -> dict[Path, str]:
    """What each path is that is no imagery: 'label raster', 'preview' or 'quality layer'."""
    names = {path: path.relative_to(folder) for path in paths}
    kinds: dict[Path, str] = {}
    for path, name in names.items():
        parents = [part.casefold() for part in name.parts[:-1]]
        if _in_folder(parents, _LABEL_FOLDERS):
            kinds[path] = "label raster"
        elif _in_folder(parents, _PREVIEW_FOLDERS) or _PREVIEW.search(path.stem.casefold()):
            kinds[path] = "preview"
        elif _QUALITY.search(path.stem.casefold()):
            kinds[path] = "quality layer"
    plain = [path for path in paths if path not in kinds]
    images = {stem for path in plain if not _is_labelled(path, names[path]) for stem in _image_stems(path)}
    for path in plain:
        stem = path.stem.casefold()
        preview = _PREVIEW_OF.sub("", stem)
        if _is_labelled(path, names[path]) and _label_stems(stem) & images:
            kinds[path] = "label raster"
        elif preview != stem and preview in images:
            kinds[path] = "preview"
    return kinds


def _in_folder(parents: Sequence[str], folders: frozenset[str]) -> bool:
    """Whether the innermost telling folder is one of `folders` rather than one of images."""
    for parent in reversed(parents):
        if parent in folders:
            return True
        if set(_words(parent)) & _IMAGE_WORDS:
            return False
    return False


def _is_labelled(path: Path, name: Path) -> bool:
    """Whether a raster is called like labels, or lies in a folder that is: labels only if it has an image."""
    stem = path.stem.casefold()
    if _LABEL_PREFIX.search(stem) or _LABEL_SUFFIX.search(stem):
        return True
    words = [set(_words(part)) for part in name.parts[:-1]]
    return any(found & _LABEL_WORDS and not found & _IMAGE_WORDS for found in words)


def _label_stems(stem: str) -> set[str]:
    """The names that the image of a label raster may have."""
    core = _LABEL_SUFFIX.sub("", _LABEL_PREFIX.sub("", stem))
    return {stem, core} - {""}


def _image_stems(path: Path) -> set[str]:
    stem = path.stem.casefold()
    return {stem, *(stem.removesuffix(suffix.casefold()) for suffix in IMAGE_SUFFIXES)}


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.casefold())


def _describe(kinds: dict[Path, str], folder: Path) -> str:
    """'4 label rasters (masks/a.png ...), 1 preview (legend.png)'."""
    parts = []
    for kind in dict.fromkeys(kinds.values()):
        found = sorted(path for path, other in kinds.items() if other == kind)
        more = " ..." if len(found) > 1 else ""
        parts.append(f"{len(found)} {kind}{'s' * (len(found) > 1)} ({found[0].relative_to(folder)}{more})")
    return ", ".join(parts)
