"""Blocks on a Dask cluster: every one of them once, whatever happens to workers, scheduler and blocks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from helpers.engines import marks, perform, processes

from geoseg.errors import InputError, InputMissingError, ResourceError, SettingError, UnavailableError
from geoseg.runs import clusters
from geoseg.runs import dask as engine
from geoseg.runs.tasks import Failure, compute

if TYPE_CHECKING:
    from distributed import Client

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of two workers on this machine."""
    with clusters.on_this_machine(2, threads=3, gpus=["4", "GPU-1f"]) as found:
        yield found


def indices_of(client: Client, folder: Path, indices: Sequence[int], **more: Any) -> list[int]:
    """Compute blocks; the indices of the receipts, as they come."""
    blocks = engine.Blocks(client, more.pop("perform", perform), str(folder), indices, **more)
    return [receipt.block.index for receipt in blocks.receipts()]


def test_every_block_is_computed_once_by_several_processes(client: Client, tmp_path: Path) -> None:
    indices = [*range(0, 40), *range(60, 101)]
    assert sorted(indices_of(client, tmp_path, indices)) == indices
    assert marks(tmp_path) == indices
    assert len(processes(tmp_path)) == 2
    assert os.getpid() not in processes(tmp_path)


def test_killed_workers_cost_time_only(client: Client, tmp_path: Path) -> None:
    (tmp_path / "seconds").write_text("0.03")
    killed: list[int] = []
    blocks, found = engine.Blocks(client, perform, str(tmp_path), range(60)), []
    for receipt in blocks.receipts():
        found.append(receipt.block.index)
        alive = [process for process in processes(tmp_path) if process not in killed and psutil.pid_exists(process)]
        if len(killed) < 3 and len(found) >= 8 * (len(killed) + 1) and alive:
            killed.append(max(alive))
            os.kill(killed[-1], signal.SIGKILL)
    assert len(killed) == 3
    assert sorted(found) == list(range(60))
    assert set(marks(tmp_path)) == set(range(60))


def test_a_block_that_ends_every_worker_is_named_once_all_others_are_finished(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.cluster is not None
    assert client.cluster.scheduler.allowed_failures == clusters.ALLOWED_FAILURES
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
    (tmp_path / "poison-17").touch()
    found: list[int] = []
    receipts = engine.Blocks(client, perform, str(tmp_path), range(32), "the {}th".format).receipts()
    words = r"^the 17th: every worker .* this block was killed.*--block-size"
    with pytest.raises(ResourceError, match=words) as raised:
        found.extend(receipt.block.index for receipt in receipts)
    assert sorted(found) == [index for index in range(32) if index != 17]
    assert str(raised.value).count("\n") == 0
    # In company, and then alone.
    assert marks(tmp_path).count(17) == 2


def test_an_error_of_geosegs_arrives_as_it_is_and_is_not_tried_again(client: Client, tmp_path: Path) -> None:
    (tmp_path / "bad-3").touch()
    with pytest.raises(InputError) as raised:
        indices_of(client, tmp_path, range(4))
    assert type(raised.value) is InputError
    assert str(raised.value) == "scene.tif: block 3 cannot be decoded; repair it"
    assert marks(tmp_path).count(3) == 1


def test_an_error_on_another_machine_says_on_which() -> None:
    error = InputMissingError("scene.tif: there is no such file")
    error.details = ("a detail",)
    located = engine._located(Failure(error, "node17"))
    assert (type(located), str(located)) == (InputMissingError, "scene.tif: there is no such file (on node17)")
    assert located.details == error.details


def test_another_error_is_tried_again_and_then_raised(client: Client, tmp_path: Path) -> None:
    (tmp_path / "odd-2").touch()
    with pytest.raises(ZeroDivisionError, match="block 2"):
        indices_of(client, tmp_path, range(3))
    assert marks(tmp_path).count(2) == 3


def test_a_block_that_another_process_works_on_is_asked_for_again(client: Client, tmp_path: Path) -> None:
    (tmp_path / "busy-1").touch()
    assert sorted(indices_of(client, tmp_path, range(4))) == [0, 1, 2, 3]
    assert marks(tmp_path).count(1) == 2


def test_another_version_of_geoseg_is_refused(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "__version__", "0.0.1")
    with pytest.raises(UnavailableError, match=r"has geoseg [\d.]+\S* and this process 0\.0\.1; install one version"):
        indices_of(client, tmp_path, range(2))
    assert marks(tmp_path) == []


def test_a_worker_without_geoseg_is_told_apart() -> None:
    error = ModuleNotFoundError("No module named 'geoseg'", name="geoseg")
    outer = RuntimeError("Error during deserialization of the task graph")
    outer.__cause__ = error
    assert isinstance(engine._explained(outer), UnavailableError)
    other = ModuleNotFoundError("No module named 'numpy'", name="numpy")
    assert engine._explained(other) is other


def test_few_tasks_are_under_way_and_nothing_of_a_finished_one_is_kept(client: Client, tmp_path: Path) -> None:
    client.wait_for_workers(2)
    blocks, most = engine.Blocks(client, perform, str(tmp_path), range(200)), 0
    for _ in blocks.receipts():
        most = max(most, len(blocks._under_way))
    # One of four has just ended.
    assert most == 3
    assert_forgotten(client)


def test_what_is_under_way_is_dropped_when_the_work_is_stopped(client: Client, tmp_path: Path) -> None:
    (tmp_path / "seconds").write_text("0.02")
    receipts = engine.Blocks(client, perform, str(tmp_path), range(400)).receipts()
    next(receipts)
    receipts.close()
    assert_forgotten(client)
    time.sleep(0.5)
    begun = len(marks(tmp_path))
    time.sleep(0.2)
    assert len(marks(tmp_path)) == begun < 60


def assert_forgotten(client: Client) -> None:
    """Neither the client nor the scheduler holds a task."""
    assert client.cluster is not None
    for _ in range(100):
        left = [key for key in client.cluster.scheduler.tasks if key[0].startswith("geoseg-")]
        if not left:
            break
        time.sleep(0.05)
    assert left == []
    assert [key for key in client.futures if key[0].startswith("geoseg-")] == []


def test_a_worker_sees_one_gpu_and_its_libraries_use_the_given_threads(client: Client) -> None:
    def look() -> tuple[str, str, bool]:
        return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"], "torch" in sys.modules

    before = dict(os.environ)
    assert sorted(client.run(look).values()) == [("4", "3", False), ("GPU-1f", "3", False)]
    assert set(client.nthreads().values()) == {1}
    assert dict(os.environ) == before
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None
    with pytest.raises(SettingError, match="3 workers need a GPU each, and there are 2; give --workers 2"):
        clusters.on_this_machine(3, gpus=["0", "1"]).__enter__()


def test_a_cluster_on_this_machine_listens_to_this_machine_and_with_certificates_only(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = psutil.Process()
    listening = {
        connection.laddr.ip
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert client.cluster is not None
    address, security = client.cluster.scheduler_address, client.cluster.security
    files = []
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        files.append(tmp_path / name)
        files[-1].write_text(getattr(security, name))
    with clusters.connected(address, (files[0], files[1], files[2])) as other:
        assert len(other.nthreads()) == 2
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    for given in (address, address.replace("tls:", "tcp:")):
        with pytest.raises(UnavailableError, match="no Dask scheduler answers there"):
            clusters.connected(given).__enter__()
    with pytest.raises(InputMissingError, match="nowhere"):
        clusters.connected(address, (tmp_path / "nowhere", None, None)).__enter__()


def test_a_scheduler_file_names_a_scheduler(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    with pytest.raises(InputMissingError, match="dask scheduler --scheduler-file"):
        clusters.address_in(path)
    for content in ("", "[]", "{}", '{"address": '):
        path.write_text(content)
        with pytest.raises(InputError, match="is not the file of a Dask scheduler"):
            clusters.address_in(path)
    path.write_text('{"type": "Scheduler", "address": "tcp://10.0.0.1:8786"}')
    assert clusters.address_in(path) == "tcp://10.0.0.1:8786"


def test_a_worker_computes_one_stretch_at_a_time(tmp_path: Path) -> None:
    """Whatever the number of its threads: a job is open once in a process."""
    (tmp_path / "seconds").write_text("0.1")
    answers: list[Any] = []
    name = "helpers.engines:perform"
    threads = [
        threading.Thread(target=lambda: answers.append(compute(name, str(tmp_path), [1, 2], engine.__version__)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert len(marks(tmp_path)) == 1
    for thread in threads:
        thread.join()
    assert [len(answer) for answer in answers] == [2, 2]
