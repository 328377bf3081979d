"""Damaged and malicious model files; some of them would execute code if they were unpickled."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from helpers.models import make_model
from safetensors.torch import load, save

from faults.cases import Bench, Tally
from geoseg.model.file import Model, save_model

_MEMORY = 24 << 30
"""Address space in bytes: more than the libraries need, far less than a card may ask for."""

_ABSURD: dict[str, Callable[[dict[str, Any]], object]] = {
    "a billion classes": lambda card: card["network"].update(classes=10**9),
    "a million bands": lambda card: card["network"].update(bands=10**6),
    "no band": lambda card: card["network"].update(bands=0),
    "classes by a word": lambda card: card["network"].update(classes="many"),
    "an encoder that is none": lambda card: card["network"].update(encoder="../../etc/passwd"),
    "windows of 2^40": lambda card: card["windows"].update(tile_size=2**40),
    "superpixels of 2^40": lambda card: card["superpixels"].update(size=2**40),
    "ten thousand bands of statistics": lambda card: card["statistics"].update(mean=[0.0] * 10_000),
    "statistics without an end": lambda card: card["statistics"].update(std=[float("inf")] * 3),
    "class ids of 2^40": lambda card: card["classes"][-1].update(id=2**40),
    "another format": lambda card: card.update(format="geoseg-model/99"),
    "a network that is a list": lambda card: card.update(network=[1, 2, 3]),
}


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def bad_models(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Yield (what is wrong, file) of every bad model; loading one as a pickle would create the folder `marker`."""
    good = folder / "good.safetensors"
    save_model(make_model(), good)
    whole = good.read_bytes()
    pickled = pickle.dumps(Payload(marker))
    length = struct.unpack("<Q", whole[:8])[0]
    yield from _written(folder, "a pickle", pickled, (".safetensors", ".pt"))
    for suffix in (".safetensors", ".pt"):
        path = folder / f"archive{suffix}"
        torch.save({"network": Payload(marker)}, path)
        yield f"an archive of torch, named {suffix}", path
    yield from _written(folder, "no card", save(load(whole)))
    yield from _written(folder, "a card that is none", save(load(whole), metadata={"geoseg": "[]"}))
    yield from _written(folder, "an endless header", struct.pack("<Q", 1 << 62) + whole[8:])
    yield from _written(folder, "a header of nothing", struct.pack("<Q", length) + b"\0" * length + whole[8 + length :])
    yield from _written(folder, "empty", b"")
    for share in (0.01, 0.5, 0.999):
        yield from _written(folder, f"cut to {share:.1%}", whole[: int(share * len(whole))])
    for change, name in ((_without_numbers, "NaN"), (_without_end, "infinite")):
        path = folder / f"{name}.safetensors"
        save_model(change(make_model()), path)
        yield f"{name} weights", path
    path = folder / "nir.safetensors"
    save_model(make_model(bands=4), path)
    yield "bands that the scene has not", path
    for name, change_card in _ABSURD.items():
        yield from _written(folder, name, with_card(whole, change_card))


def flipped(whole: bytes, count: int, card: bool, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (place, content) of a model with one bit flipped, in the header with the card or in the tensors."""
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    chance = random.Random(seed)
    for _ in range(count):
        place, bit = chance.randrange(*((0, start) if card else (start, len(whole)))), chance.randrange(8)
        yield f"bit {bit} of byte {place}", whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def refusals(bench: Bench) -> Tally:
    """Predict with every bad model: each run must exit with 65 and one line, execute nothing and write nothing."""
    tally, folder = Tally(), bench.folder()
    marker = folder / "executed"
    for label, path in bad_models(folder, marker):
        _refuse(bench, tally, label, path)
        if marker.exists():
            tally.wrong.append(f"{label}: was executed")
            marker.rmdir()
    return tally


def flips(bench: Bench, count: int, card: bool) -> Tally:
    """Predict with `count` models with one bit flipped; each must be refused."""
    tally, folder = Tally(), bench.folder()
    whole = (bench.inputs / "model.safetensors").read_bytes()
    for label, content in flipped(whole, count, card):
        path = folder / "flipped.safetensors"
        path.write_bytes(content)
        _refuse(bench, tally, label, path)
    return tally


def worn_card(bench: Bench) -> Tally:
    """Predict with a model in whose statistics one flipped bit has turned 120 into 121."""
    tally, path = Tally(), bench.folder() / "worn.safetensors"
    whole = (bench.inputs / "model.safetensors").read_bytes()
    path.write_bytes(whole.replace(b"120.0", b"121.0", 1))
    _refuse(bench, tally, "a digit of the statistics", path)
    return tally


def _refuse(bench: Bench, tally: Tally, label: str, model: Path) -> None:
    out = bench.folder()
    arguments = ["-q", "predict", bench.inputs / "scene.tif", "-m", model, "-o", out / "map.tif"]
    ended = bench.commands.run(arguments, limits={"AS": _MEMORY}, timeout=20)
    tally.trials += 1
    tally.codes[ended.code] += 1
    tally.seconds = max(tally.seconds, ended.seconds)
    one = len(ended.said) == 1 and ended.err.startswith("geoseg: error: ")
    one = one and (model.name in ended.err or "the model expects" in ended.err)
    if ended.code != 65 or not one or any(out.iterdir()):
        tally.wrong.append(f"{label}: exit {ended.code}, said {ended.err.strip()[:300]!r}")


def with_card(whole: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the bytes of the model with its card changed."""
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    card = json.loads(header["__metadata__"]["geoseg"])
    change(card)
    return save(load(whole), metadata={"geoseg": json.dumps(card, sort_keys=True)})


def _written(
    folder: Path, name: str, content: bytes, suffixes: tuple[str, ...] = (".safetensors",)
) -> Iterator[tuple[str, Path]]:
    for suffix in suffixes:
        path = folder / f"{name}{suffix}"
        path.write_bytes(content)
        yield f"{name}, named {suffix}", path


def _without_numbers(model: Model) -> Model:
    return _filled(model, float("nan"))


def _without_end(model: Model) -> Model:
    return _filled(model, float("inf"))


def _filled(model: Model, value: float) -> Model:
    with torch.no_grad():
        next(model.network.parameters()).view(-1)[7] = value
    return replace(model)
