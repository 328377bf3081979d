"""Leases: who holds one, and what becomes of those of dead processes, on a real S3 server."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.objects import BUCKET, Proxy

from geoseg.errors import LockedError, UnavailableError
from geoseg.files import lease as leases
from geoseg.files.bucket import Bucket
from geoseg.files.lease import Lease, check_conditions, holder
from geoseg.location import Remote

ENDED = 2**22 + 1
"""A number that no process of Linux has."""


@pytest.fixture
def bucket(proxy: Proxy) -> Bucket:
    """The bucket, behind the proxy."""
    return Bucket(Remote(f"s3://{BUCKET}/x"))


@pytest.fixture
def key(tmp_path: Path) -> str:
    """Key of the lease."""
    return f"{tmp_path.name}/claim-000001"


def later(monkeypatch: pytest.MonkeyPatch, bucket: Bucket, seconds: float) -> None:
    """Let the clock of the store, as the bucket tells it, go ahead."""
    now = bucket.now
    monkeypatch.setattr(bucket, "now", lambda key: now(key) + seconds)


def foreign(bucket: Bucket, key: str, **values: Any) -> None:
    """Put a lease of a process on another machine."""
    bucket.put(key, json.dumps({"host": "node7", "pid": 1, "machine": "node7 x 1", "nonce": "n", **values}).encode())


def test_one_process_holds_a_lease_until_it_gives_it_up(bucket: Bucket, key: str) -> None:
    held = Lease.take(bucket, key)
    assert held is not None
    assert Lease.take(bucket, key) is None
    found = holder(bucket, key)
    assert found is not None
    assert found.alive
    assert found.silent < 5
    held.check()
    held.release()
    held.release()
    assert bucket.stat(key) is None
    again = Lease.take(bucket, key)
    assert again is not None
    again.release()


def test_a_lease_that_could_not_be_deleted_is_free_for_the_same_process(
    bucket: Bucket, proxy: Proxy, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Lease.take(bucket, key)
    assert held is not None
    with monkeypatch.context() as patched:
        patched.setattr(bucket, "delete", lambda keys: bucket._raise(key, ValueError(), writing=True))
        held.release()
    assert bucket.stat(key) is not None
    again = Lease.take(bucket, key)
    assert again is not None
    assert Lease.take(bucket, key) is None
    again.release()


@pytest.mark.parametrize("kind", ["lose", "503-after"])
def test_a_lease_is_taken_though_the_answer_is_lost(bucket: Bucket, proxy: Proxy, key: str, kind: str) -> None:
    proxy.fault(kind, key="claim")
    held = Lease.take(bucket, key)
    assert held is not None
    held.release()


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_that_race_for_a_lease_one_gets_it(bucket: Bucket, key: str, dead: bool) -> None:
    if dead:
        foreign(bucket, key, machine=leases._machine(), pid=ENDED)
    gate, taken = threading.Barrier(6), []

    def race() -> None:
        gate.wait()
        taken.append(Lease.take(bucket, key))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [lease for lease in taken if lease is not None]
    assert (len(taken), len(held)) == (6, 1)
    held[0].check()
    held[0].release()


def test_a_living_process_elsewhere_keeps_its_lease_and_a_dead_one_loses_it(
    bucket: Bucket, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(bucket, key)
    assert Lease.take(bucket, key) is None
    # By the clock of this machine the lease is an hour old, or of an hour ahead: that does not matter.
    for shift in (-3600, 3600):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda shift=shift, now=time.time: now() + shift)
            assert Lease.take(bucket, key) is None
    later(monkeypatch, bucket, 61)
    found = holder(bucket, key)
    assert found is not None
    assert not found.alive
    assert str(found) == "process 1 on node7"
    held = Lease.take(bucket, key)
    assert held is not None
    held.release()


def test_a_process_of_this_machine_that_has_ended_loses_its_lease_at_once(bucket: Bucket, key: str) -> None:
    foreign(bucket, key, machine=leases._machine(), pid=ENDED)
    held = Lease.take(bucket, key)
    assert held is not None
    held.release()


def test_whoever_was_taken_for_dead_neither_goes_on_nor_gives_up_what_is_not_his(
    bucket: Bucket, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Lease.take(bucket, key)
    assert held is not None
    foreign(bucket, key)
    monkeypatch.setattr(held, "_renewed", held._renewed - 61)
    with pytest.raises(LockedError, match="process 1 on node7 took over while this process was suspended"):
        held.check()
    held.release()
    assert bucket.stat(key) is not None


@pytest.mark.parametrize("kind", ["lose", "503-after", ""])
def test_heartbeats_keep_a_lease_though_answers_are_lost(bucket: Bucket, proxy: Proxy, key: str, kind: str) -> None:
    held = Lease.take(bucket, key)
    assert held is not None
    before = bucket.stat(key)
    if kind:
        proxy.fault(kind, key="claim")
    held._renew()
    held._renew()
    held.check()
    after = bucket.stat(key)
    assert before is not None
    assert after is not None
    assert after.version != before.version
    held.release()
    assert bucket.stat(key) is None


def test_a_heartbeat_that_failed_but_arrived_does_not_lose_the_lease(
    bucket: Bucket, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Lease.take(bucket, key)
    assert held is not None
    version = held._version
    held._renew()
    monkeypatch.setattr(held, "_version", version)
    held._renew()
    held.check()
    held.release()


def test_a_server_that_ignores_conditions_is_refused(bucket: Bucket, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_conditions(bucket, key)
    put = bucket._put
    monkeypatch.setattr(bucket, "_put", lambda key, data, digest, mode: put(key, data, digest, "overwrite"))
    with pytest.raises(UnavailableError, match="ignores conditions of puts"):
        check_conditions(bucket, key)
    folder = key.rpartition("/")[0]
    assert [found for found, _ in bucket.keys(f"{folder}/")] == []
