"""The location of a raster: a path, or something that GDAL reads through a virtual file system, such as a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

_SCHEMES = {
    "http": "/vsicurl/http://", "https": "/vsicurl/https://", "ftp": "/vsicurl/ftp://",
    "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "oss": "/vsioss/", "swift": "/vsiswift/",
}  # fmt: skip
_STORES = ("s3:", "gs:", "az:")
_ARCHIVES = {"zip": "/vsizip/", "tar": "/vsitar/", "gzip": "/vsigzip/"}
_URL = re.compile(rf"(?:{'|'.join([*_SCHEMES, *_ARCHIVES])})(?:\+[a-z0-9]+)?://", re.IGNORECASE)


@dataclass(frozen=True)
class Remote:
    """A raster that GDAL reads through one of its virtual file systems: at a URL, in a cloud store, in an archive.

    Attributes:
        url: The location as it was given; pathlib would change it, `//` to `/` for instance.
    """

    url: str

    def __str__(self) -> str:
        """The URL without user and query, which may hold passwords and signatures: for messages and records."""
        if self.url.lstrip().startswith("<"):
            return " ".join(self.url.split())[:40] + "..."
        url = re.sub(r"(?<=://)[^/@]*@", "", self.url)
        return url.split("?")[0]

    @property
    def name(self) -> str:
        """The last part of the URL."""
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
        """The path in GDAL's virtual file systems; empty if geoseg knows none for this URL."""
        return _vsi(self.url)

    @property
    def http(self) -> str | None:
        """The URL if the raster is a plain file on a web server (http or https), else None."""
        found = self.vsi.removeprefix("/vsicurl/")
        return found if urlsplit(found).scheme in ("http", "https") else None


Location = Path | Remote
"""The location of an input."""


def locate(text: str) -> Location:
    """Return the location that `text` stands for: `Remote` for a URL, a /vsi path of GDAL's or XML, else a path."""
    remote = _URL.match(text) or text.startswith("/vsi") or text.lstrip().startswith("<")
    return Remote(text) if remote else Path(text)


def local(*locations: Location | None) -> tuple[Path, ...]:
    """Return the locations that are paths; only these could be overwritten."""
    return tuple(location for location in locations if isinstance(location, Path))


def within(folder: Location, name: str) -> Location:
    """Return the location of `name` in a folder."""
    return Remote(f"{folder.url.rstrip('/')}/{name}") if isinstance(folder, Remote) else folder / name


def target(path: Path) -> Remote | None:
    """Return where in a cloud store an output is wanted: pathlib makes `s3:/bucket/map.tif` of `s3://bucket/map.tif`.

    None for an output in the file system.
    """
    scheme, *rest = path.parts or ("",)
    return Remote(f"{scheme.lower()}//{'/'.join(rest)}") if scheme.lower() in _STORES and rest else None


def shown(path: Path) -> str:
    """Return an output as the user gave it: its path, or its URL in a cloud store."""
    return str(target(path) or path)


def _vsi(url: str) -> str:
    """Translate a URL: zip+https://host/a.zip!/b.tif becomes /vsizip//vsicurl/https://host/a.zip/b.tif."""
    if url.startswith("/vsi"):
        for prefix in _ARCHIVES.values():
            if url.startswith(prefix):
                inner = url.removeprefix(prefix)
                return url if not inner.startswith("/vsi") or _vsi(inner) else ""
        return url if url.startswith(tuple(_SCHEMES.values())) else ""
    scheme, _, rest = url.partition("://")
    outer, _, inner = scheme.lower().partition("+")
    if outer in _ARCHIVES:
        rest = rest.replace("!", "", 1)
        archive = rest if inner in ("", "file") else _vsi(f"{inner}://{rest}")
        return _ARCHIVES[outer] + archive if archive else ""
    return "" if inner or outer not in _SCHEMES else _SCHEMES[outer] + rest
