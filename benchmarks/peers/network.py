"""The network that every tool runs: that of a model of geoseg, from pixels to logits at full resolution."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[2]))

from geoseg.model.file import load_model
from geoseg.model.inference import inference_copy, select_precision

CPU = torch.device("cpu")


class FullResolution(nn.Module):
    """Maps pixels (B, 3, H, W), any type, as they are in the file, to float32 logits (B, K, H, W).

    Normalisation, folding, precision and memory format are those of `geoseg predict`, so that no tool computes a slower
    network than another.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        model: Any = load_model(path)
        self.classes = int(model.spec.classes)
        self.precision = select_precision("auto", CPU)
        self.network = inference_copy(model.network, CPU, self.precision)
        self.register_buffer("mean", torch.tensor(model.stats.mean, dtype=torch.float32)[:, None, None])
        self.register_buffer("std", torch.tensor(model.stats.std, dtype=torch.float32)[:, None, None])

    def coarse(self, pixels: Tensor) -> Tensor:
        """Return the logits (B, K, H / 4, W / 4) of pixels (B, 3, H, W); H and W are multiples of 4."""
        normalised = (pixels.float() - self.mean) / self.std
        ready = normalised.to(self.precision).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(ready)
        return logits.float().contiguous()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits (B, K, H, W); sides that are no multiples of 4 are filled up with zeros."""
        rows, cols = pixels.shape[-2:]
        filled = functional.pad(pixels, (0, -cols % 4, 0, -rows % 4))
        return functional.interpolate(self.coarse(filled), scale_factor=4, mode="bilinear")[..., :rows, :cols]
