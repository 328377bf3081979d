"""The network's input is what normalisation and a conversion to bfloat16 give, to the bit."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import make_model

from geoseg.prediction.images import ImageTable
from geoseg.prediction.memo import Logits
from geoseg.prediction.stages import Edges, Stages
from geoseg.raster.scaling import Conversion
from geoseg.raster.statistics import BandStats

CPU = torch.device("cpu")


def stats_of(bands: int) -> BandStats:
    spread = tuple(np.linspace(3.3, 41.7, bands))
    return BandStats(tuple(np.linspace(-11.0, 97.3, bands)), spread, spread, tuple(2 * each for each in spread), 1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize(("bands", "pads"), [(3, ((0, 0), (0, 0))), (4, ((2, 5), (7, 1))), (1, ((0, 3), (0, 0)))])
def test_images_are_those_of_normalisation(dtype: str, bands: int, pads: Any) -> None:
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(bands).integers(info.min, info.max + 1, (bands, 23, 31)).astype(dtype)
    stats = stats_of(bands)
    normal = np.pad(stats.normalise(pixels, np.ones((23, 31), np.bool_)), ((0, 0), *pads), mode="edge")
    found = ImageTable(stats, pixels.dtype).image(pixels, pads)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found[0], torch.from_numpy(normal).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("dtype", "device", "precision", "suits"),
    [
        ("uint8", "cpu", torch.bfloat16, True), ("uint8", "cpu", torch.float32, False),
        ("uint8", "meta", torch.bfloat16, False), ("float32", "cpu", torch.bfloat16, False),
        ("uint32", "cpu", torch.bfloat16, False),
    ],
)  # fmt: skip
def test_only_small_integers_for_bfloat16_are_looked_up(
    dtype: str, device: str, precision: torch.dtype, suits: bool
) -> None:
    assert ImageTable.suits(np.dtype(dtype), torch.device(device), precision) == suits


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("conversion", [None, Conversion((2.0, 1.0, 0.5), (3.0, 0.0, -7.0), "uint8")])
def test_a_batch_has_the_logits_of_its_normalised_windows(holes: bool, conversion: Any) -> None:
    stages = Stages(make_model(), np.dtype("uint8"), CPU, torch.bfloat16, conversion)
    pixels = np.random.default_rng(4).integers(0, 256, (2, 3, 40, 52)).astype(np.uint8)
    valid = np.ones((40, 52), np.bool_)
    valid[3:20, 5:11] = not holes
    edges = Edges(True, False, False, True)
    batch = stages.batch([(each, valid) for each in pixels], edges)
    normal = np.stack([stages.normalise(each, valid, edges) for each in pixels])
    assert torch.equal(batch, torch.from_numpy(normal).to(torch.bfloat16))
    logits = stages.raw_logits(batch, (40, 52), edges)
    expected = stages.forward(normal, (40, 52), edges)
    for bits, field in zip(logits.view(torch.int16).numpy().view(np.uint16), expected, strict=True):
        assert np.array_equal(Logits.copied(bits)[0:10], field)
