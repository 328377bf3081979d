"""Where a raster is: a path, or a place that is not in the file system. The standard library is all this needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

_STORES = {
    "http": "/vsicurl/http://", "https": "/vsicurl/https://", "ftp": "/vsicurl/ftp://",
    "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "oss": "/vsioss/", "swift": "/vsiswift/",
}  # fmt: skip
_ARCHIVES = {"zip": "/vsizip/", "tar": "/vsitar/", "gzip": "/vsigzip/"}
_URL = re.compile(rf"(?:{'|'.join([*_STORES, *_ARCHIVES])})(?:\+[a-z0-9]+)?://", re.IGNORECASE)


@dataclass(frozen=True)
class Remote:
    """A raster that GDAL reads through one of its virtual file systems: a URL, a cloud store, an archive.

    url: as it was given. A path would lose one of its slashes, and what follows a `?`.
    """

    url: str

    def __str__(self) -> str:
        """The URL without its query and user, where passwords and signatures are: for messages and records."""
        if self.url.lstrip().startswith("<"):
            return " ".join(self.url.split())[:40] + "..."
        url = re.sub(r"(?<=://)[^/@]*@", "", self.url)
        return url.split("?")[0]

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(str(self)).name or str(self)

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def vsi(self) -> str:
        """The address as GDAL's virtual file systems spell it; empty where geoseg knows none for it."""
        return _vsi(self.url)

    @property
    def http(self) -> str | None:
        """The URL, where it is one of plain HTTP."""
        found = self.vsi.removeprefix("/vsicurl/")
        return found if urlsplit(found).scheme in ("http", "https") else None


Location = Path | Remote
"""Where an input is."""


def locate(text: str) -> Location:
    """Return the place that `text` stands for: what looks like a URL, one of GDAL's /vsi paths, or
    XML, is Remote."""
    other = _URL.match(text) or text.startswith("/vsi") or text.lstrip().startswith("<")
    return Remote(text) if other else Path(text)


def local(*locations: Location | None) -> tuple[Path, ...]:
    """Return those of the locations that are paths: only they could be overwritten."""
    return tuple(location for location in locations if isinstance(location, Path))


def _vsi(url: str) -> str:
    """`zip+https://host/a.zip!/b.tif` is /vsizip//vsicurl/https://host/a.zip/b.tif."""
    if url.startswith("/vsi"):
        for prefix in _ARCHIVES.values():
            if url.startswith(prefix):
                inner = url.removeprefix(prefix)
                return url if not inner.startswith("/vsi") or _vsi(inner) else ""
        return url if url.startswith(tuple(_STORES.values())) else ""
    scheme, _, rest = url.partition("://")
    outer, _, inner = scheme.lower().partition("+")
    if outer in _ARCHIVES:
        rest = rest.replace("!", "", 1)
        beneath = rest if inner in ("", "file") else _vsi(f"{inner}://{rest}")
        return _ARCHIVES[outer] + beneath if beneath else ""
    return "" if inner or outer not in _STORES else _STORES[outer] + rest
