"""Images of a data set that cannot be used: collected, reported together, and left out where that is allowed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from geoseg.datasets.dataset import DatasetImage
from geoseg.errors import InputError, InputMissingError
from geoseg.location import Location
from geoseg.raster.source import ImageSource

log = logging.getLogger(__name__)

ImageError = InputError | InputMissingError
"""Why an image cannot be used."""

_MAX_DETAILS = 20
_THREADS = 8


class BadImages:
    """The images of a data set that cannot be used. Threads may share it.

    Args:
        max_count: How many may be left out; with more, `enforce_limit` raises.

    Attributes:
        errors: Image -> its first error.
    """

    def __init__(self, max_count: int = 0) -> None:
        self.max_count = max_count
        self.errors: dict[Location, ImageError] = {}
        self._warned: set[Location] = set()
        self._lock = threading.Lock()

    def add(self, path: Location, error: ImageError) -> None:
        """Add an image and its error; the first error of an image is kept."""
        with self._lock:
            self.errors.setdefault(path, error)

    def check(self, sources: Iterable[ImageSource]) -> None:
        """Run the checks of all images, which read headers only, and add those that fail."""
        checked = [source for source in sources if isinstance(source, DatasetImage) and source.check is not None]
        with ThreadPoolExecutor(_THREADS) as pool:
            for source, error in zip(checked, pool.map(_check, checked), strict=True):
                if error is not None:
                    self.add(source.path, error)

    def usable(self, sources: Iterable[ImageSource]) -> list[ImageSource]:
        """Return those of `sources` without an error."""
        return [source for source in sources if source.path not in self.errors]

    def enforce_limit(self, total: int) -> None:
        """Raise if too many images cannot be used; otherwise log a warning for each that is new.

        Args:
            total: Number of images, bad ones included.

        Raises:
            InputMissingError, InputError: More than `max_count` images are bad, or all of them. It is the error of the
                image where there is one; otherwise its details have one line for each of the first 20.
        """
        with self._lock:
            errors = list(self.errors.values())
            causes = list(dict.fromkeys(errors))
            new = [path for path in self.errors if path not in self._warned]
            self._warned.update(new)
        if len(errors) > self.max_count or (errors and len(errors) == total):
            raise causes[0] if len(causes) == 1 else _summarise(causes, len(errors), total)
        for error in dict.fromkeys(self.errors[path] for path in new):
            log.warning("left out: %s", error)


def _summarise(causes: list[ImageError], count: int, total: int) -> InputError:
    """One error for `count` of `total` images; several may have the same cause."""
    lines = [" ".join(str(error).split()) for error in causes[:_MAX_DETAILS]]
    if len(causes) > _MAX_DETAILS:
        lines.append(f"... and {len(causes) - _MAX_DETAILS} more")
    if count < total:
        remedy = f"repair or remove them, or leave up to that many out with --max-bad {count}"
    else:
        remedy = "repair or replace them"
    summary = InputError(f"{count} of {total} images cannot be used: {remedy}")
    summary.details = tuple(lines)
    return summary


def _check(source: DatasetImage) -> ImageError | None:
    assert source.check is not None
    try:
        source.check()
    except (InputError, InputMissingError) as error:
        return error
    return None
