"""What is known about a raster in the network besides what GDAL says of it: why it fails, and whether it changed."""

from __future__ import annotations

import hashlib
import re
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rasterio import _err as gdal

from geoseg.errors import GeosegError, InputError, InputMissingError, UnavailableError
from geoseg.location import Remote
from geoseg.raster.guards import regular_file

_SECONDS = 10
_GONE = ("CPLE_AWSObjectNotFoundError", "CPLE_AWSBucketNotFoundError")
_REFUSED = ("CPLE_AWSAccessDeniedError", "CPLE_AWSInvalidCredentialsError", "CPLE_AWSSignatureDoesNotMatchError")
_SAMPLE = 16


def failure(location: Remote, error: BaseException) -> GeosegError:
    """Return the error that tells why GDAL could not open `location`."""
    cause = error.__cause__ or error.__context__ or error
    gone, refused = (tuple(getattr(gdal, name) for name in names if hasattr(gdal, name)) for names in (_GONE, _REFUSED))
    answered = isinstance(cause, gdal.CPLE_HttpResponseError) and re.search(r"\b[1-5]\d\d\b", str(cause))
    status = int(answered[0]) if answered else _head(location)[0] if location.http else None
    if isinstance(cause, gone) or status in (404, 410):
        return InputMissingError(f"{location}: there is no such file")
    if isinstance(cause, refused) or status in (401, 403):
        return UnavailableError(f"{location}: may not be read; give credentials in the environment, as GDAL takes them")
    told = " ".join(str(cause).replace(location.url, str(location)).split())[:200]
    if answered or (location.http and (status is None or status >= 500)):
        return UnavailableError(f"{location}: cannot be reached ({told}); check the address, or try again later")
    return InputError(f"{location}: cannot be read as a GeoTIFF ({told}); download it and look at it")


def identity(location: Remote, file: Any) -> dict[str, Any]:
    """Return what tells a TIFF from itself after a change: address, what the server says, places of some blocks.

    Raises:
        UnavailableError: the server does not answer any more.
    """
    found: dict[str, Any] = {"url": str(location), "shape": list(file.shape)}
    if location.http:
        status, headers = _head(location)
        if status is None:
            raise UnavailableError(f"{location}: cannot be reached; try again later")
        found |= {name: headers[name] for name in ("content-length", "etag", "last-modified") if name in headers}
    (rows, cols), (high, wide) = file.shape, file.block_shapes[0]
    across, down = -(-cols // wide), -(-rows // high)
    count = across * down
    places = sorted({index * (count - 1) // max(1, _SAMPLE - 1) for index in range(_SAMPLE)})
    blocks = [
        file.get_tag_item(f"BLOCK_{kind}_{place % across}_{place // across}", "TIFF", bidx=1)
        for place in places
        for kind in ("OFFSET", "SIZE")
    ]
    return found | {"blocks": hashlib.sha256(repr(blocks).encode()).hexdigest()}


def check_archive(location: Remote) -> None:
    """Raise InputError or InputMissingError for an archive in the file system that is not there, or no regular file."""
    match = re.match(r"/vsi(?:zip|tar|gzip)/(?!/?vsi)(.+)", location.vsi)
    if match is None:
        return
    path = Path(match[1])
    there = next((part for part in (path, *path.parents) if part.exists()), path)
    regular_file(path if there.is_dir() else there)


def _head(location: Remote) -> tuple[int | None, dict[str, str]]:
    """The status a server answers with, None where it does not, and its headers."""
    request = Request(str(location.http), method="HEAD")
    try:
        with urlopen(request, timeout=_SECONDS) as answer:
            return int(answer.status), {name.lower(): value for name, value in answer.headers.items()}
    except HTTPError as error:
        error.close()
        return error.code, {}
    except (URLError, HTTPException, OSError, ValueError):
        return None, {}
