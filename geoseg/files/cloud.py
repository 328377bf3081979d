"""How often requests to a cloud store are repeated, and what is said where that does not help."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geoseg.errors import GeosegError, OutputError, UnavailableError, WriteError


@dataclass(frozen=True)
class Patience:
    """How long a request is repeated.

    Attributes:
        retries: Repetitions of a request that the server refuses for now, or whose connection fails.
        seconds: Time after which it is not repeated any more.
        longest: Longest pause in seconds; the first one has at most a tenth of a second, and each may double.
        answers: Attempts at a conditional put whose answer is lost.
        small, large: Seconds that a request may take, of up to a megabyte or of more.
    """

    retries: int = 8
    seconds: float = 120.0
    longest: float = 10.0
    answers: int = 4
    small: float = 20.0
    large: float = 600.0


PATIENCE = Patience()


def pauses() -> Iterator[float]:
    """Yield pauses in seconds between attempts, at random, so that many workers do not come at once."""
    for attempt in range(PATIENCE.answers - 1):
        yield random.uniform(0.05, min(PATIENCE.longest, 0.25 * 4**attempt))


def failure(exceptions: Any, url: str, key: str, error: BaseException, writing: bool) -> GeosegError:
    """Return the error to raise where a store does not do what it is asked for.

    Args:
        exceptions: obstore's module of exceptions.
        url: Of the bucket.
        key: Of the object.
        error: What obstore raised.
        writing: Whether something was to be written.
    """
    place, amazon = f"{url}/{key}", url.startswith("s3:")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        names = " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)" if amazon else ""
        return UnavailableError(
            f"{place}: access denied; set the credentials{names} of a user who may read, write, list and delete there"
        )
    if isinstance(error, FileNotFoundError):
        return OutputError(f"{place}: there is no bucket {url}; create it first")
    kind, verb = (WriteError, "written") if writing else (UnavailableError, "read")
    return kind(
        f"{place}: cannot be {verb} ({short(error)}); check network, {'AWS_ENDPOINT_URL, AWS_REGION' * amazon}"
        f"{' and ' * amazon}credentials, then run the same command again: nothing finished is lost"
    )


def short(error: BaseException) -> str:
    """Return what went wrong: the end of obstore's message, without the markup of the server's answer."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = re.sub(r"<[^>]*>", " ", line.rsplit(" - ", 1)[-1])
    return " ".join(text.split())[:160].rstrip(": ")
