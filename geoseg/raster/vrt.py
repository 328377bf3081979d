"""Rewrites GDAL's virtual rasters before GDAL sees them.

A VRT names other files, and may run code. So it is parsed here and written anew with the elements that geoseg knows and
with absolute paths of sources that were checked; only that text is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from geoseg.errors import InputError
from geoseg.location import Location, locate

MAX_BYTES = 64 << 20
MAX_DEPTH = 8

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
"""Element -> the elements that it may contain."""
_DROPPED = ("OverviewList", "Overview", "Histograms", "BlockXSize", "BlockYSize", "GDALRasterAttributeTable")
"""Elements without influence on any pixel that geoseg reads."""
_DOMAINS = (None, "", "IMAGERY", "IMAGE_STRUCTURE", "RPC")
_CLASSES = (None, "VRTSourcedRasterBand", "VRTDerivedRasterBand")

Admit = Callable[[Location, tuple[Path, ...]], str]
"""Takes a source and the VRTs that lead to it; returns what GDAL is to open for it, or raises InputError."""


def rewrite_vrt(
    name: object,
    path: Path,
    ancestors: tuple[Path, ...],
    admit: Admit,
    allow_remote: bool,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Return the text of a VRT, rewritten, after checking that it is harmless.

    Args:
        name: What messages call the VRT.
        path: The VRT, with links resolved.
        ancestors: The VRTs that lead to this one.
        admit: Checks a source; called once for each.
        allow_remote: Accept sources outside of the file system.
        max_bytes: Limit for the file, and for the text that its sources add.

    Raises:
        InputError: The file is not XML, or too large; it has an element that geoseg does not know, such as Python code;
            a source lies outside of the VRT's folder or refers back to the VRT; VRTs are nested deeper than MAX_DEPTH.
    """
    if path in ancestors:
        raise InputError(f"{name}: is a VRT that refers back to itself")
    if len(ancestors) >= MAX_DEPTH:
        raise InputError(
            f"{name}: is a VRT nested within {MAX_DEPTH} others; build one of the rasters themselves (gdalbuildvrt)"
        )
    return _Rewriter(name, path, ancestors, admit, allow_remote, max_bytes).text()


def _parse(name: object, path: Path, max_bytes: int) -> ElementTree.Element:
    if path.stat().st_size > max_bytes:
        raise InputError(f"{name}: is a VRT of more than {max_bytes >> 20} MiB; build one of fewer sources")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if re.search(r"<!\s*(doctype|entity)", text, re.IGNORECASE):
            raise InputError(f"{name}: is a VRT with a DOCTYPE, which geoseg does not read; remove it")
        return ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{name}: is a VRT that cannot be parsed ({error}); build it again (gdalbuildvrt)") from error


class _Rewriter:
    def __init__(
        self,
        name: object,
        path: Path,
        ancestors: tuple[Path, ...],
        admit: Admit,
        allow_remote: bool,
        max_bytes: int,
    ) -> None:
        self.name, self.path, self.ancestors = name, path, ancestors
        self.admit, self.allow_remote, self.max_bytes = admit, allow_remote, max_bytes
        self.admitted: dict[str, str] = {}
        self.length = 0

    def text(self) -> str:
        root = _parse(self.name, self.path, self.max_bytes)
        if root.tag != "VRTDataset":
            raise self._unknown(root.tag)
        if root.find("MaskBand") is not None and root.find("VRTRasterBand/MaskBand") is not None:
            raise InputError(
                f"{self.name}: is a VRT with a mask of its own and masks of bands, which GDAL ignores; keep one kind"
            )
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
        """What GDAL is to open for a source."""
        if text not in self.admitted:
            location = locate(text)
            if isinstance(location, Path):
                location = self._resolve(location, relative)
            elif not self.allow_remote:
                raise InputError(
                    f"{self.name}: is a VRT of {location}, which is not a local file; --allow-remote permits it"
                )
            self.admitted[text] = self.admit(location, (*self.ancestors, self.path))
        source = self.admitted[text]
        self.length += len(source)
        if self.length > self.max_bytes:
            raise InputError(f"{self.name}: is a VRT of too many other VRTs; build one of the rasters themselves")
        return source

    def _resolve(self, source: Path, relative: bool) -> Path:
        """The path of a source with links resolved, which has to lie under the VRT's folder."""
        folder = self.path.parent
        # Without relativeToVRT, GDAL takes a path as relative to the working directory.
        resolved = (folder / source if relative else Path.cwd() / source).resolve()
        if not resolved.is_relative_to(folder):
            raise InputError(
                f"{self.name}: is a VRT of {source}, which does not lie under the VRT's own folder {folder}; "
                "move it there"
            )
        return resolved

    def _unknown(self, element: str) -> InputError:
        return InputError(
            f"{self.name}: is a VRT with {element} in it, which geoseg does not read; "
            "convert it to a GeoTIFF with gdal_translate"
        )
