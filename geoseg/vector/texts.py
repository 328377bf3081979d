"""What a vector format makes of the text of an attribute."""

from __future__ import annotations

from collections.abc import Iterable

MAX_SHAPEFILE_BYTES = 254
"""Of a text in the dBASE table of a Shapefile, as UTF-8."""


def held_text(text: str, driver: str) -> str:
    """Return a text as it reads back from a file of a format.

    Args:
        text: Without blanks around it; a Shapefile would drop those.
        driver: GDAL driver that writes the file.
    """
    if driver != "ESRI Shapefile":
        return text
    return text.encode()[:MAX_SHAPEFILE_BYTES].decode(errors="ignore").strip()


def shortened_message(names: Iterable[str], driver: str) -> str | None:
    """Return a warning about names that a format cuts; None where it holds them all."""
    cut = [name for name in names if held_text(name, driver) != name]
    if not cut:
        return None
    others = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
    return (
        f"a Shapefile holds {MAX_SHAPEFILE_BYTES} bytes of a name: {cut[0][:40]!r}...{others} will be cut; "
        "a .gpkg holds all of it"
    )
