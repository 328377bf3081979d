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
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Block, Span, Window, hull
from geoseg.prediction.blend import Field
from geoseg.prediction.plan import Plan
from geoseg.recipes import STRIDE
from geoseg.segments.superpixels import LABEL_REACH

MEMO_BYTES = 512 << 20
"""Default memory for the logits of windows that later blocks need. Windows that do not fit are computed again."""

CHOICE_BYTES = 128 << 20
"""Memory for the choices of cells that later blocks need: by default enough for a scene 190,000 pixels wide."""

FAR_BYTES = 32 << 20
"""Of these, memory for what no block needs before the row of blocks below is done, but the next strip does. It grows
with the height of the scene; what does not fit is computed again: with the default windows and 24 classes, a part of
those at the edges of strips where the scene is higher than some 20,000 pixels."""

_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""How memory is mapped for this process alone; Windows has no other."""

Key = TypeVar("Key", bound=Hashable)


class Logits:
    """Logits of a window, or those of them that are still needed, in memory of their own.

    Args:
        values: (h, w, K), float32, or uint16, which is the half of the bits that are not 0 after a network computed in
            bfloat16.
        corner: (row, col) of the first of them within the window.
        shape: (h, w) of the window; None if they are all of it.
    """

    def __init__(
        self, values: NDArray[Any], corner: tuple[int, int] = (0, 0), shape: tuple[int, int] | None = None
    ) -> None:
        self._values, self._corner = values, corner
        self._shape = (values.shape[0], values.shape[1]) if shape is None else shape

    @classmethod
    def of(cls, field: Field) -> Logits:
        """Return what takes the least memory and has exactly the values of `field`."""
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        halves = field.view(np.uint16).reshape(*field.shape, 2)
        return cls(_apart(field if halves[..., low].any() else halves[..., high]))

    @classmethod
    def copied(cls, bits: NDArray[np.uint16]) -> Logits:
        """Return logits of bfloat16, whose bits are given, uint16 (h, w, K)."""
        return cls(_apart(bits))

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self._values.nbytes

    def only(self, rows: Span, cols: Span) -> Logits:
        """Return those of some rows and columns of the window: themselves, where that would spare little."""
        (top, left), (height, width) = self._corner, self._values.shape[:2]
        own = Window.of(top, left, height, width)
        part = Window(rows, cols).intersect(own)
        if 4 * part.pixels > 3 * own.pixels:
            return self
        corner = part.rows.start, part.cols.start
        return Logits(_apart(self._values[part.within(own)]), corner, self._shape)

    def __getitem__(self, rows: slice) -> Field:
        """Return some rows of the logits, float32 (rows, w, K); those that are not needed any more have no meaning."""
        values, (top, left), (height, width) = self._values, self._corner, self._values.shape[:2]
        if (height, width) == self._shape:
            return _floats(values[rows])
        first, stop, _ = rows.indices(self._shape[0])
        field = np.empty((stop - first, self._shape[1], values.shape[2]), np.float32)
        there = Span(first, stop).intersect(Span(top, top + height))
        if there:
            found = values[there.start - top : there.stop - top]
            field[there.start - first : there.stop - first, left : left + width] = _floats(found)
        return field


def _floats(values: NDArray[Any]) -> Field:
    """Return the logits that `Logits` keeps as `values`."""
    if values.dtype == np.float32:
        return values
    wide = values.astype(np.uint32)
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


Kept = TypeVar("Kept", bound="NDArray[Any] | Logits")


class Memo(Generic[Key, Kept]):
    """Arrays, each kept until the last block that needs it. Blocks are computed in the order of their rank.

    Args:
        plan: The plan.
        max_bytes: Memory for arrays between blocks.
        blocks: Numbers of the blocks that this process computes; None for all of the plan.
        far_bytes: Memory for those of them that no block needs before the one below is computed.
    """

    def __init__(
        self, plan: Plan, max_bytes: int, blocks: Sequence[int] | None = None, far_bytes: int = FAR_BYTES
    ) -> None:
        self._plan, self._max_bytes, self._far_bytes = plan, max_bytes, far_bytes
        every = range(len(plan.blocks))
        self._ranks = every if blocks is None or blocks == every else sorted(map(plan.blocks.rank, blocks))
        self._arrays: dict[Key, Kept] = {}
        self._needed: dict[Key, list[int]] = {}
        """For each array, the ranks of the blocks that need it, ascending."""

    def __contains__(self, key: Key) -> bool:
        return key in self._arrays

    def get(self, key: Key) -> Kept:
        """Return an array in the memo."""
        return self._arrays[key]

    def add(self, key: Key, value: Kept, needing: Window) -> None:
        """Add an array for the block that is being computed, and for those that share a pixel with `needing`."""
        self._arrays[key] = value
        self._needed[key] = [rank for rank in self._plan.blocks.ranks_touching(needing) if self._computes(rank)]

    def release(self, block: Block) -> None:
        """Drop what no block after `block` needs, then what is needed last until the rest fits."""
        rank = self._plan.blocks.rank(block.index)
        for key, needed in [*self._needed.items()]:
            later = needed[bisect_right(needed, rank) :]
            if not later:
                self._drop(key)
            elif later != needed:
                self._needed[key] = later
                self._arrays[key] = self._left(key, self._arrays[key], later)
        far = rank + self._plan.blocks.strip_blocks
        self._fit([key for key, needed in self._needed.items() if needed[0] > far], self._far_bytes)
        self._fit([*self._arrays], self._max_bytes)

    def _computes(self, rank: int) -> bool:
        """Whether this process computes the block of a rank."""
        place = bisect_left(self._ranks, rank)
        return place < len(self._ranks) and self._ranks[place] == rank

    def _left(self, key: Key, value: Kept, ranks: Sequence[int]) -> Kept:
        """Return what the blocks of some ranks need of an array; here all of it."""
        return value

    def _fit(self, keys: Sequence[Key], max_bytes: int) -> None:
        """Drop those of some arrays that are needed last, until the rest fits."""
        excess = sum(self._arrays[key].nbytes for key in keys) - max_bytes
        for key in sorted(keys, key=lambda key: (-self._needed[key][-1], key)):
            if excess <= 0:
                break
            excess -= self._drop(key)

    def _drop(self, key: Key) -> int:
        """Drop an array; return the bytes that it took."""
        del self._needed[key]
        return self._arrays.pop(key).nbytes


class WindowMemo(Memo[tuple[int, int], "Field | Logits"]):
    """Logits (h, w, K) of windows by their lattice position; the arguments are those of `Memo`."""

    def __init__(
        self, plan: Plan, max_bytes: int = MEMO_BYTES, blocks: Sequence[int] | None = None,
        far_bytes: int = FAR_BYTES,
    ) -> None:  # fmt: skip
        super().__init__(plan, max_bytes, blocks, far_bytes)

    def put(self, position: tuple[int, int], value: Field | Logits) -> None:
        """Add a window for the block that is being computed."""
        self.add(position, value, self._plan.needing(position))

    def _left(self, key: tuple[int, int], value: Field | Logits, ranks: Sequence[int]) -> Field | Logits:
        if not isinstance(value, Logits):
            return value
        plan, window = self._plan, self._plan.grid.window(key)
        part = hull(*(plan.pooled(plan.blocks.at_rank(rank)).intersect(window) for rank in ranks))
        rows, cols = (
            Span(own.start // STRIDE - whole.start // STRIDE, -(-own.stop // STRIDE) - whole.start // STRIDE)
            for own, whole in ((part.rows, window.rows), (part.cols, window.cols))
        )
        return value.only(rows, cols)


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
