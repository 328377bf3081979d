"""exp and log in IEEE 754 operations of one fixed order, for use in kernels.

Those of libraries differ in the last bit between processors, and where several values are computed at once, between
places in an array. Results that must be the same in any block use these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoseg.kernels import inlined

_LOWEST = np.float32(-87.0)
"""exp of anything less is 0 here, so that no result is subnormal."""

_BITS_PER_NAT = np.float32(1.44269504)
_LOG_2_HIGH, _LOG_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""Their sum is log 2; the first has 10 bits, so that its product with the exponent is exact (Cody and Waite 1980)."""

# exp(r) - 1 - r = r^2 (1/2 + r/6 + ..), the Taylor series: its remainder is less than 1e-8 for |r| <= log(2) / 2.
_C2, _C3, _C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_C5, _C6, _C7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)
_BIAS, _MANTISSA = 127, 23
"""Of float32: what is added to the exponent, and the bits that follow it."""

_BIAS_64, _MANTISSA_64, _MANTISSA_MASK_64 = np.int64(1022), np.int64(52), np.int64((1 << 52) - 1)
"""Of float64, with a fraction in [1/2, 1)."""

_LOG_2 = math.log(2)
_ROOT_HALF = math.sqrt(0.5)


@inlined
def exp(x: Any) -> Any:
    """Return exp(x) of a float32 x <= 0, as float32 with a relative error below 2e-7; 0 for x < -87."""
    bounded = max(x, _LOWEST)
    exponent = np.rint(bounded * _BITS_PER_NAT)
    r = (bounded - exponent * _LOG_2_HIGH) - exponent * _LOG_2_LOW
    series = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    power = np.int32((np.int32(exponent) + _BIAS) << _MANTISSA).view(np.float32)
    return (_ONE + (r + r * r * series)) * power if x >= _LOWEST else _ZERO


@inlined
def log(x: Any) -> Any:
    """Return the natural logarithm of a float64 x > 0, not subnormal, with an error below 1e-15 (1 + |log x|)."""
    # math.frexp would be a call of a C function, for which loops cannot be vectorised: it takes eight times as long.
    bits = np.float64(x).view(np.int64)
    exponent = (bits >> _MANTISSA_64) - _BIAS_64
    fraction = np.int64((bits & _MANTISSA_MASK_64) | (_BIAS_64 << _MANTISSA_64)).view(np.float64)
    if fraction < _ROOT_HALF:
        fraction, exponent = 2 * fraction, exponent - 1
    # log((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + s^5 / 5 + ..)
    s = (fraction - 1) / (fraction + 1)
    z = s * s
    series = 0.0
    for power in range(21, 0, -2):
        series = 1.0 / power + z * series
    return 2 * s * series + exponent * _LOG_2
