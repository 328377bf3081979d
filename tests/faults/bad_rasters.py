"""Rasters damaged at random, read by the hundred in a process with limits, and counts of the outcomes.

`python tests/faults/bad_rasters.py 30` prints the table for 30 seeds; programs call `outcomes(seeds)`.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

CODECS = ("none", "deflate", "lzw", "zstd", "jpeg", "packbits")
KINDS = ("flipped", "zeroed", "truncated")

FINE, REFUSED, BROKEN, HUNG = "read", "refused", "broken", "hung"
"""Outcomes for one file; the last two are failures. BROKEN is followed by the exit status or the exception."""

_MEMORY = 4 << 30
_SECONDS = 120
_SIDE = 300


@cache
def sound(codec: str) -> bytes:
    """Return an intact TIFF of three bands."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    noise = np.random.default_rng(0).integers(0, 30, (3, _SIDE, _SIDE))
    pixels = (noise + 80 + 60 * np.sin(x / 20) * np.cos(y / 30)).astype(np.uint8)
    layout = {"driver": "GTiff", "height": _SIDE, "width": _SIDE, "count": 3, "dtype": "uint8", "tiled": True}
    layout |= {"blockxsize": 64, "blockysize": 64, "compress": codec, "crs": "EPSG:32633"}
    with MemoryFile() as memory:
        with memory.open(**layout, transform=rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 58e5)) as file:
            file.write(pixels)
        return bytes(memory.read())


def damaged(codec: str, kind: str, seed: int) -> bytes:
    """Return a damaged TIFF: bits flipped (for odd seeds in the header), a range zeroed, or the end cut off."""
    data = bytearray(sound(codec))
    random = np.random.default_rng([CODECS.index(codec), KINDS.index(kind), seed])
    if kind == "flipped":
        reach = 2000 if seed % 2 else len(data)
        for at in random.integers(0, reach, random.integers(1, 9)):
            data[at] ^= 1 << int(random.integers(8))
    elif kind == "zeroed":
        at, length = int(random.integers(len(data))), int(2 ** random.uniform(0, 14))
        data[at : at + length] = bytes(len(data[at : at + length]))
    else:
        del data[int(random.integers(4, len(data))) :]
    return bytes(data)


def outcomes(seeds: Iterable[int]) -> dict[tuple[str, str], Counter[str]]:
    """Damage a TIFF of every codec in every way with every seed, read it all, and count outcomes by (codec, kind)."""
    cases = list(product(CODECS, KINDS, seeds))
    found: dict[tuple[str, str], Counter[str]] = {(codec, kind): Counter() for codec, kind in product(CODECS, KINDS)}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{codec}-{kind}-{seed}.tif" for codec, kind, seed in cases]
        for path, (codec, kind, seed) in zip(paths, cases, strict=True):
            path.write_bytes(damaged(codec, kind, seed))
        for (codec, kind, _), outcome in zip(cases, _read_all(paths), strict=True):
            found[codec, kind][outcome] += 1
    return found


def _read_all(paths: list[Path]) -> Iterator[str]:
    """Yield the outcome of each file; if the reading process dies, another one continues with the next file."""
    at = 0
    while at < len(paths):
        command = [sys.executable, __file__, "--read"]
        try:
            done = subprocess.run(
                command, input=json.dumps([str(path) for path in paths[at:]]), capture_output=True, text=True,
                timeout=_SECONDS,
            )  # fmt: skip
            output, end = done.stdout, f"{BROKEN}: exit {done.returncode}"
        except subprocess.TimeoutExpired as error:
            printed: bytes | str = error.stdout or ""
            output, end = printed.decode() if isinstance(printed, bytes) else printed, HUNG
        lines = output.splitlines()[: len(paths) - at]
        yield from lines
        at += len(lines)
        if at < len(paths):
            yield end
            at += 1


def _read() -> None:
    """Read the files named on standard input, and print the outcome of each."""
    from geoseg.errors import InputError
    from geoseg.grid import Window
    from geoseg.jobs.info import file_info
    from geoseg.raster.scene import EVERY_BAND, Scene

    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for name in json.load(sys.stdin):
        try:
            file_info(Path(name))
            with Scene(Path(name), EVERY_BAND) as scene:
                rows, cols = scene.shape
                for top, left in product(range(0, rows, 512), range(0, cols, 512)):
                    scene.read(Window.of(top, left, min(512, rows - top), min(512, cols - left)))
                    if top * cols > 1 << 26:
                        break  # a damaged header may declare more than can be read in time
            outcome = FINE
        except InputError:
            outcome = REFUSED
        except BaseException as error:
            outcome = f"{BROKEN}: {type(error).__name__}"
        print(outcome, flush=True)


def table(found: dict[tuple[str, str], Counter[str]]) -> str:
    """Format the counts for reading."""
    lines = [f"{'codec':9} {'damage':10} outcomes"]
    for (codec, kind), counts in found.items():
        lines.append(f"{codec:9} {kind:10} {', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        _read()
    else:
        print(table(outcomes(range(int(sys.argv[1])))))
