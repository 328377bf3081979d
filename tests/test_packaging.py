"""What is packaged is what is in the repository: wheel, conda recipe, image and workflows name all of it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from geoseg.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]

CONDA_NAMES = {"torch": "pytorch"}
"""Names on conda-forge that differ from those on PyPI."""


def installed_name(path: Path) -> str:
    """The name of a file of the repository inside the package: cli/ becomes geoseg/cli/."""
    name = path.relative_to(ROOT).as_posix()
    return f"geoseg/{name}" if name.startswith("cli/") else name


def wanted() -> set[str]:
    """Every file of geoseg/ and cli/ by its name in the wheel."""
    files = (path for folder in ("geoseg", "cli") for path in (ROOT / folder).rglob("*") if path.is_file())
    return {installed_name(path) for path in files if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def test_the_lists_of_packages_and_of_their_files_are_complete() -> None:
    """pyproject.toml lists them by hand: a new folder must not be missing from the wheel."""
    listed = set()
    for package in SETUPTOOLS["packages"]:
        folder = "cli" if package == "geoseg.cli" else package.replace(".", "/")
        patterns = ["*.py", *SETUPTOOLS["package-data"].get(package, ())]
        listed |= {installed_name(path) for each in patterns for path in (ROOT / folder).glob(each) if path.is_file()}
    assert listed == wanted()
    assert "geoseg/py.typed" in listed


def specifiers(requirements: list[str]) -> dict[str, str]:
    """Name -> its bounds."""
    found = map(Requirement, requirements)
    return {canonicalize_name(each.name): str(each.specifier) for each in found}


def test_the_conda_recipe_has_the_requirements_of_the_project() -> None:
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text()
    parts = dict(re.findall(r"^  (run|host|run_constraints):\n((?:    .*\n)+)", recipe, re.MULTILINE))
    section = {name: dict(re.findall(r"^    - (\S+) (>=\S+)$", text, re.MULTILINE)) for name, text in parts.items()}
    project = PROJECT["project"]
    run = {CONDA_NAMES.get(name, name): bound for name, bound in specifiers(project["dependencies"]).items()}
    assert section["run"] == run
    extras = project["optional-dependencies"]
    assert section["run_constraints"] == specifiers(extras["cloud"] + extras["dask"])
    assert specifiers(PROJECT["build-system"]["requires"]).items() <= section["host"].items()
    assert f'version: "{__version__}"' in recipe
    assert f'python_min: "{project["requires-python"].removeprefix(">=")}"' in recipe
    assert f"geoseg = {project['scripts']['geoseg']}" in recipe


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_versions_of_python_are_those_that_the_workflow_tests() -> None:
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    tested = re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", workflow)[1])  # type: ignore[index]
    classifiers = PROJECT["project"]["classifiers"]
    assert [text.rpartition(" ")[2] for text in classifiers if re.search(r":: 3\.\d+$", text)] == tested
    assert tested[0] == PROJECT["project"]["requires-python"].removeprefix(">=")


def test_the_image_has_a_version_for_every_requirement() -> None:
    lines = [line for line in (ROOT / "docker" / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    extras = PROJECT["project"]["optional-dependencies"]
    for text in PROJECT["project"]["dependencies"] + extras["cloud"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_the_dockerfile_is_understood_and_gets_its_files() -> None:
    spec = importlib.util.spec_from_file_location("check", ROOT / "docker" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    sys.modules["check"] = check
    try:
        spec.loader.exec_module(check)
    finally:
        del sys.modules["check"]
    steps = check.instructions()
    names = [name for name, _ in steps]
    assert set(names) <= {"ARG", "FROM", "ENV", "RUN", "COPY", "LABEL", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert dict(steps)["ENTRYPOINT"] == '["geoseg"]'
    user = int(dict(steps)["USER"].partition(":")[0])
    assert user > 0
    assert names.index("USER") > max(number for number, name in enumerate(names) if name in ("RUN", "COPY"))
    assert ":latest" not in dict(steps)["FROM"]
    given = set(check.context())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "geoseg").rglob("*.py")} <= given
    for rest in (rest for name, rest in steps if name == "COPY" and "--from" not in rest):
        for source in rest.split()[:-1]:
            assert any(name == source or name.startswith(f"{source}/") for name in given), source
    assert not [name for name in given if name.startswith(("tests/", "docs/", "examples/", ".git"))]


@pytest.mark.soak
def test_the_wheel_holds_everything_and_runs_by_itself(tmp_path: Path) -> None:
    """Built from the sdist, and imported from a clean environment, to which only the dependencies are added."""
    pytest.importorskip("build", reason="pip install build")
    subprocess.run([sys.executable, "-m", "build", "--outdir", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {name for name in names if not name.startswith("geoseg-")} == wanted()
    assert f"geoseg-{__version__}.dist-info/licenses/LICENSE" in names
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "clean"], check=True)
    python = tmp_path / "clean" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (Path(site.strip()) / "dependencies.pth").write_text("\n".join(dependencies))
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    script = "import geoseg, sys; print(geoseg.__file__)"
    place = subprocess.check_output([python, "-c", script], cwd=tmp_path, env=bare, text=True)
    assert place.startswith(site.strip())
    scene = ROOT / "examples" / "data" / "naip_2020.tif"
    command = [tmp_path / "clean" / "bin" / "geoseg", "superpixels", scene, "--out", "ids.tif"]
    subprocess.run(command, check=True, cwd=tmp_path, env=bare, capture_output=True)
    assert (tmp_path / "ids.tif").exists()
