"""Rasters in the network: how GDAL reads them, why it fails, and whether one has changed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rasterio import _err as gdal

from geoseg.errors import GeosegError, InputError, InputMissingError, UnavailableError
from geoseg.files.credentials import gdal_options
from geoseg.location import Remote
from geoseg.raster.guards import regular_file

NETWORK_OPTIONS = {
    # Neither look for sidecars nor list the folder: each try is a request.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    # A slow transfer goes on; one that has stalled is given up.
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 << 20),
    "CPL_VSIL_CURL_CHUNK_SIZE": str(256 << 10),
    "VSI_CACHE": "NO",
}
"""GDAL's configuration for reading from the network. The environment overrides it, and always provides the credentials
(AWS_*, GS_*, AZURE_*)."""

_MISSING = ("CPLE_AWSObjectNotFoundError", "CPLE_AWSBucketNotFoundError")
_DENIED = ("CPLE_AWSAccessDeniedError", "CPLE_AWSInvalidCredentialsError", "CPLE_AWSSignatureDoesNotMatchError")
_SAMPLED_BLOCKS = 16


def network_options() -> Mapping[str, str]:
    """Return NETWORK_OPTIONS without those that the environment sets, and where AWS_ENDPOINT_URL leads."""
    options = {name: value for name, value in NETWORK_OPTIONS.items() if name not in os.environ}
    return options | gdal_options()


def failure(location: Remote, error: BaseException) -> GeosegError:
    """Return the error to raise where GDAL could not open a remote raster.

    Args:
        location: What was opened.
        error: What rasterio raised. Where it does not tell an HTTP status, the server is asked for one.

    Returns:
        InputMissingError for a file that does not exist, UnavailableError for denied access or a network failure,
        InputError for a file that is not a GeoTIFF.
    """
    cause = error.__cause__ or error.__context__ or error
    missing, denied = (
        tuple(getattr(gdal, name) for name in names if hasattr(gdal, name)) for names in (_MISSING, _DENIED)
    )
    response = isinstance(cause, gdal.CPLE_HttpResponseError) and re.search(r"\b[1-5]\d\d\b", str(cause))
    status = int(response[0]) if response else _head(location)[0] if location.http else None
    if isinstance(cause, missing) or status in (404, 410):
        return InputMissingError(f"{location}: no such file")
    if isinstance(cause, denied) or status in (401, 403):
        return UnavailableError(f"{location}: access denied; set the credentials that GDAL takes from the environment")
    message = " ".join(str(cause).replace(location.url, str(location)).split())[:200]
    if response or (location.http and (status is None or status >= 500)):
        return UnavailableError(f"{location}: cannot be reached ({message}); check the address, or try again later")
    return InputError(f"{location}: cannot be read as a GeoTIFF ({message}); download and inspect it")


def identity(location: Remote, file: Any) -> dict[str, Any]:
    """Return what distinguishes a remote TIFF from others, and from itself after a change.

    Args:
        location: Of the TIFF.
        file: rasterio's dataset, open on it.

    Returns:
        Its address without credentials, its shape, the length, ETag and time of modification that the server states,
        and a SHA-256 of the offsets and sizes of some of its blocks.

    Raises:
        UnavailableError: The server no longer answers.
    """
    found: dict[str, Any] = {"url": str(location), "shape": list(file.shape)}
    if location.http:
        status, headers = _head(location)
        if status is None:
            raise UnavailableError(f"{location}: cannot be reached; try again later")
        found |= {name: headers[name] for name in ("content-length", "etag", "last-modified") if name in headers}
    (rows, cols), (height, width) = file.shape, file.block_shapes[0]
    across, down = -(-cols // width), -(-rows // height)
    count = across * down
    sample = sorted({index * (count - 1) // max(1, _SAMPLED_BLOCKS - 1) for index in range(_SAMPLED_BLOCKS)})
    blocks = [
        file.get_tag_item(f"BLOCK_{kind}_{block % across}_{block // across}", "TIFF", bidx=1)
        for block in sample
        for kind in ("OFFSET", "SIZE")
    ]
    return found | {"blocks": hashlib.sha256(repr(blocks).encode()).hexdigest()}


def has_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two identities of a location are those of different files.

    The servers of one address may not agree on ETags; they do agree on the length, and on the time if they state one.
    """
    if before.get("content-length") != now.get("content-length"):
        return True
    return all(before[name] != now.get(name) for name in ("etag", "last-modified") if name in before) and (
        "etag" in before or "last-modified" in before
    )


def check_archive(location: Remote) -> None:
    """Check that an archive in the file system is a regular file; do nothing for other locations.

    Raises:
        InputMissingError: Nothing is at its path.
        InputError: It is not a regular file.
    """
    match = re.match(r"/vsi(?:zip|tar|gzip)/(?!/?vsi)(.+)", location.vsi)
    if match is None:
        return
    path = Path(match[1])
    existing = next((part for part in (path, *path.parents) if part.exists()), path)
    regular_file(path if existing.is_dir() else existing)


def _head(location: Remote) -> tuple[int | None, dict[str, str]]:
    """The HTTP status and headers that a server answers with; a status of None where it does not."""
    request = Request(str(location.http), method="HEAD")
    try:
        with urlopen(request, timeout=_timeout()) as answer:
            return int(answer.status), {name.lower(): value for name, value in answer.headers.items()}
    except HTTPError as error:
        error.close()
        return error.code, {}
    except (URLError, HTTPException, OSError, ValueError):
        return None, {}


def _timeout() -> float:
    """Seconds to wait for a server: the same as GDAL's, from the same variable of the environment."""
    name = "GDAL_HTTP_CONNECTTIMEOUT"
    return float(os.environ.get(name, NETWORK_OPTIONS[name]))
