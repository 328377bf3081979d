"""Compiled kernels are kept on the disk; what is damaged there, or cannot be kept, costs time only."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

SOURCE = """
from geoseg.kernels import compiled

@compiled
def doubled(number):
    return 2 * number
"""


@pytest.fixture
def doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Call a kernel as a new process would, with its cache in the folder "kept"."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    path = tmp_path / "doubling.py"
    path.write_text(SOURCE)

    def call(number: int) -> int:
        spec = importlib.util.spec_from_file_location("doubling", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["doubling"] = module
        try:
            spec.loader.exec_module(module)
            found: int = module.doubled(number)
        finally:
            del sys.modules["doubling"]
        return found

    return call


@pytest.mark.parametrize("content", [b"", b"damaged"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_written_again(
    suffix: str, content: bytes, doubled: Callable[[int], int], tmp_path: Path
) -> None:
    assert doubled(1) == 2
    (kept,) = (tmp_path / "kept").rglob(f"*.{suffix}")
    whole = kept.stat().st_size
    kept.write_bytes(content)
    assert doubled(2) == 4
    assert kept.stat().st_size == whole


def test_a_kernel_that_cannot_be_kept_is_used_all_the_same(
    doubled: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numba.core.caching.FunctionCache, "_save_overload", full)
    assert doubled(3) == 6
