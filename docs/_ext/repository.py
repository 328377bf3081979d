"""Pages of docs/ link to files by relative paths, as repository hosts have it; here they are made to work on the site.

A link out of docs/ leads to the page that shows the file, if there is one, and otherwise to the repository. Patterns in
a table of contents for which there is no page yet are left out.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/geoseg/geoseg/blob/main/"
SHOWN = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
"""File of the repository -> the page that shows it on the site."""

_PATTERN = re.compile(r"^([a-z/]*\*)\n", re.MULTILINE)
_COMMAND = re.compile(r"^(geoseg|pip|python\d?|torchrun|mkdir|cd|for|seq|find|dask|bash|#|\.) ", re.MULTILINE)
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(\))")


def rewritten(text: str, docname: str, home: str) -> str:
    """Return a page with those of its links changed that lead out of docs/.

    Args:
        text: Markdown.
        docname: The page on the site, relative to docs/, such as "commands/predict".
        home: Folder that the links of `text` start from, relative to the root of the repository.
    """

    def change(link: re.Match[str]) -> str:
        before, path, anchor, after = link.groups()
        target = posixpath.normpath(posixpath.join(home, path))
        if target in SHOWN:
            page = f"docs/{SHOWN[target]}.md"
        elif target.startswith("docs/"):
            page = target
        else:
            return f"{before}{REPOSITORY}{target}{anchor or ''}{after}"
        relative = posixpath.relpath(page, posixpath.dirname(f"docs/{docname}"))
        return f"{before}{relative}{anchor or ''}{after}"

    return _LINK.sub(change, text)


def without_empty_patterns(text: str, folder: Path, page: Path) -> str:
    """Return a page without those patterns of its table of contents, such as `install*`, that add nothing."""
    listed = {page, *(folder / f"{line}.md" for line in text.splitlines() if line.isascii() and len(line) < 80)}

    def keep(pattern: re.Match[str]) -> str:
        return pattern[0] if set(folder.glob(f"{pattern[1]}.md")) - listed else ""

    return _PATTERN.sub(keep, text)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    shown = {page: name for name, page in SHOWN.items()}.get(docname)
    if shown:
        app.env.note_dependency(str(ROOT / shown))
        source[0] = rewritten((ROOT / shown).read_text(encoding="utf-8"), docname, ".")
        return
    page = Path(app.env.doc2path(docname))
    text = without_empty_patterns(source[0], page.parent, page)
    source[0] = rewritten(text, docname, posixpath.dirname(f"docs/{docname}"))


def _colour(app: Sphinx, doctree: nodes.document) -> None:
    """Highlight indented blocks that are commands; MyST takes all of them for plain text."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "none" and _COMMAND.search(block.astext()):
            block["language"] = "bash"


def setup(app: Sphinx) -> dict[str, bool]:
    """Change links and highlight commands while pages are read."""
    app.connect("source-read", _read)
    app.connect("doctree-read", _colour)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
