"""QGIS as the system has it, in a process of its own: its PROJ and GDAL are not those of this Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest


@cache
def qgis_python() -> str | None:
    """The system's Python, where it has QGIS's modules."""
    # Not the one this runs with: those modules are installed for the system's own.
    python = shutil.which("python3", path=os.defpath)
    if python is None:
        return None
    found = subprocess.run([python, "-I", "-c", "import qgis.core"], capture_output=True, timeout=120, check=False)
    return python if found.returncode == 0 else None


def require_qgis_python() -> str:
    """The system's Python with QGIS's modules; the test is skipped where there is none."""
    python = qgis_python()
    if python is None:
        pytest.skip("QGIS's Python modules are not here (Debian: apt-get install python3-qgis)")
    return python


def require_qgis_process() -> str:
    """The program `qgis_process`; the test is skipped where there is none."""
    # Debian's script of that name passes it an option that it does not know.
    found = shutil.which("qgis_process.bin", path=os.defpath) or shutil.which("qgis_process", path=os.defpath)
    if found is None:
        pytest.skip("qgis_process is not here (Debian: apt-get install --no-install-recommends qgis)")
    return found


def qgis_variables(home: Path) -> dict[str, str]:
    """An environment with neither this one's libraries, nor the user's settings.

    Args:
        home: Folder of the user and of QGIS's profile.
    """
    variables = {"PATH": os.defpath, "QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8"}
    return variables | {name: str(home) for name in ("HOME", "XDG_RUNTIME_DIR", "QGIS_CUSTOM_CONFIG_PATH")}
