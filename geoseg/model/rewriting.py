"""A model file with another card: its tensors are copied byte for byte, and no library that runs networks is needed.

A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON), and the tensors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.files.atomic import publishing
from geoseg.files.own import create
from geoseg.model.card import check_card, sealed
from geoseg.raster.guards import regular_file

_LENGTH = 8
_MAX_HEADER = 100 << 20
_ALIGNMENT = 8


def write_with_card(source: Path, card: Mapping[str, Any], out: Path) -> None:
    """Write a model file with the tensors of another and a card of its own.

    Args:
        source: The model file.
        card: The card, without its checksum or with an outdated one.
        out: The file to write; it may be `source`.

    Raises:
        InputError: `source` is damaged, or the card is not valid.
        WriteError: The file system failed; an old file is intact.
    """
    content = {key: value for key, value in card.items() if key != "card_sha256"}
    check_card(content)
    with regular_file(source).open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 0 < length <= _MAX_HEADER:
            raise InputError(f"{source}: is not a geoseg model; models are written by geoseg train")
        try:
            header = json.loads(file.read(length))
            header["__metadata__"] = {"geoseg": sealed(content)}
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{source}: its header is damaged; copy the model again") from error
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        with publishing(out) as temporary:
            # Nobody who may not read the old file reads the new one while it is written.
            create(temporary, 0o600 if out.exists() else 0o666)
            with temporary.open("wb") as target:
                target.write(len(text).to_bytes(_LENGTH, "little") + text)
                shutil.copyfileobj(file, target, 1 << 20)
            file.close()  # `out` may be `source`, and Windows replaces no open file.
