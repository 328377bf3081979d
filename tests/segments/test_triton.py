"""Triton's kernels give the superpixels of the tensor operations: on a GPU, or slowly by Triton's own interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geoseg.segments.colours import root_table, xyz_table
from geoseg.segments.device import tensor_iterations
from geoseg.segments.lattice import SlicParameters
from geoseg.segments.superpixels import colour

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ALL = (slice(None), slice(None))
RUNS = DEVICE.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"


def noise(shape: tuple[int, ...], seed: int = 0) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Colours of patches, and their validity: single holes, and a large one."""
    random = np.random.default_rng(seed)
    valid = random.random((shape[0], *shape[2:])) > 0.03
    valid[:, 3:12, 2:13] = False
    return random.integers(-6000, 6400, shape).astype(np.int16), valid


@pytest.mark.skipif(RUNS, reason="the tests below run as they are")
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.soak
def test_all_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.replace("1 deselected", "")


@pytest.mark.skipif(not RUNS, reason="there is no GPU; test_all_in_the_interpreter needs none")
@pytest.mark.parametrize(
    ("size", "compactness", "iterations", "channels"),
    [(8, 10.0, 2, 3), (7, 3.3, 2, 2), (12, 200.0, 2, 1), (20, 10.0, 1, 3)],
)
def test_choices_are_those_of_tensor_operations(size: int, compactness: float, iterations: int, channels: int) -> None:
    from geoseg.segments import triton_kernels as kernels

    colours, valid = (torch.from_numpy(each).to(DEVICE) for each in noise((2, channels, 19, 22)))
    parameters = SlicParameters(size, compactness, iterations)
    for inner, inside in ((ALL, (19, 22)), ((slice(1, 18), slice(1, 20)), (60, 21))):
        expected = tensor_iterations(colours, valid, parameters, inner, inside)
        assert torch.equal(kernels.iterations(colours, valid, parameters, inner, inside), expected)


@pytest.mark.skipif(not RUNS, reason="there is no GPU; test_all_in_the_interpreter needs none")
def test_colours_are_those_of_the_cpu() -> None:
    from geoseg.segments import triton_kernels as kernels

    random = np.random.default_rng(1)
    pixels, valid = random.integers(0, 256, (3, 40, 70), np.uint8), random.random((40, 70)) > 0.1
    levels = np.broadcast_to(np.arange(256) / 255, (3, 256))
    tables: Any = (torch.from_numpy(table).to(DEVICE) for table in (xyz_table(levels), root_table()))
    there = torch.from_numpy(pixels).to(DEVICE), torch.from_numpy(valid).to(DEVICE)
    found = kernels.lab_of_bytes(*there, *tables)
    assert np.array_equal(found.cpu().numpy(), colour(pixels, valid))
    # Of a part, whose rows are not one after the other.
    part = there[0][:, 5:30, 7:60], there[1][5:30, 7:60]
    tables = (torch.from_numpy(table).to(DEVICE) for table in (xyz_table(levels), root_table()))
    assert torch.equal(kernels.lab_of_bytes(*part, *tables), found[:, 5:30, 7:60])
