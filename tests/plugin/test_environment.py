"""Finding geoseg's environment, and making one. A fake uv and a fake package stand for a network and for gigabytes."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest
from geoseg_qgis import environment
from geoseg_qgis.environment import RECORD, Installation, commands, create, find, find_python, interpreter, is_finished
from geoseg_qgis.runner import GeosegError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fake programs are scripts of Unix")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)


def program(path: Path, body: str) -> Path:
    """A program for the shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return path


def wheel(folder: Path, version: str = "7.8.9") -> Path:
    """A wheel called geoseg that knows its version, and nothing else."""
    files = {
        "geoseg/__init__.py": "",
        "geoseg/__main__.py": f"print('geoseg, version {version}')",
        f"geoseg-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: geoseg\nVersion: {version}\n",
        f"geoseg-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"geoseg-{version}.dist-info/RECORD": "",
    }
    path = folder / f"geoseg-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_an_environment_its_python_or_a_program_can_be_chosen(tmp_path: Path) -> None:
    python = program(tmp_path / "my env" / "bin" / "python", "exit 0\n")
    expected = (str(python), "-P", "-m", "geoseg")
    assert find(str(tmp_path / "my env")).program == expected
    assert find(str(python)).program == expected
    geoseg = program(tmp_path / "geoseg", "exit 0\n")
    assert find(f" {geoseg} ").program == (str(geoseg),)


def test_a_choice_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GeosegError, match=r"the folder is no Python environment"):
        find(str(tmp_path))
    with pytest.raises(GeosegError, match=r"gone: no such environment; choose another"):
        find(str(tmp_path / "gone"))


def test_the_order_is_variable_choice_own_and_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    own = tmp_path / "own"
    with pytest.raises(GeosegError, match="geoseg was not found: choose the Python environment that has it, or create"):
        find("", own)
    on_path = program(tmp_path / "bin" / "geoseg", "exit 0\n")
    assert find("", own).program == (str(on_path),)
    python = program(own / "bin" / "python", "exit 0\n")
    assert find("", own).program == (str(on_path),), "an environment that is not finished does not count"
    (own / RECORD).write_text(json.dumps({"geoseg": "1.0"}))
    assert find("", own).program[0] == str(python)
    chosen = program(tmp_path / "chosen", "exit 0\n")
    assert find(str(chosen), own).program == (str(chosen),)
    monkeypatch.setenv(environment.VARIABLE, str(on_path))
    assert find(str(chosen), own).program == (str(on_path),)


def test_uv_makes_an_environment_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = program(tmp_path / "answers", "echo geoseg, version 7.8.9\n")
    body = f'if [ "$1" = venv ]; then mkdir -p "$4/bin"; cp "{python}" "$4/bin/python"; else echo "installed $5"; fi\n'
    monkeypatch.setenv("PATH", os.pathsep.join([str(program(tmp_path / "uv", body).parent), os.defpath]))
    lines: list[str] = []
    geoseg = create(tmp_path / "own", Installation(), lines.append)
    assert lines[2:] == ["installed geoseg", f"geoseg 7.8.9 is ready in {tmp_path / 'own'}"]
    assert find("", tmp_path / "own").program == geoseg.program
    assert create(tmp_path / "own", Installation(), lines.append).version() == (7, 8, 9), "it can be made anew"


@pytest.mark.soak
def test_an_environment_is_made_apart_from_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    folder, lines = tmp_path / "a profile" / "environment", list[str]()
    installation = Installation(source=str(wheel(tmp_path)), index=str(tmp_path), python=sys.executable)
    geoseg = create(folder, installation, lines.append)
    assert geoseg.version() == (7, 8, 9)
    assert is_finished(folder)
    assert find("", folder).program == geoseg.program
    assert (folder / "lib").is_dir()
    assert lines[0] == f'> {sys.executable} -I -m venv "{folder}"'
    assert any(line.startswith("Successfully installed geoseg-7.8.9") for line in lines)
    assert lines[-1] == f"geoseg 7.8.9 is ready in {folder}"


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = program(
        tmp_path / "uv dir" / "uv",
        """
        case "$1" in
        venv) mkdir -p "$4/bin"; ln -s /bin/true "$4/bin/python"; echo made;;
        pip) echo "proxy is $https_proxy"; echo "error: no wheels for torch" >&2; exit 2;;
        esac
        """,
    )
    monkeypatch.setenv("PATH", os.pathsep.join([str(fake.parent), os.defpath]))
    lines: list[str] = []
    installation = Installation(index="https://me:secret@index/simple", variables={"https_proxy": "http://p:1"})
    with pytest.raises(GeosegError, match=r"^uv ended with status 2: error: no wheels for torch$"):
        create(tmp_path / "own", installation, lines.append)
    assert not (tmp_path / "own").exists()
    assert "made" in lines
    assert "proxy is http://p:1" in lines
    assert not any("secret" in line for line in lines)


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: No matching distribution found for geoseg",
        "  ╰─▶ Because geoseg was not found in the package registry and you require geoseg, we",
    ],
)
def test_an_index_without_geoseg_leads_to_what_to_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    body = f'if [ "$1" = venv ]; then mkdir -p "$4"; else echo "{said}"; echo "the end"; exit 1; fi\n'
    monkeypatch.setenv("PATH", os.pathsep.join([str(program(tmp_path / "uv", body).parent), os.defpath]))

    def error(**options: str) -> str:
        with pytest.raises(GeosegError) as found:
            create(tmp_path / "own", Installation(**options), lambda _: None)  # type: ignore[arg-type]
        return str(found.value)

    root = Path(__file__).resolve().parents[2]
    assert error() == (
        "uv ended with status 1: the end. Until geoseg's first release on PyPI, enter the path of a checkout or of a"
        f" wheel of geoseg at Install, here {root}"
    )
    monkeypatch.setattr(environment, "checkout", lambda: None)
    assert error(source="geoseg[onnx]").endswith("a wheel of geoseg at Install")
    assert error(index="https://a:b@mirror/simple").endswith("There is no geoseg in https://***@mirror/simple")
    assert error(source="geoseg/dist/geoseg-1.0-py3-none-any.whl").endswith("the end")


def test_a_cancelled_installation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = program(tmp_path / "uv", 'if [ "$1" = venv ]; then mkdir -p "$4/bin"; else echo slow; exec sleep 60; fi\n')
    monkeypatch.setenv("PATH", os.pathsep.join([str(fake.parent), os.defpath]))
    lines: list[str] = []
    with pytest.raises(GeosegError, match="cancelled; nothing is kept"):
        create(tmp_path / "own", Installation(), lines.append, lambda: "slow" in lines)
    assert not (tmp_path / "own").exists()


def test_folders_of_others_are_not_replaced(tmp_path: Path) -> None:
    venv.create(tmp_path / "mine", with_pip=False)
    with pytest.raises(GeosegError, match="something else in this folder"):
        create(tmp_path / "mine", Installation(python=sys.executable), lambda _: None)
    assert interpreter(tmp_path / "mine") is not None


def test_commands_name_the_index_of_torch_for_cpus_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    wanted = Installation(source="geoseg[onnx]", index="https://mirror/simple", cpu_only=True)
    with_uv = list(commands(tmp_path / "e", wanted, "/bin/uv", ""))
    python = str(tmp_path / "e" / "bin" / "python")
    assert with_uv == [
        ["/bin/uv", "venv", "--python", ">=3.11,<3.14", str(tmp_path / "e")],
        [
            "/bin/uv",
            "pip",
            "install",
            "--python",
            python,
            "--index-url",
            environment.TORCH_CPU_INDEX,
            "torch",
            "torchvision",
        ],
        ["/bin/uv", "pip", "install", "--python", python, "--index-url", "https://mirror/simple", "geoseg[onnx]"],
    ]
    with_pip = list(commands(tmp_path / "e", Installation(), None, "/usr/bin/python3"))
    assert with_pip[0] == ["/usr/bin/python3", "-I", "-m", "venv", str(tmp_path / "e")]
    assert with_pip[1][:5] == [python, "-I", "-m", "pip", "install"]
    assert len(with_pip) == 2
    monkeypatch.setattr(sys, "platform", "darwin")
    assert len(list(commands(tmp_path / "e", wanted, None, "python3"))) == 2


def test_a_python_that_is_too_old_or_cannot_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "a" / "python3.13", "echo stub; exit 9\n")
    program(tmp_path / "a" / "python3", "echo 3 9\n")
    good = program(tmp_path / "b" / "python3.12", "echo 3 12\n")
    monkeypatch.setattr(sys, "executable", "/usr/bin/qgis")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "bundle"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b"), "/usr/bin", "/bin"]))
    assert find_python() == str(good)
    best = program(tmp_path / "c" / "python.exe", "echo 3 14\n")
    program(tmp_path / "a" / "py", f'[ "$1" = -3 ] && echo "{best}"\n')
    assert find_python() == str(best), "the launcher of Windows knows best"
    (tmp_path / "a" / "py").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    program(tmp_path / "a" / "cat", "exit 1\n")
    with pytest.raises(
        GeosegError, match=r"no Python 3\.11 or newer was found; not usable: .*python3\.13 \(has no venv"
    ):
        find_python()
