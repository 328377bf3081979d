"""What a dataset is: images to learn from, labels that are read for scoring only, and the report of images that cannot
be used.

Arrays are (bands, rows, cols), validity and labels (rows, cols).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.location import Location
from geoseg.raster.source import ImageSource, Pixels

Mask = NDArray[np.bool_]
"""(rows, cols)."""

Labels = NDArray[np.int16]
"""Class indices 0..C-1 (rows, cols), or IGNORED."""


class Dataset(Protocol):
    """Images and labels under one protocol. A context manager: it may hold files open.

    name: of the recipe. bands: names of the bands. class_names: of the classes 0..C-1 of the labels, for scoring;
    empty where there are none. sources: what is trained on. labelled: indices of the images that have labels.
    files: all that may be read; nothing may be written over them.
    """

    @property
    def name(self) -> str: ...
    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def sources(self) -> Sequence[ImageSource]: ...
    @property
    def labelled(self) -> Sequence[int]: ...
    @property
    def files(self) -> Collection[Path]: ...
    @property
    def count(self) -> int:
        """How many images there are."""

    def image(self, index: int) -> Pixels:
        """Return what is predicted and scored of image `index`; nothing in it comes from labels."""

    def labels(self, index: int) -> Labels:
        """Return the labels of `image(index)`.

        Raises:
            InputError: they are damaged, or do not fit the image. ValueError: `index` is not in `labelled`.
        """

    def close(self) -> None:
        """Let go of files."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """An image that is made whole whenever it is read, and then cut: keep what is read often.

    path: what to call it; a patch of a tile has no file of that name.
    measure: returns (rows, cols), asked for once. load: returns the whole image.
    mask: returns where the whole image counts in the losses of training; None: wherever it is valid. The network
        sees all of it.
    check: raises InputMissingError or InputError where headers show that the image cannot be used; None: there is
        nothing to look at.
    """

    path: Path
    band_names: tuple[str, ...]
    dtype: np.dtype[Any]
    measure: Callable[[], tuple[int, int]]
    load: Callable[[], Pixels]
    mask: Callable[[], Mask] | None = None
    check: Callable[[], object] | None = None

    @property
    def bands(self) -> tuple[int, ...]:
        """1, 2, ... as many as there are."""
        return tuple(range(1, len(self.band_names) + 1))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.measure()

    @property
    def extent(self) -> Window:
        """Every pixel."""
        return Window.of(0, 0, *self.shape)

    def read(self, window: Window) -> Pixels:
        """Return the pixels of `window`, and where there are any.

        Raises:
            InputMissingError, InputError: a file is gone or damaged.
            ValueError: the window reaches out of the image.
        """
        if window.intersect(self.extent) != window:
            raise ValueError(f"{window} reaches out of an image of {self.shape[0]} x {self.shape[1]} pixels")
        pixels, valid = self.load()
        rows, cols = window.within(self.extent)
        return pixels[:, rows, cols], valid[rows, cols]

    def close(self) -> None:
        """Nothing is held open."""


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
