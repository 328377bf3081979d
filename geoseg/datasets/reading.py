"""Reads one file of a data set after checking it: an image or label map by Pillow, or a MATLAB array."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, InputMissingError, first_line
from geoseg.lazy import lazy
from geoseg.raster.guards import raster_driver, regular_file

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = lazy("PIL.Image")


def decode_rgb(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of a JPEG or PNG, uint8 (3, rows, cols); of a grey image, the same in all three bands.

    Raises:
        InputMissingError: The file does not exist.
        InputError: It is not such an image, or damaged.
    """
    with _open_image(path, "JPEG", "PNG") as image:
        return np.ascontiguousarray(np.moveaxis(np.asarray(image.convert("RGB")), -1, 0))


def decode_ids(path: Path) -> NDArray[np.uint8]:
    """Return the values that a PNG with one band of 8 bits stores, uint8 (rows, cols); of a palette image, its indices.

    Raises:
        InputMissingError: The file does not exist.
        InputError: It is not such an image, or damaged.
    """
    with _open_image(path, "PNG") as image:
        if image.mode not in ("L", "P"):
            raise InputError(f"{path}: is a PNG of mode {image.mode}; a label map has one band of 8 bits")
        return np.array(image, dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return (rows, cols) of a JPEG or PNG, from its header."""
    with _open_image(path, "JPEG", "PNG") as image:
        return image.height, image.width


def read_matlab(path: Path, name: str) -> NDArray[Any]:
    """Return an array of integers from a MATLAB file of version 4 to 7.

    Args:
        path: The file.
        name: Of the array.

    Raises:
        InputMissingError: The file does not exist.
        InputError: It is not such a file, or does not hold such an array.
    """
    from scipy.io import loadmat

    with _guard_matlab(path) as file:
        content = loadmat(file, variable_names=[name])
    if name not in content:
        raise InputError(f"{path}: holds no array called {name}")
    found = content[name]
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu":
        raise InputError(f"{path}: its array {name} holds no integers")
    return found


def matlab_shape(path: Path, name: str) -> tuple[tuple[int, ...], str]:
    """Return the shape of an array in a MATLAB file, and its class, such as 'uint8', from the header.

    Raises:
        InputMissingError, InputError: As `read_matlab`.
    """
    from scipy.io import whosmat

    with _guard_matlab(path) as file:
        found = {each: (shape, kind) for each, shape, kind in whosmat(file)}
    if name not in found:
        raise InputError(f"{path}: holds no array called {name}")
    return found[name]


@contextmanager
def _guard_matlab(path: Path) -> Iterator[Path]:
    """Yield the file after checking it; turn what scipy raises into an InputError that names it."""
    from scipy.io.matlab import MatReadError

    try:
        yield regular_file(path)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        if isinstance(error, InputError | InputMissingError):
            raise
        raise InputError(f"{path}: cannot be read as a MATLAB file ({first_line(error)}); copy it again") from error


@contextmanager
def _open_image(path: Path, *formats: str) -> Iterator[Image.Image]:
    """Yield the image, opened by the decoder for its first bytes; turn what Pillow raises into an InputError."""
    file = regular_file(path)
    driver = raster_driver(file)
    if driver not in formats:
        raise InputError(f"{path}: is a {driver} file, not {' or '.join(formats)}")
    try:
        with Image.open(file, formats=[driver]) as image:
            yield image
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be decoded ({first_line(error)}); copy or download it again") from error
