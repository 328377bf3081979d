"""Superpixels compared with other libraries, in speed, peak memory and quality; and with themselves, for exactness.

    python benchmarks/superpixels.py --image orthophoto.tif --bsds folder/of/jpg/and/mat --scenes a.tif b.tif

Speed and memory: `--crop` x `--crop` pixels of a uint8 RGB raster from `--corner` on, colour conversion and
connectivity included. All implementations run in turn; medians are shown. Each timed run follows an untimed one of the
same implementation, because fresh memory from the system costs as much time as the work. Every peer that can be
imported takes part: scikit-image, fast-slic, OpenCV (contrib) and SimpleITK, with the same numbers of seeds and
iterations.

Quality: BSDS500, mean over images and over the human segmentations G of each, for superpixels S of N pixels in all:
- boundary recall: share of the pixels of boundaries of G with a boundary of S within 2 pixels (a square of 5 x 5);
- undersegmentation error: 1/N sum over G sum over S that meet G of min(|S and G|, |S - G|) (Neubert, Protzel 2012);
- achievable segmentation accuracy: 1/N sum over S of max over G of |S and G| (Liu et al. 2011).
Counts never agree exactly, so scikit-image runs at many counts, and its means are interpolated at ours (in log count).

Exactness: the ids of whole scenes are compared with those of blocks of several sizes, of two threads, and of a torch
device (`--device cuda` for a GPU, with its speed).
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.segments.superpixels import colour, halo, segment

Image = NDArray[np.uint8]  # (rows, cols, 3)
Run = Callable[[Image], NDArray[Any]]


def geoseg(image: Image, size: int, iterations: int, threads: int) -> NDArray[Any]:
    pixels = np.moveaxis(image, 2, 0)
    valid = np.ones(image.shape[:2], bool)
    colours = colour(pixels, valid, threads=threads)
    return segment(colours, valid, size=size, iterations=iterations, threads=threads).labels


def scikit_image(image: Image, size: float, iterations: int, sigma: float = 0) -> NDArray[Any]:
    from skimage.segmentation import slic

    count = int(image[..., 0].size / size**2)
    return np.asarray(slic(image, count, compactness=10, max_num_iter=iterations, start_label=1, sigma=sigma))


def fast_slic(image: Image, size: int, iterations: int, threads: int) -> NDArray[Any]:
    avx2 = importlib.import_module("fast_slic.avx2")
    count = image[..., 0].size // size**2
    slic = avx2.SlicAvx2(num_components=count, compactness=10, num_threads=threads)
    return np.asarray(slic.iterate(np.ascontiguousarray(image), max_iter=iterations))


def opencv(image: Image, size: int, iterations: int) -> NDArray[Any]:
    cv2 = importlib.import_module("cv2")
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLIC, size, 10.0)
    slic.iterate(iterations)
    slic.enforceLabelConnectivity(25)
    return np.asarray(slic.getLabels())


def simple_itk(image: Image, size: int, iterations: int) -> NDArray[Any]:
    sitk = importlib.import_module("SimpleITK")
    slic = sitk.SLICImageFilter()
    slic.SetSuperGridSize([size, size])
    slic.SetMaximumNumberOfIterations(iterations)
    slic.SetNumberOfThreads(1)
    return np.asarray(sitk.GetArrayFromImage(slic.Execute(sitk.GetImageFromArray(image, isVector=True))))


def contestants(size: int, iterations: int) -> dict[str, Run]:
    """Return the implementations that can be imported, geoseg first."""
    fixed: dict[str, Any] = {"size": size, "iterations": iterations}
    runs: dict[str, Run] = {f"geoseg, {t} threads": partial(geoseg, threads=t, **fixed) for t in (1, 2)}
    runs["scikit-image"] = partial(scikit_image, **fixed)
    for t in (1, 2):
        runs[f"fast-slic AVX2, {t} threads"] = partial(fast_slic, threads=t, **fixed)
    runs |= {"OpenCV": partial(opencv, **fixed), "SimpleITK": partial(simple_itk, **fixed)}
    needs = {"fast-slic": "fast_slic.avx2", "OpenCV": "cv2.ximgproc", "SimpleITK": "SimpleITK"}
    for prefix, module in needs.items():
        try:
            importlib.import_module(module)
        except ImportError:
            runs = {name: run for name, run in runs.items() if not name.startswith(prefix)}
    return runs


def read_crop(path: Path, corner: tuple[int, int], crop: int) -> Image:
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path) as source:
        pixels = source.read([1, 2, 3], window=Window(corner[1], corner[0], crop, crop))
    return np.ascontiguousarray(np.moveaxis(pixels, 0, 2))


def native(name: str, image: Image) -> Image:
    """Return the image in the memory layout that the library reads: bands apart for ours, as rasters are read."""
    if name.startswith("geoseg"):
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(image, 2, 0)), 0, 2)
    return image


def _peak(run: Run, image: Image, results: Any) -> None:
    """Put the growth of this process's peak memory by one run, in MiB."""
    run(image[:256, :256])
    before = _high_water()
    run(image)
    results.put(_high_water() - before)


def _high_water() -> float:
    """Return the peak memory of this process in MiB; getrusage would count that of its parent before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak_memory(run: Run, image: Image) -> float:
    """Return the memory in MiB that a run needs beyond its input, measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_peak, args=(run, image, results))
    process.start()
    peak = float(results.get())
    process.join()
    return peak


def measure_speed(image: Image, size: int, iterations: int, repeats: int) -> Iterator[str]:
    """Yield the lines of the table of speed and memory."""
    runs = contestants(size, iterations)
    times: dict[str, list[float]] = {name: [] for name in runs}
    counts = {name: len(np.unique(run(image[:512, :512]))) for name, run in runs.items()}
    for _ in range(repeats):
        for name, run in runs.items():
            taken = native(name, image)
            run(taken)
            start = time.perf_counter()
            labels = run(taken)
            times[name].append(time.perf_counter() - start)
            counts[name] = len(np.unique(labels))
    megapixels = image[..., 0].size / 1e6
    reference = statistics.median(times["scikit-image"])
    yield f"{'implementation':24}{'Mpx/s':>8}{'x scikit-image':>16}{'MiB per Mpx':>13}{'regions':>9}"
    for name, run in runs.items():
        median = statistics.median(times[name])
        memory = peak_memory(run, native(name, image)) / megapixels
        yield f"{name:24}{megapixels / median:8.2f}{reference / median:16.1f}{memory:13.1f}{counts[name]:9}"


def boundaries(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark both pixels of every 4-neighbour pair with different labels."""
    marks = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        step = np.diff(labels, axis=axis) != 0
        pad = [(0, 0), (0, 0)]
        for side in ((0, 1), (1, 0)):
            pad[axis] = side
            marks |= np.pad(step, pad)
    return marks


def score(labels: NDArray[Any], truths: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return (boundary recall, undersegmentation error, achievable accuracy), means over the truths."""
    from scipy.ndimage import maximum_filter

    near = maximum_filter(boundaries(labels).astype(np.uint8), 5) > 0
    rows = []
    for truth in truths:
        edge = boundaries(truth)
        width = int(truth.max()) + 1
        common = np.bincount((labels.astype(np.int64) * width + truth).ravel(), minlength=(labels.max() + 1) * width)
        common = common.reshape(-1, width)
        rest = common.sum(axis=1, keepdims=True) - common
        error = np.where(common > 0, np.minimum(common, rest), 0).sum() / labels.size
        rows.append((near[edge].mean() if edge.any() else 1.0, error, common.max(axis=1).sum() / labels.size))
    return np.asarray(np.mean(rows, axis=0), np.float64)


def read_bsds(folder: Path, limit: int) -> list[tuple[Image, list[NDArray[Any]]]]:
    from PIL import Image as Pictures
    from scipy.io import loadmat

    pairs = []
    for path in sorted(folder.glob("*.jpg"))[:limit]:
        people = loadmat(path.with_suffix(".mat"))["groundTruth"][0]
        truths = [person["Segmentation"][0, 0].astype(np.int64) for person in people]
        pairs.append((np.array(Pictures.open(path)), truths))
    return pairs


def average(run: Run, pairs: list[tuple[Image, list[NDArray[Any]]]]) -> NDArray[np.float64]:
    """Return means over the images: (regions, boundary recall, undersegmentation error, achievable accuracy)."""
    rows = []
    for image, truths in pairs:
        labels = np.unique(run(image), return_inverse=True)[1].reshape(image.shape[:2])
        rows.append((labels.max() + 1, *score(labels, truths)))
    return np.asarray(np.mean(rows, axis=0), np.float64)


def measure_quality(folder: Path, limit: int) -> Iterator[str]:
    """Yield the lines of the table of quality: ours, and the difference to scikit-image at the same count."""
    pairs = read_bsds(folder, limit)
    yield f"{len(pairs)} images; differences are geoseg - scikit-image (with its defaults; then with sigma 1)"
    yield f"{'size':>5}{'iterations':>11}{'regions':>9}{'recall':>9}{'':18}{'under.':>9}{'':18}{'accuracy':>9}"
    sides = (36, 31, 27, 23, 19, 16, 13.5, 11.5)
    curves = [
        np.array([average(partial(scikit_image, size=side, iterations=10, sigma=sigma), pairs) for side in sides])
        for sigma in (0, 1)
    ]
    for size in (32, 21, 14):
        for iterations in (10, 7, 5, 3):
            own = average(partial(geoseg, size=size, iterations=iterations, threads=1), pairs)
            line = f"{size:5}{iterations:11}{own[0]:9.1f}"
            for k in (1, 2, 3):
                peers = [np.interp(np.log(own[0]), np.log(curve[:, 0]), curve[:, k]) for curve in curves]
                line += f"{own[k]:9.4f}" + "".join(f"{own[k] - peer:+9.4f}" for peer in peers)
            yield line


def measure_exactness(path: Path, device: str) -> Iterator[str]:
    """Yield how many pixels of a scene get other ids in blocks, with threads and on a device; all should be 0."""
    import torch

    from geoseg.raster.scene import Scene
    from geoseg.raster.statistics import band_stats, colour_scale
    from geoseg.segments.device import TorchBackend

    with Scene(path) as scene:
        pixels, valid = scene.read(scene.extent)
        stats = band_stats([scene])
    offset, scale = colour_scale(stats, str(pixels.dtype))
    colours = colour(pixels, valid, offset=offset, scale=scale)
    settings: dict[str, Any] = {"size": 16, "iterations": 5}
    whole = segment(colours, valid, **settings)
    expected = whole.ids[whole.labels]
    count = len(whole.ids) - 1
    yield f"{path.name}: {pixels.dtype} {pixels.shape}, {1 - valid.mean():.0%} invalid, {count} superpixels"
    twice = segment(colours, valid, **settings, threads=2)
    yield f"  2 threads: {np.count_nonzero(twice.ids[twice.labels] != expected)} pixels differ"
    for side in (512, 1000, 2048):
        differing = sum(_differing(colours, valid, block, expected, settings) for block in _blocks(valid.shape, side))
        yield f"  blocks of {side}: {differing} pixels differ"
    backend = TorchBackend(torch.device(device))
    found = segment(colours, valid, **settings, backend=backend)
    start = time.perf_counter()
    segment(colours, valid, **settings, backend=backend, threads=8)
    speed = valid.size / 1e6 / (time.perf_counter() - start)
    yield f"  torch on {device}: {np.count_nonzero(found.ids[found.labels] != expected)} differ; {speed:.1f} Mpx/s"


def _blocks(shape: tuple[int, ...], side: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def _differing(
    colours: NDArray[np.int16],
    valid: NDArray[np.bool_],
    block: tuple[slice, slice],
    expected: NDArray[np.uint32],
    settings: dict[str, Any],
) -> int:
    """Count the pixels of a block whose ids, computed from the block and its halo alone, are not those expected."""
    by, size = halo(settings["size"], settings["iterations"]), settings["size"]
    starts = [max(span.start - by, 0) // size * size for span in block]
    rows, cols = (slice(start, span.stop + by) for start, span in zip(starts, block, strict=True))
    core = tuple(slice(span.start - start, span.stop - start) for start, span in zip(starts, block, strict=True))
    part = segment(
        np.ascontiguousarray(colours[:, rows, cols]), np.ascontiguousarray(valid[rows, cols]), **settings,
        origin=(starts[0], starts[1]), scene_shape=valid.shape, core=(core[0], core[1]),
    )  # fmt: skip
    return int(np.count_nonzero(part.ids[part.labels][core] != expected[block]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="uint8 raster whose first three bands are red, green, blue")
    parser.add_argument("--corner", type=int, nargs=2, default=(0, 0), metavar=("ROW", "COL"))
    parser.add_argument("--crop", type=int, default=4000, help="pixels on a side (default %(default)s)")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bsds", type=Path, help="folder of BSDS500 images (jpg) and segmentations (mat)")
    parser.add_argument("--limit", type=int, default=200, help="images of BSDS500 to use (default %(default)s)")
    parser.add_argument("--scenes", type=Path, nargs="+", default=[], help="rasters to segment in several ways")
    parser.add_argument(
        "--device", default="cpu", help="torch device to compare with the kernels (default %(default)s)"
    )
    options = parser.parse_args()
    if not (options.image or options.bsds or options.scenes):
        parser.error("give --image, --bsds or --scenes")
    if options.image:
        image = read_crop(options.image, options.corner, options.crop)
        for line in measure_speed(image, options.size, options.iterations, options.repeats):
            print(line, flush=True)
    if options.bsds:
        for line in measure_quality(options.bsds, options.limit):
            print(line, flush=True)
    for path in options.scenes:
        for line in measure_exactness(path, options.device):
            print(line, flush=True)


if __name__ == "__main__":
    main()
