"""What is kept from block to block: it changes the speed of later blocks, never the result.

Logits of windows and choices of seeds are functions of the scene, the model and the settings alone, so whether a block
computes them or an earlier one did is the same.

    +-------------+-------------+      Superpixels of a block depend on the choices of all cells within its frame (1).
    |    +- - - - |- - - -+     |      Those that the blocks on the left and above it have computed too are known; what
    |    | known  | known |     |      is left is `fresh` (2), which is about as large as the block. Only for this are
    +----|--+=====|=======+=+   |      pixels read, converted and iterated, with the cells around it on which its
    |    |kn|     | 1     | |   |      choices depend.
    |    |ow| block       | |   |
    |    +- | - - | - - -2+ |   |
    +-------+=====+=========+---+
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Span, Window
from geoseg.prediction.blend import Field
from geoseg.prediction.plan import Plan
from geoseg.segments.superpixels import LABEL_REACH

MEMO_BYTES = 512 << 20
"""Default memory for the logits of windows that later blocks need. Windows that do not fit are computed again."""

CHOICE_BYTES = 128 << 20
"""Memory for the choices of cells that later blocks need: by default enough for a scene 190,000 pixels wide."""

_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""How memory is mapped for this process alone; Windows has no other."""

Key = TypeVar("Key", bound=Hashable)


class Halves:
    """Logits that a network computed in bfloat16, as the half of their bits that are not 0.

    Args:
        bits: uint16 (h, w, K).
    """

    def __init__(self, bits: NDArray[np.uint16]) -> None:
        self._bits = bits

    @classmethod
    def of(cls, field: Field) -> Halves | Field:
        """Return what takes the least memory and has exactly the values of `field`."""
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        halves = field.view(np.uint16).reshape(*field.shape, 2)
        if halves[..., low].any() or not field.size:
            return field
        return cls(_apart(halves[..., high]))

    @classmethod
    def copied(cls, bits: NDArray[np.uint16]) -> Halves:
        """Return logits of bfloat16, whose bits are given, uint16 (h, w, K)."""
        return cls(_apart(bits))

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self._bits.nbytes

    def __getitem__(self, rows: slice) -> Field:
        """Return some rows of the logits, float32 (rows, w, K)."""
        wide = self._bits[rows].astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)


def _apart(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in memory of its own.

    What stays for many blocks would hold up gaps in the heap between arrays that do not, and more of them in each row.
    """
    if not array.size:
        return array.copy()
    copy: NDArray[Any] = np.frombuffer(mmap.mmap(-1, array.nbytes, **_PRIVATE), array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


Kept = TypeVar("Kept", bound="NDArray[Any] | Halves")


class Memo(Generic[Key, Kept]):
    """Arrays, each kept until the last block that needs it. Blocks are computed in the order of their rank.

    Args:
        plan: The plan.
        max_bytes: Memory for arrays between blocks.
        blocks: Numbers of the blocks that this process computes; None for all of the plan.
    """

    def __init__(self, plan: Plan, max_bytes: int, blocks: Sequence[int] | None = None) -> None:
        self._plan, self._max_bytes = plan, max_bytes
        every = range(len(plan.blocks))
        self._ranks = every if blocks is None or blocks == every else sorted(map(plan.blocks.rank, blocks))
        self._arrays: dict[Key, Kept] = {}
        self._last: dict[Key, int] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._arrays

    def get(self, key: Key) -> Kept:
        """Return an array in the memo."""
        return self._arrays[key]

    def add(self, key: Key, value: Kept, needing: Window) -> None:
        """Add an array for the block that is being computed, and for those that share a pixel with `needing`."""
        last = self._plan.blocks.last_touching(needing, self._ranks)
        self._arrays[key], self._last[key] = value, -1 if last is None else last

    def release(self, block: Block) -> None:
        """Drop what no block after `block` needs, then what is needed last until the rest fits."""
        rank = self._plan.blocks.rank(block.index)
        for key in [key for key in self._arrays if self._last[key] <= rank]:
            self._drop(key)
        excess = sum(value.nbytes for value in self._arrays.values()) - self._max_bytes
        for key in sorted(self._arrays, key=lambda key: (-self._last[key], key)):
            if excess <= 0:
                break
            excess -= self._drop(key)

    def _drop(self, key: Key) -> int:
        """Drop an array; return the bytes that it took."""
        del self._last[key]
        return self._arrays.pop(key).nbytes


class WindowMemo(Memo[tuple[int, int], "Field | Halves"]):
    """Logits (h, w, K) of windows by their lattice position; the arguments are those of `Memo`."""

    def __init__(self, plan: Plan, max_bytes: int = MEMO_BYTES, blocks: Sequence[int] | None = None) -> None:
        super().__init__(plan, max_bytes, blocks)

    def put(self, position: tuple[int, int], value: Field | Halves) -> None:
        """Add a window for the block that is being computed."""
        self.add(position, value, self._plan.needing(position))


class ChoiceMemo(Memo[Window, NDArray[np.uint8]]):
    """Choices of seeds (`geoseg.segments.cells`), uint8 (cell rows, cell cols, T), by windows of cells of the scene.

    Args:
        plan: The plan.
        blocks: As for `Memo`.
        max_bytes: As for `Memo`.
    """

    def __init__(self, plan: Plan, blocks: Sequence[int] | None = None, max_bytes: int = CHOICE_BYTES) -> None:
        super().__init__(plan, max_bytes, blocks)

    def fresh(self, cells: Window) -> Window:
        """Return the smallest window that holds all of `cells` that are not in the memo; it may be empty."""
        missing = np.ones(cells.shape, np.bool_)
        for known in self._arrays:
            common = known.intersect(cells)
            if common.pixels:
                missing[common.within(cells)] = False
        spans = []
        for span, axis in ((cells.rows, 1), (cells.cols, 0)):
            places = np.flatnonzero(missing.any(axis=axis))
            spans.append(Span(span.start + int(places[0]), span.start + int(places[-1]) + 1) if len(places) else None)
        rows, cols = spans
        return (
            Window.of(cells.rows.start, cells.cols.start, 0, 0) if rows is None or cols is None else Window(rows, cols)
        )

    def completed(self, cells: Window, fresh: Window, computed: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Return the choices of `cells`: those of `fresh`, which were computed, and others from the memo."""
        if computed is not None and fresh == cells:
            return computed
        pieces = [*self._arrays.items(), *([] if computed is None else [(fresh, computed)])]
        choices = np.empty((*cells.shape, pieces[0][1].shape[2]), np.uint8)
        for window, values in pieces:
            common = window.intersect(cells)
            if common.pixels:
                choices[common.within(cells)] = values[common.within(window)]
        return choices

    def put(self, block: Block, cells: Window, choices: NDArray[np.uint8]) -> None:
        """Keep those choices of a block, which needs `cells`, that the blocks on its right and below need too."""
        plan, window = self._plan, block.window
        # The first cells that the neighbours need.
        rows, cols = (
            Span(max(part.start, (stop - plan.neighbourhood) // plan.cell - LABEL_REACH), part.stop)
            for part, stop in ((cells.rows, window.rows.stop), (cells.cols, window.cols.stop))
        )
        beside, below = (Span(stop, stop + 1) for stop in (window.cols.stop, window.rows.stop))
        around = window.expand(plan.halo, plan.grid.extent)
        for strip, needing in (
            (Window(cells.rows, cols), Window(window.rows, beside)),
            (Window(rows, cells.cols), Window(below, around.cols)),
        ):
            self.add(strip, _apart(choices[strip.within(cells)]), needing)
