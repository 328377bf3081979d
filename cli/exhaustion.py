"""Errors that mean that the system refuses memory, threads or open files, told apart from faults of the program."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from geoseg.errors import GeosegError, InputError, ResourceError, first_line

_REMEDIES = {
    "predict": "give fewer --workers, a smaller --batch-size, or a smaller --block-size or --tile-size",
    "superpixels": "give fewer --workers, or a smaller --block-size",
    "train": "give a smaller --batch-size or --patch-size",
    "polygonize": "free some, or leave --simplify out",
}
"""Command -> what it needs less memory with. Finished blocks are kept, but belong to their block size."""

_THREAD_REFUSED = "can't start new thread"
_MEMORY_REFUSED = ("can't allocate memory", "out of memory", "Cannot allocate memory", "failed to map segment")
_FILE_REFUSED = os.strerror(errno.EMFILE)


def exhaustion(error: BaseException, command: str | None) -> ResourceError | None:
    """Return what to report instead of `error` if the system refused a resource; None for any other error.

    Args:
        error: What ended a command.
        command: Name of the command.
    """
    if isinstance(error, InputError):
        # A file was examined, and found to ask for more than a sound one does.
        return None
    for cause in _chain(error):
        text = str(cause)
        if _is_memory(cause, text):
            remedy = _REMEDIES.get(command or "", "free some")
            return ResourceError(f"out of memory ({_brief(cause)}); {remedy}")
        if isinstance(cause, RuntimeError) and _THREAD_REFUSED in text:
            return ResourceError(
                "no further thread can be started: the user or the container has reached its limit; raise it "
                "(ulimit -u, or the container's limit of processes), or end other programs"
            )
        if _errno(cause) in (errno.EMFILE, errno.ENFILE) or _FILE_REFUSED in text:
            named = str(error).partition(": ")[0] if isinstance(error, GeosegError) else None
            subject = named or getattr(cause, "filename", None) or "a file"
            return ResourceError(
                f"{subject}: cannot be opened, as too many files are open; raise the limit (ulimit -n)"
            )
    return None


def _is_memory(error: BaseException, text: str) -> bool:
    if isinstance(error, MemoryError) or _errno(error) == errno.ENOMEM:
        return True
    # torch raises RuntimeErrors, the loader ImportErrors, GDAL an error of a private class; none has a code.
    return (isinstance(error, RuntimeError | ImportError) and any(words in text for words in _MEMORY_REFUSED)) or (
        type(error).__name__ in ("CPLE_OutOfMemoryError", "OutOfMemoryError")
    )


def _brief(error: BaseException) -> str:
    """The first sentence of the message; libraries add how to tune their allocators."""
    return re.split(r"(?<=[a-z])\. ", first_line(error))[0].rstrip(".")


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, the latest first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__
