"""How much memory a prediction needs at its peak, and how much there is.

Two parts grow with the number of classes K, because logits have K values per cell of `STRIDE` pixels: the windows of a
block with the field that they are blended into, and the means of the superpixels of the block before it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from geoseg.errors import SettingError
from geoseg.grid import lattice
from geoseg.model.file import Model
from geoseg.prediction.memo import MEMO_BYTES
from geoseg.prediction.plan import Plan, neighbourhood, pipeline_depth
from geoseg.raster.scene import Scene
from geoseg.recipes import ENCODER_STRIDE, STRIDE, SuperpixelConfig, WindowConfig
from geoseg.segments.superpixels import halo, reach

_LIBRARIES = 700 << 20
"""What the libraries and the compiled kernels take, in bytes."""

_MIN_BLOCK = 512
_MIN_TILE = 64
_MANY_CLASSES = 100
"""Up to here, classes are not what takes the memory."""

_CGROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and use of memory in a control group, of version 2 and of version 1."""


@dataclass(frozen=True)
class Demand:
    """What decides how much memory a prediction needs.

    Attributes:
        shape: Size (rows, cols) of the scene.
        extent: Size (rows, cols) of the part to write.
        bands: Number of bands.
        itemsize: Bytes per value of the scene.
        classes: Number of classes K.
        superpixels: Superpixel settings of the model.
        windows: Size and overlap of the windows.
        block_size: Side of a block in pixels.
        batch_size: Windows per forward pass.
        workers: Number of threads.
        on_cpu: Whether the network runs on the CPU, where each thread computes a window.
        cache_bytes: Size of GDAL's cache.
        steps: From superpixel to superpixel, to all on which a class depends.
        depth: How many blocks are prepared, and how many finished, at the same time.
    """

    shape: tuple[int, int]
    extent: tuple[int, int]
    bands: int
    itemsize: int
    classes: int
    superpixels: SuperpixelConfig
    windows: WindowConfig
    block_size: int
    batch_size: int
    workers: int
    on_cpu: bool
    cache_bytes: int
    steps: int = 0
    depth: int = 1

    @property
    def peak(self) -> int:
        """Estimated peak memory of the process in bytes."""
        several = any(part > self.block_size for part in self.extent)
        # The means of a block are computed together with the windows of the next one.
        of_classes = self._logits + self._means if several else max(self._logits, self._means)
        return _LIBRARIES + self.cache_bytes + self._reading + self._forward + of_classes

    @property
    def _reading(self) -> int:
        """Blocks with their halo in the pipeline: pixels, colours, labels.

        Descriptors and the graph of superpixels take less than the colours, which are dropped before them. Choices that
        are kept for later blocks take less than the pixels that need not be read for their sake.
        """
        read = math.prod(self._around_block(self._core + halo(self.superpixels.size, self.superpixels.iterations)))
        if self.depth > 1:
            # Several blocks wait before the middle stage and after it; their colours and cells are on the GPU.
            return 3 * self.depth * read * (16 + self.bands * self.itemsize)
        return read * (30 + self.bands * (2 + self.itemsize))

    @property
    def _forward(self) -> int:
        """Activations and logits of the windows that are computed at the same time."""
        tile = self.windows.tile_size
        pixels = (self.workers if self.on_cpu else 1) * self.batch_size * math.prod(min(tile, n) for n in self.shape)
        return pixels * (150 + 8 * self.bands) + 6 * pixels // STRIDE**2 * self.classes

    @property
    def _logits(self) -> int:
        """Logits of the windows of one block and of those kept for later blocks; the blended field, and two strips of
        it while it is made."""
        tile, overlap = self.windows.tile_size, self.windows.overlap
        pooled = self._pooled
        of_scene, of_block, strip = 1, 1, pooled[1]
        for length, covered in zip(self.shape, pooled, strict=True):
            spans = lattice(length, tile, overlap)
            of_scene *= sum(map(len, spans))
            of_block *= min(sum(map(len, spans)), -(-(covered + tile) // (tile - overlap)) * tile)
        strip *= min(tile, pooled[0])
        value = 4 * self.classes
        windows = min(of_scene * value // STRIDE**2, of_block * value // STRIDE**2 + MEMO_BYTES)
        return windows + (math.prod(pooled) + 2 * strip) * value // STRIDE**2

    @property
    def _means(self) -> int:
        """The field of the block before, its numbers in fixed point, and the sums and means of its superpixels.

        Their posteriors take less than the sums and the numbers in fixed point, which are dropped before them.
        """
        pixels = math.prod(self._pooled)
        field = 4 * self.classes * pixels // STRIDE**2
        values = self.classes * pixels // self.superpixels.size**2
        return max(3 * field, 2 * field + values * (8 * self.workers + 12))

    @property
    def _pooled(self) -> tuple[int, int]:
        """The largest size (rows, cols) of the windows that hold all superpixels on which a block depends."""
        return self._around_block(self._core + reach(self.superpixels.size))

    @property
    def _core(self) -> int:
        return neighbourhood(self.superpixels.size, self.steps)

    def _around_block(self, margin: int) -> tuple[int, int]:
        rows, cols = (
            min(n, min(self.block_size, part) + 2 * margin) for n, part in zip(self.shape, self.extent, strict=True)
        )
        return rows, cols


def demand_of(
    scene: Scene, model: Model, plan: Plan, block_size: int, batch_size: int, workers: int, device: torch.device
) -> Demand:
    """Return what decides how much memory a prediction needs.

    Args:
        scene: The scene.
        model: The model.
        plan: Blocks and windows.
        block_size: Side of a block in pixels.
        batch_size: Windows per forward pass.
        workers: Number of threads.
        device: Where the network runs.
    """
    grid = plan.grid
    return Demand(
        scene.shape, plan.extent.shape, len(scene.bands), scene.dtype.itemsize, model.spec.classes,
        model.superpixels, WindowConfig(grid.tile_size, grid.overlap), block_size, batch_size, workers,
        device.type == "cpu", scene.cache_bytes(plan.read_rows, cols=plan.cached_cols(scene.path)), plan.steps,
        pipeline_depth(device.type, workers, len(plan.blocks)),
    )  # fmt: skip


def check_memory(name: str, demand: Demand, options: bool = True, processes: int = 1) -> None:
    """Refuse work that needs more memory than there is, before it begins.

    Args:
        name: What is mapped, for the message.
        demand: What decides how much memory it needs.
        options: Whether the user can choose the size of blocks and windows, and the number of threads.
        processes: Number of processes that do such work on this machine; 1 is this one.

    Raises:
        SettingError: There is too little memory; the message names settings that fit.
    """
    # What a process holds besides, such as the arrays of a notebook, is of no use to the work.
    available, resident = available_bytes(), min(_resident_bytes(), _LIBRARIES) if processes == 1 else 0
    peak = demand.peak * processes
    if available is None or peak - resident <= available:
        return
    fewer = available // demand.peak
    if processes > 1 and fewer:
        found: str | None = f"it fits with --workers {fewer}"
    else:
        found = _fitting(demand, available + resident) if options else None
    classes = f" with {demand.classes} classes" if demand.classes > _MANY_CLASSES else ""
    raise SettingError(
        f"{name}: needs about {_gigabytes(peak)} of memory{classes}, and {_gigabytes(available + resident)} is "
        f"available; {found or 'map it on a machine with more memory, or with a model of fewer classes'}"
    )


def available_bytes() -> int | None:
    """Return the memory that this process can still get: that of the machine, within its control groups and limits.

    Returns:
        Bytes, including swap; None if it is unknown, as on macOS and Windows.
    """
    found = [_free_on_machine(), *(_free_in_group(folder) for folder in _groups()), _free_addresses()]
    return min((each for each in found if each is not None), default=None)


def _fitting(demand: Demand, limit: int) -> str | None:
    """Settings with which the work fits into `limit` bytes, as words; None if there are none.

    Smaller blocks and fewer threads come first, because they change no result.
    """
    overlap = demand.windows.overlap
    smallest = max(_MIN_TILE, 2 * overlap)
    tiles = [size for size in _halves(demand.windows.tile_size) if size >= smallest and size % ENCODER_STRIDE == 0]
    for tile, workers in [(tile, workers) for tile in tiles for workers in _halves(demand.workers)]:
        for block in [size for size in _halves(demand.block_size) if size % _MIN_BLOCK == 0]:
            windows = WindowConfig(tile, overlap)
            smaller = replace(demand, windows=windows, workers=workers, block_size=block)
            if smaller.peak <= limit:
                given = (
                    ("--block-size", block, demand.block_size), ("--workers", workers, demand.workers),
                    ("--tile-size", tile, demand.windows.tile_size),
                )  # fmt: skip
                return "it fits with " + " ".join(f"{option} {new}" for option, new, old in given if new != old)
    return None


def _halves(value: int) -> list[int]:
    return [value >> shift for shift in range(value.bit_length())]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _free_on_machine() -> int | None:
    """Memory that the kernel can hand out without swapping, and free swap, in bytes."""
    sizes = _fields(Path("/proc/meminfo"))
    return sizes["MemAvailable"] + sizes.get("SwapFree", 0) if "MemAvailable" in sizes else None


def _groups() -> list[Path]:
    """The folders of the control groups that limit this process, and of those around them."""
    folders = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = Path("/sys/fs/cgroup", controllers)
                group = root / path.lstrip("/")
                # Inside a container, the path is one of the host and the limit is that of the root.
                folders += [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return folders


def _free_in_group(folder: Path) -> int | None:
    """What a control group may still use in bytes; None if it has no limit."""
    for limit, usage in _CGROUP_FILES:
        with suppress(OSError, ValueError):
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
            # The page cache counts as used, but the kernel gives it back.
            return left + _fields(folder / "memory.stat").get("inactive_file", 0)
    return None


def _free_addresses() -> int | None:
    """What is left of the limit on the address space (ulimit -v) in bytes; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit - _fields(Path("/proc/self/status")).get("VmSize", 0)


def _resident_bytes() -> int:
    """Memory that this process has already, in bytes; 0 if it is unknown."""
    return _fields(Path("/proc/self/status")).get("VmRSS", 0)


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of the kernel, "name: number kB" or "name number", in bytes; empty without the file."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            words = line.replace(":", " ").split()
            if len(words) > 1 and words[1].isdigit():
                found[words[0]] = int(words[1]) << (10 if words[2:] == ["kB"] else 0)
    return found
