"""Objects in a cloud store, on a real S3 server behind a proxy that makes requests fail."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.objects import BUCKET, Proxy

from geoseg.errors import OutputError, SettingError, UnavailableError, WriteError
from geoseg.files import cloud
from geoseg.files.atomic import sha256
from geoseg.files.bucket import Bucket, is_bucket
from geoseg.location import Remote

Place = Callable[[str], str]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short repetitions."""
    patience = cloud.Patience(retries=2, seconds=5.0, longest=0.2, answers=3, small=0.5, large=2.0)
    monkeypatch.setattr(cloud, "PATIENCE", patience)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Keys in a folder of this test."""
    return lambda name: f"{tmp_path.name}/{name}"


@pytest.fixture
def bucket(hasty: None, proxy: Proxy) -> Bucket:
    """The bucket, behind the proxy."""
    return Bucket(Remote(f"s3://{BUCKET}/x"))


@pytest.mark.parametrize("kind", ["lose", "cut", "503", "503-after", "slow"])
@pytest.mark.parametrize("digest", ["", "stated"])
def test_a_put_whose_answer_is_lost_finds_its_own_write(
    bucket: Bucket, proxy: Proxy, place: Place, kind: str, digest: str
) -> None:
    proxy.fault(kind, key="part", seconds=0.8)
    version = bucket.create(place("part"), b"pixels", digest)
    assert proxy.faults[0].happened == 1
    found = bucket.read(place("part"))
    assert found is not None
    assert (found[0], found[1].version, found[1].digest) == (b"pixels", version, digest)


@pytest.mark.parametrize("digest", ["", "stated"])
def test_an_equal_object_counts_as_put_and_another_does_not(bucket: Bucket, place: Place, digest: str) -> None:
    assert bucket.create(place("part"), b"one", digest) == bucket.create(place("part"), b"one", digest)
    assert bucket.create(place("part"), b"two", digest and "other") is None
    found = bucket.read(place("part"))
    assert found is not None
    assert found[0] == b"one"


@pytest.mark.parametrize("kind", ["lose", "503-after", "slow"])
def test_a_replacement_whose_answer_is_lost_finds_its_own_write(
    bucket: Bucket, proxy: Proxy, place: Place, kind: str
) -> None:
    version = bucket.create(place("lease"), b"first")
    assert version is not None
    proxy.fault(kind, key="lease", seconds=0.8)
    second = bucket.replace(place("lease"), b"second", version)
    assert second not in (None, version)
    assert bucket.replace(place("lease"), b"third", version) is None
    assert bucket.replace(place("none"), b"third", version) is None
    found = bucket.read(place("lease"))
    assert found is not None
    assert found[0] == b"second"


def test_bursts_of_refusals_are_waited_for(bucket: Bucket, proxy: Proxy, place: Place) -> None:
    bucket.put(place("a"), b"1")
    for method in ("PUT", "GET", "HEAD"):
        proxy.fault("503", method=method, times=2)
    assert bucket.create(place("b"), b"2") is not None
    assert bucket.stat(place("b")) is not None
    assert [key for key, _ in bucket.keys(place(""))] == [place("a"), place("b")]
    assert all(fault.happened == 2 for fault in proxy.faults)


def test_a_server_that_stays_away_is_one_line_with_a_way_out(bucket: Bucket, proxy: Proxy, place: Place) -> None:
    for method in ("PUT", "GET", "HEAD"):
        proxy.fault("503", method=method, times=1000)
    with pytest.raises(WriteError, match=r"part: cannot be written \(.*503.*run the same command again") as written:
        bucket.create(place("part"), b"1")
    with pytest.raises(UnavailableError, match=r"part: cannot be read \(.*503") as read:
        bucket.read(place("part"))
    assert (written.value.exit_code, read.value.exit_code) == (74, 69)
    assert all("\n" not in str(error.value) and "<" not in str(error.value) for error in (written, read))
    # Three repetitions by obstore, for each of the three attempts and for the look at what is there.
    assert len(proxy.requests) < 30


def test_a_file_comes_and_goes_in_pieces(
    bucket: Bucket, proxy: Proxy, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.files.bucket._CHUNK", 5 << 20)
    path, back = tmp_path / "map.tif", tmp_path / "back.tif"
    path.write_bytes(bytes(range(256)) * (11 << 12))
    bucket.upload(place("map.tif"), path, sha256(path))
    assert sum(method == "PUT" for method, _ in proxy.requests) == 3
    found = bucket.download(place("map.tif"), back)
    assert found is not None
    assert found[0] == sha256(path) == sha256(back)
    assert found[1].digest == found[0]
    assert bucket.download(place("none"), back) is None


def test_an_upload_that_lost_bytes_is_refused(
    bucket: Bucket, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"pixels")
    stat = bucket.stat

    def short(key: str) -> object:
        found = stat(key)
        return found and dataclasses.replace(found, size=3)

    monkeypatch.setattr(bucket, "stat", short)
    with pytest.raises(WriteError, match="is not what was written there"):
        bucket.upload(place("map.tif"), path, sha256(path))


def test_keys_begin_after_and_end_with_a_prefix(bucket: Bucket, proxy: Proxy, place: Place) -> None:
    for name in ("claim-1", "lock", "part-1", "part-2", "partial", "z"):
        bucket.put(place(name), b"")
    assert [key for key, _ in bucket.keys(place("part-"))] == [place("part-1"), place("part-2")]
    assert [key for key, _ in bucket.keys(place("part"))] == [place(name) for name in ("part-1", "part-2", "partial")]
    asked = [path for method, path in proxy.requests if "list-type" in path]
    assert all("start-after" in path for path in asked)
    bucket.delete([place(name) for name in ("lock", "none", "part-1", "part-2", "partial", "z")])
    assert [key for key, _ in bucket.keys(place(""))] == [place("claim-1")]


def test_keys_behind_a_prefix_are_not_asked_for(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def pages(*_: object, **__: object) -> Iterator[list[dict[str, object]]]:
        yield [{"path": "run/part-1", "size": 0}, {"path": "run/q", "size": 0}]
        raise AssertionError("another page")

    monkeypatch.setattr(bucket._obstore, "list", pages)
    assert list(bucket.keys("run/part-")) == [("run/part-1", 0)]


def test_a_bucket_that_is_not_there(hasty: None, proxy: Proxy) -> None:
    with pytest.raises(OutputError, match="there is no bucket s3://elsewhere; create it first"):
        Bucket(Remote("s3://elsewhere/x")).create("x", b"")


@pytest.mark.parametrize("url", ["https://host/x", "s3:///x", "s3://"])
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(SettingError, match="is not a place in a bucket"):
        Bucket(Remote(url))


def test_without_obstore_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnavailableError, match="need obstore: pip install obstore"):
        Bucket(Remote("s3://maps/x"))


def test_locations_in_buckets() -> None:
    assert [is_bucket(Remote(url)) for url in ("s3://a/b", "GS://a/b", "az://a/b", "https://a/b", "/vsis3/a/b")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert not is_bucket(Path("s3://a/b"))


def test_a_profile_of_the_aws_tools_is_used(
    hasty: None, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = known\naws_secret_access_key = secret\n")
    (tmp_path / "config").write_text(f"[profile work]\nregion = eu-west-1\nendpoint_url = {proxy.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    Bucket(Remote(f"s3://{BUCKET}/x")).put("profile", b"1")
    assert "Credential=known/" in proxy.authorization
    assert "/eu-west-1/" in proxy.authorization
    monkeypatch.setenv("AWS_PROFILE", "play")
    with pytest.raises(SettingError, match="there is no profile play"):
        Bucket(Remote(f"s3://{BUCKET}/x"))
