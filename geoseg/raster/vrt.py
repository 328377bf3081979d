"""GDAL's virtual rasters, taken apart before GDAL sees them.

A VRT names other files, and may run code. So it is read here, what geoseg knows of the format is written anew with the
places of its sources in full, and only that is opened: nothing reaches GDAL that was not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from geoseg.errors import InputError
from geoseg.location import Location, locate

MOST_BYTES = 64 << 20
DEEPEST = 8

_SOURCES = ("SimpleSource", "ComplexSource", "AveragedSource", "NoDataFromMaskSource")
_KEPT = {
    "VRTDataset": ("SRS", "GeoTransform", "GCPList", "Metadata", "MaskBand", "VRTRasterBand"),
    "VRTRasterBand": (
        "Description", "UnitType", "Offset", "Scale", "CategoryNames", "ColorInterp", "ColorTable", "NoDataValue",
        "NodataValue", "HideNoDataValue", "Metadata", "MaskBand", "PixelFunctionType", "PixelFunctionArguments",
        "SourceTransferType", *_SOURCES,
    ),
    "MaskBand": ("VRTRasterBand",),
    "GCPList": ("GCP",),
    "Metadata": ("MDI",),
    "CategoryNames": ("Category",),
    "ColorTable": ("Entry",),
    **dict.fromkeys(_SOURCES, (
        "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA", "UseMaskBand",
        "ScaleOffset",
        "ScaleRatio", "LUT", "Exponent", "SrcMin", "SrcMax", "DstMin", "DstMax", "Clamp", "ColorTableComponent",
        "MaskValueThreshold", "NoDataValue", "RemappedValue",
    )),
}  # fmt: skip
_DROPPED = ("OverviewList", "Overview", "Histograms", "BlockXSize", "BlockYSize")
"""Told of no pixel that geoseg reads."""
_DOMAINS = (None, "", "IMAGERY", "IMAGE_STRUCTURE", "RPC")
_CLASSES = (None, "VRTSourcedRasterBand", "VRTDerivedRasterBand")

Admit = Callable[[Location, tuple[Path, ...]], str]
"""Takes a source and the VRTs that lead to it; returns what GDAL is to open for it, or raises InputError."""


def checked_vrt(name: object, path: Path, above: tuple[Path, ...], admit: Admit, remote: bool) -> str:
    """Return the VRT at the resolved `path`, rewritten, once all of it is known to be harmless.

    name: what messages call it. above: the VRTs that lead here. admit: looks at each source, once. remote: sources may
    lie outside of the file system.

    Raises:
        InputError: no such XML; an element that geoseg does not know, or Python in it; a source outside of the VRT's
            own folder, or one that leads back here; more than MOST_BYTES, or DEEPEST of them in each other.
    """
    if path in above:
        raise InputError(f"{name}: is a VRT that leads back to itself")
    if len(above) >= DEEPEST:
        raise InputError(
            f"{name}: is a VRT within {DEEPEST} others; build one of the rasters themselves (gdalbuildvrt)"
        )
    return _Rewriter(name, path, above, admit, remote).text()


def _parsed(name: object, path: Path) -> ElementTree.Element:
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{name}: is a VRT of more than {MOST_BYTES >> 20} MiB; build one of fewer sources")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if re.search(r"<!\s*(doctype|entity)", text, re.IGNORECASE):
            raise InputError(f"{name}: is a VRT with a DOCTYPE; those are not read")
        return ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{name}: is a VRT that cannot be parsed ({error}); build it again (gdalbuildvrt)") from error


class _Rewriter:
    def __init__(self, name: object, path: Path, above: tuple[Path, ...], admit: Admit, remote: bool) -> None:
        self.name, self.path, self.above, self.admit, self.remote = name, path, above, admit, remote
        self.admitted: dict[str, str] = {}
        self.length = 0

    def text(self) -> str:
        root = _parsed(self.name, self.path)
        if root.tag != "VRTDataset":
            raise self._unknown(root.tag)
        return ElementTree.tostring(self._element(root), encoding="unicode")

    def _element(self, old: ElementTree.Element) -> ElementTree.Element:
        if old.get("subClass") not in _CLASSES:
            raise self._unknown(str(old.get("subClass")))
        attributes = {key: value for key, value in old.attrib.items() if key not in ("relativeToVRT", "shared")}
        new = ElementTree.Element(old.tag, attributes)
        new.text = old.text
        if old.tag == "SourceFilename":
            new.text = self._source((old.text or "").strip(), old.get("relativeToVRT") == "1")
            new.set("relativeToVRT", "0")
        for child in old:
            if child.tag in _DROPPED or (child.tag == "Metadata" and child.get("domain") not in _DOMAINS):
                continue
            if child.tag not in _KEPT.get(old.tag, ()):
                raise self._unknown(child.tag)
            new.append(self._element(child))
        return new

    def _source(self, text: str, relative: bool) -> str:
        """What GDAL is to open for a source, all of whose links lie under the VRT's folder."""
        if text not in self.admitted:
            location = locate(text)
            if isinstance(location, Path):
                location = self._beneath(location, relative)
            elif not self.remote:
                raise InputError(f"{self.name}: is a VRT of {location}, which is elsewhere; --allow-remote reads it")
            self.admitted[text] = self.admit(location, (*self.above, self.path))
        found = self.admitted[text]
        self.length += len(found)
        if self.length > MOST_BYTES:
            raise InputError(f"{self.name}: is a VRT of too many others; build one of the rasters themselves")
        return found

    def _beneath(self, source: Path, relative: bool) -> Path:
        folder = self.path.parent
        # What does not say that it is relative to the VRT is so to wherever geoseg was started.
        found = (folder / source if relative else Path.cwd() / source).resolve()
        if not found.is_relative_to(folder):
            raise InputError(
                f"{self.name}: is a VRT of {source}, which does not lie under its own folder {folder}; move it there"
            )
        return found

    def _unknown(self, what: str) -> InputError:
        return InputError(
            f"{self.name}: is a VRT with {what} in it, which is not read; gdal_translate makes a GeoTIFF of it"
        )
