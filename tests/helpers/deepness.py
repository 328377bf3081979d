"""What the QGIS plugin Deepness does with an ONNX file and a raster, by its documentation and source, in NumPy.

Deepness 0.6 and later: pixels of any type are divided by 255, standardised by the metadata of the file and cut into
square tiles, beyond the raster of zeros; of each tile it keeps what is not nearer to its edge than half the overlap,
except at the edges of the raster; the class of a pixel is the largest output, after those below the threshold were set
to 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def session(data: bytes) -> Any:
    """ONNX Runtime with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@dataclass
class Deepness:
    """A model as Deepness loads it; raises what would make it show an error."""

    data: bytes

    def __post_init__(self) -> None:
        self.session = session(self.data)
        (entry,), (out,) = self.session.get_inputs(), self.session.get_outputs()
        batch, self.bands, height, width = entry.shape
        # It puts the width into a field for numbers, and wants square outputs.
        if not (isinstance(width, int) and height == width and out.shape[2] == out.shape[3]):
            raise TypeError(f"no size of tiles in {entry.shape} or {out.shape}")
        if isinstance(batch, int):
            raise TypeError("the batch is fixed")
        meta = self.session.get_modelmeta().custom_metadata_map
        self.values = {key: json.loads(value) for key, value in meta.items()}
        assert str(self.values["model_type"]).capitalize() == "Segmentor"
        names = sorted(self.values["class_names"].items(), key=lambda entry: int(entry[0]))
        assert [int(key) for key, _ in names] == list(range(out.shape[1]))
        self.names, self.tile = [name for _, name in names], width

    def probabilities(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities (N, C, H, W) of tiles (N, H, W, bands), as the raster stores them."""
        mean, std = (
            np.array([float(value) for value in self.values[f"standardization_{name}"]], np.float32)
            for name in ("mean", "std")
        )
        images = np.float32(tiles * 1.0 / 255.0)
        images = (images - mean) / std
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        (found,) = self.session.run(None, {self.session.get_inputs()[0].name: batch})
        return np.asarray(found, np.float32)

    def map(self, pixels: NDArray[Any]) -> NDArray[np.int64]:
        """Channels (rows, cols) of a raster (bands, rows, cols)."""
        rows, cols = pixels.shape[1:]
        overlap = int(self.tile * self.values["tiles_overlap"] / 100 * 2) // 2
        stride, half = self.tile - overlap, overlap // 2
        counts = [max(0, -(-(length - self.tile) // stride)) + 1 for length in (rows, cols)]
        full = [(count - 1) * stride + self.tile for count in counts]
        padded = np.zeros((*full, len(pixels)), pixels.dtype)
        padded[:rows, :cols] = pixels.transpose(1, 2, 0)
        classes = np.zeros(full, np.int64)
        for i in range(counts[0]):
            for j in range(counts[1]):
                top, left = i * stride, j * stride
                found = self.probabilities(padded[None, top : top + self.tile, left : left + self.tile])[0]
                found[found < self.values["seg_thresh"]] = 0
                kept = [
                    slice(half * (n > 0), self.tile - half * (n < count - 1))
                    for n, count in zip((i, j), counts, strict=True)
                ]
                place = tuple(slice(s + k.start, s + k.stop) for s, k in zip((top, left), kept, strict=True))
                classes[place] = found.argmax(0)[tuple(kept)]
        return classes[:rows, :cols]
