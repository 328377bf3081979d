"""Images that cannot be used: all of them in one report, and left out where that is allowed."""

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

Fault = InputError | InputMissingError
"""What is wrong with an image."""

_TOLD = 20
_THREADS = 8


class Faults:
    """What is wrong with the images of a data set; `most` of them, at most, may be left out."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.found: dict[Location, Fault] = {}
        self._warned: set[Location] = set()
        self._lock = threading.Lock()

    def add(self, path: Location, fault: Fault) -> None:
        """Note what is wrong with the image `path`; the first fault of an image counts."""
        with self._lock:
            self.found.setdefault(path, fault)

    def check(self, sources: Iterable[ImageSource]) -> None:
        """Look at every image as far as that is cheap."""
        checked = [source for source in sources if isinstance(source, DatasetImage) and source.check is not None]
        with ThreadPoolExecutor(_THREADS) as pool:
            for source, fault in zip(checked, pool.map(_fault, checked), strict=True):
                if fault is not None:
                    self.add(source.path, fault)

    def usable(self, sources: Iterable[ImageSource]) -> list[ImageSource]:
        """Return the images that nothing is wrong with."""
        return [source for source in sources if source.path not in self.found]

    def settle(self, total: int) -> None:
        """Warn of each image that is left out, once.

        total: how many images there are.

        Raises:
            InputMissingError, InputError: there are more than may be left out, or none else; its details are one line
                for each of the first of them.
        """
        with self._lock:
            faults = list(self.found.values())
            new = [path for path in self.found if path not in self._warned]
            self._warned.update(new)
        if len(faults) > self.most or (faults and len(faults) == total):
            raise faults[0] if len(faults) == 1 else self._report(faults, total)
        for path in new:
            log.warning("left out: %s", self.found[path])

    def _report(self, faults: list[Fault], total: int) -> InputError:
        lines = [" ".join(str(fault).split()) for fault in faults[:_TOLD]]
        if len(faults) > _TOLD:
            lines.append(f"... and {len(faults) - _TOLD} more")
        report = InputError(
            f"{len(faults)} of {total} images cannot be used: correct them or take them away, "
            f"or leave up to so many out with --max-bad {len(faults)}"
        )
        report.details = tuple(lines)
        return report


def _fault(source: DatasetImage) -> Fault | None:
    assert source.check is not None
    try:
        source.check()
    except (InputError, InputMissingError) as fault:
        return fault
    return None
