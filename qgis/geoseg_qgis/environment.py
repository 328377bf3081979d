"""Python environments that have geoseg: finding one, and making one, apart from QGIS and from its own Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .process import GeosegError, Process, clean_environment
from .runner import Geoseg

VARIABLE = "GEOSEG_ENVIRONMENT"
"""Environment variable that chooses an environment before every setting, for `qgis_process` on a server."""

OLDEST_PYTHON = (3, 11)
WANTED_PYTHONS = ">=3.11,<3.14"
"""What uv is asked for, which can download any: newer ones may lack wheels of PyTorch and numba."""
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
RECORD = "geoseg-environment.json"
"""Says that `create` made an environment, and, once it is complete, which geoseg it has."""

_NAME = re.compile(r"geoseg\b(?!.*[/\\])(?!.*\.whl$)")
"""A name on a package index, not the path of a file or folder."""
_NOT_FOUND = re.compile(
    r"No matching distribution found for geoseg\b|geoseg\S* was not found|(no|not any) versions? of geoseg\b"
)
"""How pip and uv say that an index does not have it."""
_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3", "python")
_PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
_PROBE_SECONDS = 60.0

OnLine = Callable[[str], None]


def find(chosen: str = "", own: Path | None = None, variables: Mapping[str, str] | None = None) -> Geoseg:
    """Return the geoseg to use; it is not started.

    Args:
        chosen: What the user chose, if anything: the folder of an environment, its Python, or a geoseg program.
        own: Folder of the environment that the plugin makes.
        variables: Variables to add to the environment of geoseg, such as proxies.

    Raises:
        GeosegError: There is none, or not where the user chose it.
    """
    chosen = os.environ.get(VARIABLE, "").strip() or chosen.strip()
    if chosen:
        program = _program(Path(chosen).expanduser())
    elif own is not None and is_finished(own):
        program = _program(own)
    else:
        path = clean_environment(os.environ).get("PATH")
        found = shutil.which("geoseg", path=path)
        if found is None:
            raise GeosegError(
                "geoseg was not found: choose the Python environment that has it, or create one, in the settings of"
                " the plugin (menu Plugins > geoseg > Settings)"
            )
        program = (found,)
    return Geoseg(program, dict(variables or {}))


def is_finished(own: Path) -> bool:
    """Return whether the plugin's own environment is there, and complete."""
    try:
        record = json.loads((own / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and bool(record.get("geoseg")) and interpreter(own) is not None


def interpreter(folder: Path) -> Path | None:
    """Return the Python of an environment: of venv and uv, or of conda; None if the folder has none."""
    names = ("Scripts/python.exe", "python.exe") if sys.platform == "win32" else ("bin/python", "bin/python3")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _program(chosen: Path) -> tuple[str, ...]:
    """The command that runs the geoseg that was chosen."""
    if chosen.is_dir():
        python = interpreter(chosen)
        if python is None:
            raise GeosegError(f"{chosen}: the folder is no Python environment; choose one that has bin/ or Scripts/")
        return _module(python)
    if not chosen.is_file():
        raise GeosegError(f"{chosen}: no such environment; choose another in the settings of geoseg")
    return _module(chosen) if chosen.name.lower().startswith("python") else (str(chosen),)


def _module(python: Path) -> tuple[str, ...]:
    # Not the script beside it: that one names its Python by a path that may have changed. -P: what lies in the working
    # directory is not imported.
    return (str(python), "-P", "-m", "geoseg")


@dataclass(frozen=True)
class Installation:
    """What to install, and how.

    Attributes:
        source: What pip installs: a name on a package index, a wheel, or a folder with pyproject.toml.
        index: Address of a package index, or folder of wheels, instead of PyPI.
        cpu_only: Whether to take PyTorch for CPUs alone, which is gigabytes smaller.
        python: Python to make the environment with; empty looks for one.
        variables: Variables to add to the environment of the installer, such as proxies.
    """

    source: str = "geoseg"
    index: str = ""
    cpu_only: bool = False
    python: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def checkout() -> Path | None:
    """Return the checkout of geoseg that this plugin runs from; None for an installed one."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").is_file() and (folder / "geoseg" / "__main__.py").is_file() else None


def create(
    folder: Path,
    installation: Installation,
    on_line: OnLine,
    cancelled: Callable[[], bool] | None = None,
) -> Geoseg:
    """Make an environment and install geoseg into it, with uv where it is there, else with venv and pip.

    Args:
        folder: Folder of the environment; one that this function made before is replaced.
        installation: What to install.
        on_line: Called for each command and for each line that it prints.
        cancelled: Asked ten times a second; when it is true, the installer is told to end.

    Returns:
        The geoseg of the environment, which has been started once.

    Raises:
        GeosegError: It cannot be made, or was cancelled. What was made of it is removed.
    """
    _check_folder(folder)
    uv = None if installation.python else shutil.which("uv", path=clean_environment(os.environ).get("PATH"))
    base = "" if uv else installation.python or find_python()
    try:
        _remove(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for command in commands(folder, installation, uv, base):
            _stream(command, installation, on_line, cancelled)
            _record(folder, None, installation.source)
        python = interpreter(folder)
        if python is None:
            raise GeosegError(f"{folder}: the environment that was made has no Python")
        geoseg = Geoseg(_module(python), dict(installation.variables))
        version = ".".join(map(str, geoseg.version()))
        _record(folder, version, installation.source)
    except OSError as error:
        _remove(folder)
        raise GeosegError(f"{error.filename or folder}: {error.strerror or error}") from None
    except BaseException:
        _remove(folder)
        raise
    on_line(f"geoseg {version} is ready in {folder}")
    return geoseg


def commands(folder: Path, installation: Installation, uv: str | None, base: str) -> Iterator[list[str]]:
    """Yield the commands that make an environment.

    Args:
        folder: Folder of the environment.
        installation: What to install.
        uv: The program uv, if it is there.
        base: Otherwise, the Python to make the environment with.
    """
    python = str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    if uv:
        yield [uv, "venv", "--python", WANTED_PYTHONS, str(folder)]
        install = [uv, "pip", "install", "--python", python]
    else:
        yield [base, "-I", "-m", "venv", str(folder)]
        install = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        install += ["--progress-bar", "off"]
    if installation.cpu_only and sys.platform != "darwin":  # PyTorch for macOS is without CUDA anyway
        yield [*install, "--index-url", TORCH_CPU_INDEX, "torch", "torchvision"]
    yield [*install, *_index(installation.index), installation.source]


def _index(index: str) -> list[str]:
    if not index:
        return []
    return ["--no-index", "--find-links", index] if Path(index).is_dir() else ["--index-url", index]


def find_python() -> str:
    """Return a Python that environments can be made with.

    QGIS's own comes last: on Windows and macOS `sys.executable` is QGIS itself, and its Python is one of a bundle.

    Raises:
        GeosegError: There is none of `OLDEST_PYTHON` or newer that has venv and pip.
    """
    found = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is None:
            found.append(f"{candidate} (has no venv or pip)")
        elif version < OLDEST_PYTHON:
            found.append(f"{candidate} ({'.'.join(map(str, version))})")
        else:
            return candidate
    seen = f"; not usable: {', '.join(found)}" if found else ""
    wanted = ".".join(map(str, OLDEST_PYTHON))
    raise GeosegError(
        f"no Python {wanted} or newer was found{seen}: install one from python.org (Debian and Ubuntu: also"
        " python3-venv), or install uv, and try again"
    )


def _candidates() -> Iterator[str]:
    """Pythons on this machine, the best first, each once."""
    path = clean_environment(os.environ).get("PATH")
    names = [shutil.which(name, path=path) for name in _PYTHONS]
    launcher = shutil.which("py", path=path)  # on Windows, it knows Pythons that are not on the search path
    if launcher:
        names.insert(0, _answer([launcher, "-3", "-I", "-c", "import sys; print(sys.executable)"]))
    bundled = "python.exe" if sys.platform == "win32" else "bin/python3"
    names += [sys.executable, str(Path(sys.base_prefix) / bundled)]
    for name in dict.fromkeys(names):
        if name and Path(name).name.lower().startswith("python") and Path(name).is_file():
            yield name


def _version(python: str) -> tuple[int, int] | None:
    """Version of a Python; None if it does not start, as the placeholder on Windows, or cannot make environments."""
    words = (_answer([python, "-I", "-c", _PROBE]) or "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdecimal, words)) else None


def _answer(command: Sequence[str]) -> str | None:
    """What a program prints; None if it fails."""
    try:
        with Process(command) as process:
            end = time.monotonic() + _PROBE_SECONDS
            for _ in process.lines(lambda: time.monotonic() > end):
                pass
    except GeosegError:
        return None
    return process.output.strip() if process.status == 0 else None


def _stream(
    command: Sequence[str],
    installation: Installation,
    on_line: OnLine,
    cancelled: Callable[[], bool] | None,
) -> None:
    words = (re.sub(r"//[^/@]+@", "//***@", word) for word in command)  # passwords of an index
    on_line("> " + " ".join(f'"{word}"' if " " in word else word for word in words))
    last, missing = "", False
    with Process(command, installation.variables, merged=True) as process:
        for line in process.lines(cancelled):
            on_line(line)
            last = line if line.strip() else last
            missing = missing or _NOT_FOUND.search(line) is not None
    if process.cancelled:
        raise GeosegError("cancelled; nothing is kept")
    if process.status:
        failed = f"{Path(command[0]).name} ended with status {process.status}: {last.strip() or 'no message'}"
        raise GeosegError(failed + (_way_out(installation) if missing and _NAME.match(installation.source) else ""))


def _way_out(installation: Installation) -> str:
    """What to do where the index does not have geoseg."""
    if installation.index:
        return f". There is no {installation.source} in {re.sub(r'//[^/@]+@', '//***@', installation.index)}"
    folder = checkout()
    such = f", here {folder}" if folder else ""
    return (
        f". Until geoseg's first release on PyPI, enter the path of a checkout or of a wheel of geoseg at Install{such}"
    )


def _record(folder: Path, version: str | None, source: str) -> None:
    (folder / RECORD).write_text(json.dumps({"geoseg": version, "source": source}), encoding="utf-8")


def _check_folder(folder: Path) -> None:
    """Refuse a folder that `create` did not make: it would be removed."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise GeosegError(f"{folder}: there is something else in this folder; delete it, or move it away")


def _remove(folder: Path) -> None:
    # First what makes it count as finished: a removal may be interrupted.
    with contextlib.suppress(FileNotFoundError):
        (folder / RECORD).unlink()
    if folder.is_dir():
        shutil.rmtree(folder)
