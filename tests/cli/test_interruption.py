"""Signals that only Windows has; the fault harness tests the others."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys

import pytest

from geoseg.cli import interruption


def test_ctrl_break_ends_the_work_as_sigterm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another signal stands for SIGBREAK, which a program can send on Windows, where SIGTERM cannot be caught."""
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR2, raising=False)
    spec = importlib.util.spec_from_file_location("geoseg.cli.interruption_of_windows", interruption.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with module.Interruption() as found:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGUSR2)
        assert found.exit_status == 143
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
