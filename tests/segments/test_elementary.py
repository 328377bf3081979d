"""exp and log are those of numpy, but for the last bits; and the same bits wherever in an array they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.kernels import compiled
from geoseg.segments.elementary import exp, log


@compiled
def exps(values: Any) -> Any:
    found = np.empty_like(values)
    for k in range(len(values)):
        found[k] = exp(values[k])
    return found


@compiled
def logs(values: Any) -> Any:
    found = np.empty_like(values)
    for k in range(len(values)):
        found[k] = log(values[k])
    return found


ARGUMENTS = -np.logspace(-9, np.log10(87), 5000).astype(np.float32)
POSITIVE = np.logspace(-300, 300, 5000)


def test_exp_is_that_of_numpy() -> None:
    expected = np.exp(ARGUMENTS.astype(np.float64))
    assert np.abs(exps(ARGUMENTS) / expected - 1).max() < 2e-7
    beyond = np.array([0, -0.0, -87.1, -1e4, -3e38, -np.inf], np.float32)
    assert exps(beyond).tolist() == [1, 1, 0, 0, 0, 0]


def test_log_is_that_of_numpy() -> None:
    expected = np.log(POSITIVE)
    assert (np.abs(logs(POSITIVE) - expected) <= 1e-15 * (1 + np.abs(expected))).all()
    near = 1 + np.linspace(-0.5, 0.5, 1001)
    assert np.abs(logs(near) - np.log(near)).max() < 4e-16
    assert logs(np.ones(1)).tolist() == [0]


@pytest.mark.parametrize(("function", "values"), [(exps, ARGUMENTS), (logs, POSITIVE)])
def test_the_bits_do_not_depend_on_the_place_in_an_array(
    function: Callable[[NDArray[Any]], NDArray[Any]], values: NDArray[Any]
) -> None:
    whole = function(values)
    for first in range(1, 9):
        assert np.array_equal(function(values[first : first + 41].copy()), whole[first : first + 41])
    assert all(function(values[k : k + 1]) == whole[k] for k in range(0, len(values), 97))
