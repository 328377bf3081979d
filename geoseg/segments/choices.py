"""Which choices of seeds decide the superpixels of a window, and which pixels decide those choices.

So choices can be computed piece by piece, each once: `geoseg.segments.superpixels.halo` derives how far they reach.
Windows of cells count cells of the scene, all others its pixels.
"""

from __future__ import annotations

from geoseg.grid import Span, Window
from geoseg.segments.lattice import Domain
from geoseg.segments.superpixels import LABEL_REACH


def deciding_cells(core: Window, size: int, scene: Window) -> Window:
    """Return the cells whose choices decide every superpixel that has a pixel in a window.

    Args:
        core: The window.
        size: Pixels on a side of a cell.
        scene: All pixels of the scene.
    """
    return _cells(core, size).expand(LABEL_REACH, _cells(scene, size))


def deciding_pixels(cells: Window, size: int, iterations: int, scene: Window) -> Window:
    """Return the pixels on which the choices of cells depend; none for no cells.

    Args:
        cells: Some cells of the scene.
        size: Pixels on a side of a cell.
        iterations: Number of iterations.
        scene: All pixels of the scene.
    """
    if not cells.pixels:
        return Window.of(0, 0, 0, 0)
    return _pixels(_computed(cells, size, iterations, scene), size, scene).expand(1, scene)


def domain_of(cells: Window, size: int, iterations: int, scene: Window, area: Window) -> Domain:
    """Return the domain by which a `Backend` computes the choices of cells from the pixels of `area`.

    Args:
        cells: Some cells of the scene.
        size: Pixels on a side of a cell.
        iterations: Number of iterations.
        scene: All pixels of the scene.
        area: The pixels of the array; it holds `deciding_pixels`.
    """
    computed = _computed(cells, size, iterations, scene)
    pixels = _pixels(computed, size, scene)
    rows, cols = (
        (part.start - whole.start, part.stop - whole.start)
        for part, whole in ((cells.rows, computed.rows), (cells.cols, computed.cols))
    )
    corner = pixels.rows.start - area.rows.start, pixels.cols.start - area.cols.start
    inside = scene.rows.stop - pixels.rows.start, scene.cols.stop - pixels.cols.start
    return Domain(corner, pixels.shape, inside, rows, cols)


def _computed(cells: Window, size: int, iterations: int, scene: Window) -> Window:
    """Return the cells that have to be known for the choices of `cells`."""
    return cells.expand(2 * iterations - 1, _cells(scene, size))


def _cells(pixels: Window, size: int) -> Window:
    return Window(*(Span(span.start // size, -(-span.stop // size)) for span in (pixels.rows, pixels.cols)))


def _pixels(cells: Window, size: int, scene: Window) -> Window:
    rows, cols = (Span(span.start * size, span.stop * size) for span in (cells.rows, cells.cols))
    return Window(rows, cols).intersect(scene)
