"""Which worker computes which blocks: each has a region of its own, so that few windows are computed by two of them.

A worker goes through its region in ascending order, which its memo of windows is made for. One whose region is finished
takes over half of the largest that is left; what a worker leaves behind when it goes is for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

_SHARES = 4
"""A task is this part of what is left of a region, until it is a single block: then all workers end together."""


class Regions:
    """The blocks that are still to be given out.

    Args:
        indices: Indices of the blocks, in an order in which consecutive ones are neighbours.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        self._free: list[Sequence[int]] = [indices] if len(indices) else []
        self._of: dict[str, Sequence[int]] = {}

    def __bool__(self) -> bool:
        """Whether blocks are left."""
        return bool(self._free or any(self._of.values()))

    def settle(self, workers: Collection[str]) -> None:
        """Take the regions of workers that are not there any more."""
        for worker in [worker for worker in self._of if worker not in workers]:
            region = self._of.pop(worker)
            if region:
                self._free.append(region)

    def following(self, worker: str, workers: Collection[str], most: int) -> tuple[int, ...]:
        """Return the next blocks for a worker, in ascending order; empty if none are left.

        Args:
            worker: The worker.
            workers: All workers; those without a region get equal parts of what is free.
            most: Largest number of blocks.
        """
        region = self._of.get(worker) or self._taken(workers)
        length = min(most, max(1, len(region) // _SHARES))
        self._of[worker] = region[length:]
        return tuple(region[:length])

    def _taken(self, workers: Collection[str]) -> Sequence[int]:
        """A region for a worker that has none: part of the largest free one, or half of the largest of another."""
        if self._free:
            region = max(self._free, key=len)
            self._free.remove(region)
            share = -(-len(region) // max(1, sum(not self._of.get(worker) for worker in workers)))
            if len(region) > share:
                self._free.append(region[share:])
            return sorted(region[:share])
        if not any(self._of.values()):
            return ()
        other = max(self._of, key=lambda worker: len(self._of[worker]))
        region = self._of[other]
        half = len(region) // 2
        self._of[other] = region[:half]
        return region[half:]
