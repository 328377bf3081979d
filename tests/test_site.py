"""The documentation site is built without a warning, loads nothing from elsewhere, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("sphinx", "pydata_sphinx_theme", "myst_parser", "sphinx_copybutton")
MISSING = [name for name in PARTS if find_spec(name) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the site needs geoseg[docs]; missing: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as a user builds it, with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-n",
            "-q",
            "-d",
            folder / "trees",
            "docs",
            folder / "html",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder / "html"


def attributes(page: Path, names: str) -> list[str]:
    """Values of attributes of a page, such as "href|src"."""
    return [unquote(value) for value in re.findall(rf'\b(?:{names})="([^"]*)"', page.read_text(encoding="utf-8"))]


def html(site: Path) -> list[Path]:
    """The pages of the site, without templates that the theme keeps with its scripts."""
    return [path for path in site.rglob("*.html") if "_static" not in path.parts]


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix("").as_posix() for path in html(site)}
    assert pages <= built
    assert len(pages) > 40


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    """Those within the site; those to other sites are only looked at, not fetched."""
    anchors = {page.resolve(): set(attributes(page, "id")) for page in html(site)}
    wrong = []
    for page in anchors:
        for link in attributes(page, "href|src"):
            if re.match(r"[a-z]+:", link) or link in {"#", ""}:
                continue
            path, _, anchor = link.partition("#")
            there = (page.parent / path.split("?")[0]).resolve() if path else page
            if not there.is_file() or (anchor and there in anchors and anchor not in anchors[there]):
                wrong.append(f"{page.name}: {link}")
    assert not wrong


def test_links_to_other_sites_are_in_use(site: Path) -> None:
    """All are https, and into our own repository only to files that exist. They are listed, and not fetched."""
    found = {link for page in html(site) for link in attributes(page, "href") if re.match(r"[a-z]+:", link)}
    print(*sorted(found), sep="\n")
    own = "https://github.com/geoseg/geoseg/blob/main/"
    assert all(link.startswith("https://") for link in found)
    assert any(link.startswith(own) for link in found)
    for link in found:
        if link.startswith(own):
            assert (ROOT / link.removeprefix(own).partition("#")[0]).exists(), link


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Pages work without a network: scripts, styles, fonts and pictures lie on the site."""
    for page in html(site):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]*)"', text)
        loaded += re.findall(
            r'<link\b[^>]*\brel="(?:stylesheet|preload|icon|shortcut icon)"[^>]*\bhref="([^"]*)"', text
        )
        assert not [link for link in loaded if re.match(r"(https?:)?//", link)], page
    for style in (*site.glob("_static/**/*.css"),):
        found = re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]*)", style.read_text(encoding="utf-8"))
        assert not found, style


def test_options_and_formulas_are_made(site: Path) -> None:
    """Options come from click, functions from their docstrings, and formulas are MathML."""
    options = (site / "options.html").read_text(encoding="utf-8")
    assert "--superpixel-size" in options
    assert options.count('<section id="options-geoseg') > 20
    assert "Merge smaller regions into a neighbour" in (site / "api.html").read_text(encoding="utf-8")
    assert "<math" in (site / "method.html").read_text(encoding="utf-8")
