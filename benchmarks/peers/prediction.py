"""Class rasters by each peer's own tiling, as its documentation shows it; classes 1..K.

Each function takes (scene, model, out, window, overlap); windows are in pixels. `heavy` peers keep the logits of the
whole scene in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasters import write


def _spans(length: int, window: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, stop, from, to): what is read, and what of it is kept; half of each overlap is cut off."""
    start = 0
    while True:
        stop = min(start + window, length)
        yield start, stop, start + overlap // 2 if start else 0, stop if stop == length else stop - overlap // 2
        if stop == length:
            return
        start += window - overlap


def _loop(scene: Path, model: Path, out: Path, window: int, overlap: int, coarse: bool) -> None:
    """Read, predict and keep the middle of each window, with rasterio and torch alone."""
    import rasterio
    import torch
    from network import FullResolution
    from rasterio.windows import Window

    network = FullResolution(model)
    with rasterio.open(scene) as source, torch.inference_mode():
        classes = np.zeros(source.shape, np.uint8)
        for top, bottom, first, last in _spans(source.height, window, overlap):
            for left, right, west, east in _spans(source.width, window, overlap):
                pixels = source.read((1, 2, 3), window=Window(left, top, right - left, bottom - top))
                batch = torch.from_numpy(pixels)[None]
                if coarse:
                    batch = torch.nn.functional.pad(batch, (0, -batch.shape[3] % 4, 0, -batch.shape[2] % 4))
                    chosen = network.coarse(batch)[0].argmax(0).byte().numpy().repeat(4, 0).repeat(4, 1)
                else:
                    chosen = network(batch)[0].argmax(0).byte().numpy()
                classes[first:last, west:east] = chosen[first - top : last - top, west - left : east - left] + 1
    write(scene, out, classes)


def loop(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """Argmax of logits at full resolution."""
    _loop(scene, model, out, window, overlap, coarse=False)


def coarse_loop(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """Argmax of the network's logits at stride 4, each class for 4 x 4 pixels."""
    _loop(scene, model, out, window, overlap, coarse=True)


def torchgeo(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """GridGeoSampler, DataLoader and stack_samples; chips go where the sampler says, later ones over earlier ones."""
    import rasterio
    import torch
    from network import FullResolution
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    class Scene(RasterDataset):  # type: ignore[misc]
        filename_glob = scene.name
        filename_regex = re.escape(scene.name)

    dataset = Scene(str(scene.parent))
    sampler = GridGeoSampler(dataset, size=window, stride=window - overlap)
    loader = DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=stack_samples)
    network = FullResolution(model)
    with rasterio.open(scene) as source:
        transform, shape = ~source.transform, source.shape
    classes = np.zeros(shape, np.uint8)
    with torch.inference_mode():
        for (across, down, _), batch in zip(sampler, loader, strict=True):
            chosen = network(batch["image"][:, :3])[0].argmax(0).byte().numpy() + 1
            col, row = (round(value) for value in transform * (across.start, down.stop))
            skip = max(-row, 0), max(-col, 0)
            part = classes[max(row, 0) : row + chosen.shape[0], max(col, 0) : col + chosen.shape[1]]
            part[:] = chosen[skip[0] : skip[0] + part.shape[0], skip[1] : skip[1] + part.shape[1]]
    write(scene, out, classes)


def raster_vision(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """What its `predict_scene_ss` does, without a learner; half of each overlap is discarded."""
    import torch
    from network import FullResolution
    from rastervision.core.data import ClassConfig, RasterioSource, Scene, SemanticSegmentationLabels
    from rastervision.core.utils.misc import calculate_required_padding
    from rastervision.pytorch_learner import SemanticSegmentationSlidingWindowGeoDataset
    from torch.utils.data import DataLoader

    source = RasterioSource(str(scene), channel_order=[0, 1, 2])
    stride = window - overlap
    padding = calculate_required_padding(source.extent.size, window, stride, pad_direction="both", crop_sz=overlap // 2)
    dataset = SemanticSegmentationSlidingWindowGeoDataset(
        scene=Scene(id="scene", raster_source=source),
        size=window,
        stride=stride,
        padding=padding,
        pad_direction="both",
        normalize=False,
    )
    network = FullResolution(model)

    def predictions() -> Iterator[NDArray[np.uint8]]:
        with torch.inference_mode():
            for pixels, _ in DataLoader(dataset, batch_size=1):
                yield network(pixels)[0].argmax(0).byte().numpy()

    labels = SemanticSegmentationLabels.from_predictions(
        dataset.windows, predictions(), source.extent, network.classes, smooth=False, crop_sz=overlap // 2
    )
    names = ClassConfig(names=[f"class {index + 1}" for index in range(network.classes)])
    names.ensure_null_class()
    folder = out.with_suffix("")
    labels.save(str(folder), source.crs_transformer, names)
    import rasterio

    with rasterio.open(folder / "labels.tif") as written:
        write(scene, out, written.read(1) + 1)


def geoai(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """`geoai.inference.predict_geotiff` with its default blending."""
    from geoai.inference import predict_geotiff
    from network import FullResolution

    def classes(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
        chosen = logits.argmax(0).astype(np.uint8) + 1
        chosen[(logits == 0).all(0)] = 0  # what no window has a weight for is output_nodata, in all bands
        return chosen[None]

    network = FullResolution(model)
    predict_geotiff(
        network,
        str(scene),
        str(out),
        tile_size=window,
        overlap=overlap,
        batch_size=1,
        input_bands=[1, 2, 3],
        num_classes=network.classes,
        output_dtype="uint8",
        output_nodata=0,
        preprocess_fn=lambda tile: tile,
        postprocess_fn=classes,
        device="cpu",
        compress="deflate",
        verbose=False,
    )


def terratorch(scene: Path, model: Path, out: Path, window: int, overlap: int) -> None:
    """`tiled_inference` of the whole scene as one tensor, with its default padding and blending."""
    import rasterio
    import torch
    from network import FullResolution
    from terratorch.tasks.tiled_inference import tiled_inference

    with rasterio.open(scene) as source:
        image = torch.from_numpy(source.read((1, 2, 3)).astype(np.float32))[None]
    network = FullResolution(model)
    with torch.inference_mode():
        logits: Any = tiled_inference(network, image, crop=window, stride=window - overlap, batch_size=1)
    write(scene, out, logits[0].argmax(0).byte().numpy() + 1)
