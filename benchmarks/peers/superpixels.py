"""Superpixels of a scene to a raster of ids, by each peer's SLIC with the same cells and iterations.

Each function takes (scene, out, size, iterations). They know no windows: the whole scene is in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasters import write


def _read(scene: Path) -> NDArray[np.uint8]:
    """Return red, green and blue, (rows, cols, 3)."""
    import rasterio

    with rasterio.open(scene) as source:
        return np.ascontiguousarray(np.moveaxis(source.read((1, 2, 3)), 0, 2))


def _ids(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the labels, counted from 1."""
    return (labels - labels.min() + 1).astype(np.uint32)


def scikit_image(scene: Path, out: Path, size: int, iterations: int) -> None:
    """`skimage.segmentation.slic`."""
    from skimage.segmentation import slic

    image = _read(scene)
    count = image[..., 0].size // size**2
    write(scene, out, _ids(slic(image, count, compactness=10, max_num_iter=iterations, start_label=1)))


def opencv(scene: Path, out: Path, size: int, iterations: int) -> None:
    """`cv2.ximgproc.createSuperpixelSLIC` on CIELAB, on one thread."""
    import cv2

    cv2.setNumThreads(1)
    slic: Any = cv2.ximgproc.createSuperpixelSLIC(
        cv2.cvtColor(_read(scene), cv2.COLOR_RGB2LAB), cv2.ximgproc.SLIC, size, 10.0
    )
    slic.iterate(iterations)
    slic.enforceLabelConnectivity(25)
    write(scene, out, _ids(slic.getLabels()))


def simple_itk(scene: Path, out: Path, size: int, iterations: int) -> None:
    """`SLICImageFilter`, on one thread."""
    import SimpleITK

    slic = SimpleITK.SLICImageFilter()
    slic.SetSuperGridSize([size, size])
    slic.SetMaximumNumberOfIterations(iterations)
    slic.SetNumberOfThreads(1)
    image = SimpleITK.GetImageFromArray(_read(scene), isVector=True)
    write(scene, out, _ids(SimpleITK.GetArrayFromImage(slic.Execute(image))))
