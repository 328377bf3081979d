"""What the manifest of a run says, and how that differs from what another run would compute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from geoseg.runs.folder import MANIFEST
from geoseg.runs.store import Store
from geoseg.runs.stretches import Stretches


def read_manifest(store: Store) -> dict[str, Any] | None:
    """Return the manifest of a run; None if it is missing or malformed."""
    found = json_object(store, MANIFEST)
    return found if found is not None and isinstance(found.get("fingerprint"), dict) else None


def nodata_of(manifest: Mapping[str, Any] | None) -> Stretches:
    """Return the blocks that are all nodata by the manifest of a run."""
    return Stretches.parse((manifest or {}).get("nodata"))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ, as "a different scene" or "different settings: blend, overlap"."""
    changed = []
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
            changed += [f"{key}: {', '.join(inner)}"] if inner else []
        elif old != new:
            changed.append(key)
    return [f"different {text}" if text.partition(":")[0].endswith("s") else f"a different {text}" for text in changed]


def json_object(store: Store, name: str) -> dict[str, Any] | None:
    """Return the JSON object in the file; None if there is no file, or it holds something else."""
    data = store.read(name)
    try:
        content = None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
