"""What environment variables tell a process of the launch that it belongs to."""

from __future__ import annotations

import os
import socket

import pytest

from geoseg.errors import SettingError
from geoseg.launch import Launch

MET = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}
HERE = f"{socket.gethostname()}:{os.getppid()}"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, Launch(3, 8, 1, 2)),
        ({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}, Launch(3, 8, 1, 2, HERE)),
        ({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "2"}, Launch(3, 8, 1, 2, HERE, True)),
        # Machines that join a launch with a name are not counted.
        ({"TORCHELASTIC_RUN_ID": "job 7", "TORCHELASTIC_RESTART_COUNT": "0"}, Launch(3, 8, 1, 2, "job 7", True)),
        # By hand, one process on each machine.
        ({"LOCAL_RANK": "", "LOCAL_WORLD_SIZE": ""}, None),
        ({"MASTER_PORT": ""}, Launch()),
    ],
)
def test_a_launch_is_read_from_the_environment(more: dict[str, str], expected: Launch | None) -> None:
    found = {**MET, **more}
    if expected is None:
        assert Launch.of({name: value for name, value in found.items() if value}) == Launch(3, 8, 0, 1)
        return
    assert Launch.of(found) == expected
    assert Launch.of(found).first == (expected == Launch())


def test_a_process_that_nothing_launched_is_alone() -> None:
    assert Launch.of({"RANK": "0"}) == Launch() == Launch.of({})
    assert Launch().first


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"RANK": "8"}, "RANK is 8 of WORLD_SIZE 8"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK is 2 of LOCAL_WORLD_SIZE 2"),
        ({"WORLD_SIZE": "eight"}, "WORLD_SIZE is 'eight', not a number"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match="start with torchrun") as caught:
        Launch.of({**MET, **wrong})
    assert words in str(caught.value)
