"""Make the zip that QGIS installs the plugin from: `python qgis/package.py [FOLDER]`.

The same sources make the same bytes: files are in the order of their names, and all have the date of SOURCE_DATE_EPOCH,
by default 1980-01-01.
"""

from __future__ import annotations

import os
import re
import sys
import time
import zipfile
from pathlib import Path

PLUGIN = Path(__file__).resolve().parent / "geoseg_qgis"
SUFFIXES = (".py", ".svg", ".txt")
_OLDEST = 315532800
"""1980-01-01, the first date that a zip can hold."""


def contents() -> list[Path]:
    """Return the files of the plugin, in the order of their names."""
    found = [path for path in PLUGIN.rglob("*") if path.suffix in SUFFIXES or path.name == "LICENSE"]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def version() -> str:
    """Return the version that metadata.txt states."""
    found = re.search(r"^version=(\S+)$", (PLUGIN / "metadata.txt").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("metadata.txt: there is no version")
    return found[1]


def package(folder: Path) -> Path:
    """Write the zip.

    Args:
        folder: Folder to write it to; made if it is not there.

    Returns:
        The zip, `geoseg_qgis-VERSION.zip`. It holds one folder, `geoseg_qgis`, as QGIS wants it.
    """
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", _OLDEST)), _OLDEST))[:6]
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{PLUGIN.name}-{version()}.zip"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in contents():
            entry = zipfile.ZipInfo(path.relative_to(PLUGIN.parent).as_posix(), date)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return out


if __name__ == "__main__":
    print(package(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
