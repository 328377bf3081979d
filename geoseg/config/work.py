"""Settings of geoseg plan, geoseg work and geoseg finalize."""

from __future__ import annotations

import re
from dataclasses import dataclass

from geoseg.config.common import check_blocks
from geoseg.config.types import check_types
from geoseg.errors import SettingError
from geoseg.location import Location
from geoseg.recipes import check_range

MAX_SHARDS = 1_000_000


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the blocks of some runs.

    Attributes:
        number: Which part, from 1.
        count: Number of parts.

    Raises:
        SettingError: There is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MAX_SHARDS:
            raise SettingError(
                f"shard is {self}; write it as 3/16, the third of 16, of at most {MAX_SHARDS}, counted from 1"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard written as 3/16.

        Raises:
            SettingError: The text is something else.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)
        if match is None:
            raise SettingError(f"shard is {text!r}; write it as 3/16, the third of 16")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class PlanConfig:
    """Settings of `geoseg plan`.

    Attributes:
        arguments: The command and its arguments.
        shards: Number of parts into which the printed commands divide the blocks.
    """

    arguments: tuple[str, ...]
    shards: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        check_range("shards", self.shards, 1, MAX_SHARDS)


@dataclass(frozen=True)
class WorkConfig:
    """Settings of `geoseg work`.

    Attributes:
        runs: Runs that were planned.
        shard: The part of their blocks to compute; None is all that nobody has.
        assist: After the shard is finished, compute blocks of other shards that nobody has.
        device: Device, of the kind that the run was planned for; None is as planned.
        workers: Number of threads; None is as planned.
    """

    runs: tuple[Location, ...]
    shard: Shard | None = None
    assist: bool = False
    device: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_blocks(512, self.workers)
        if self.assist and self.shard is None:
            raise SettingError("assist goes on after a shard; without --shard all blocks that nobody has are computed")


@dataclass(frozen=True)
class FinalizeConfig:
    """Settings of `geoseg finalize`.

    Attributes:
        runs: Runs whose blocks are finished.
        keep_run: Keep the run directories.
    """

    runs: tuple[Location, ...]
    keep_run: bool = False

    def __post_init__(self) -> None:
        check_types(self)
