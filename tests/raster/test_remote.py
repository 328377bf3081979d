"""Row 16: rasters in the network and in archives, refused unless they are allowed, and read as any other then."""

from __future__ import annotations

import json
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from helpers.commandline import assert_map_of, assert_refused, geoseg, untouched
from helpers.rasters import landscape, make_raster
from helpers.servers import serving
from helpers.tiffs import pages
from helpers.vrts import vrt

from geoseg.config import Opening
from geoseg.errors import InputError, InputMissingError, UnavailableError
from geoseg.grid import Window
from geoseg.location import Remote, locate
from geoseg.raster.remote import NETWORK_OPTIONS, network_options
from geoseg.raster.scene import Scene

ALLOWED = Opening(allow_remote=True)
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a COG of 1100 x 1300 pixels, to be served."""
    folder = tmp_path / "served" / "bucket"
    folder.mkdir(parents=True)
    plain = make_raster(tmp_path / "plain.tif", landscape(1100, 1300))
    rasterio.shutil.copy(plain, folder / "scene.tif", driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=256)
    return folder


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of the folder; S3 addresses lead to it too, and a request is tried once."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with serving(folder.parent) as server:
        settings = {
            "AWS_S3_ENDPOINT": f"127.0.0.1:{server.port}", "AWS_HTTPS": "NO", "AWS_NO_SIGN_REQUEST": "YES",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


def url(server: Any, path: str) -> str:
    """The address of a file."""
    return f"http://127.0.0.1:{server.port}/{path}"


@pytest.mark.parametrize(
    ("text", "shown", "name", "vsi"),
    [
        ("https://a.org/b/c.tif", "https://a.org/b/c.tif", "c.tif", "/vsicurl/https://a.org/b/c.tif"),
        ("https://u:p@a.org/c.tif?sig=1", "https://a.org/c.tif", "c.tif", "/vsicurl/https://u:p@a.org/c.tif?sig=1"),
        ("s3://a/b.c.tif", "s3://a/b.c.tif", "b.c.tif", "/vsis3/a/b.c.tif"),
        ("gs://a/b", "gs://a/b", "b", "/vsigs/a/b"),
        ("az://a/b", "az://a/b", "b", "/vsiaz/a/b"),
        ("/vsis3/a/b", "/vsis3/a/b", "b", "/vsis3/a/b"),
        ("/vsicurl/http://a/b", "/vsicurl/http://a/b", "b", "/vsicurl/http://a/b"),
        ("zip+https://a/b.zip!/c.tif", "zip+https://a/b.zip!/c.tif", "c.tif", "/vsizip//vsicurl/https://a/b.zip/c.tif"),
        ("zip:///a/b.zip!/c.tif", "zip:///a/b.zip!/c.tif", "c.tif", "/vsizip//a/b.zip/c.tif"),
        ("/vsizip//vsis3/a/b.zip/c", "/vsizip//vsis3/a/b.zip/c", "c", "/vsizip//vsis3/a/b.zip/c"),
        ("/vsistdin/", "/vsistdin/", "vsistdin", ""),
        ("/vsimem/a", "/vsimem/a", "a", ""),
        ("/vsicurl/file:///etc/passwd", "/vsicurl/file:///etc/passwd", "passwd", ""),
        ("/vsicurl?url=file:///etc/passwd", "/vsicurl", "vsicurl", ""),
        ("/vsizip//vsimem/a", "/vsizip//vsimem/a", "a", ""),
    ],
)
def test_addresses(text: str, shown: str, name: str, vsi: str) -> None:
    place = locate(text)
    assert isinstance(place, Remote)
    assert (place.name, place.vsi) == (name, vsi)
    assert str(place) == shown
    assert place.stem + place.suffix == name


@pytest.mark.parametrize("text", ["a.tif", "/data/a.tif", "c:/a.tif", "./https:/a", "vsicurl/a", "a b+c://d"])
def test_paths_are_no_addresses(text: str) -> None:
    assert locate(text) == Path(text)


def test_settings_of_the_environment_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert network_options()["GDAL_HTTP_CONNECTTIMEOUT"] == NETWORK_OPTIONS["GDAL_HTTP_CONNECTTIMEOUT"]
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "3")
    assert "GDAL_HTTP_CONNECTTIMEOUT" not in network_options()


@pytest.mark.parametrize(
    "text",
    ["https://a.org/b.tif", "/vsicurl/http://a.org/b.tif", "s3://a/b.tif", "/vsis3/a/b.tif", "zip+file:///a!b.tif"],
)
def test_row_16_refused_unless_allowed(
    text: str, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tif"
    for command in (
        ("predict", text, "-m", model_path, "-o", out),
        ("superpixels", text, "-o", out),
        ("polygonize", text, "-o", out.with_suffix(".gpkg")),
        ("evaluate", text, "--labels", tmp_path),
        ("train", "--data", text, "-o", tmp_path / "new.safetensors"),
        ("info", text),
    ):
        with untouched(tmp_path):
            outcome = geoseg(capsys, *command)
        assert_refused(outcome, 65, text, "--allow-remote")


@pytest.mark.parametrize("kind", ["http", "s3", "vsicurl", "vsis3", "zip"])
def test_row_16_read_where_it_is(kind: str, folder: Path, server: Any) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(folder / "scene.tif", "in/scene.tif")
    text = {
        "http": url(server, "bucket/scene.tif"),
        "s3": "s3://bucket/scene.tif",
        "vsicurl": "/vsicurl/" + url(server, "bucket/scene.tif"),
        "vsis3": "/vsis3/bucket/scene.tif",
        "zip": f"zip://{folder / 'a.zip'}!/in/scene.tif",
    }[kind]
    whole = landscape(1100, 1300)
    with Scene(locate(text), opening=ALLOWED) as scene:
        assert (scene.path.name, scene.files) == ("scene.tif", ())
        window = Window.of(700, 300, 200, 250)
        pixels, valid = scene.read(window)
        np.testing.assert_array_equal(pixels, whole[(slice(None), *window.within(scene.extent))])
        assert valid.all()
        first = scene.identity()
    with Scene(locate(text), opening=ALLOWED) as scene:
        assert scene.identity() == first
    if kind != "zip":
        assert server.sent < 2 * (folder / "scene.tif").stat().st_size
        assert not [path for path in server.asked if path.endswith((".msk", ".ovr", ".aux.xml", "bucket/"))]


def test_row_16_a_whole_prediction(
    folder: Path, server: Any, tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps"
    out.mkdir()
    address = url(server, "bucket/scene.tif?signature=secret")
    outcome = geoseg(capsys, "predict", address, "-m", model_path, "-o", out, "--allow-remote")
    assert outcome.code == 0, outcome.err
    classes = assert_map_of(out / "scene-classes.tif", folder / "scene.tif", np.ones((1100, 1300), bool))
    record = (out / "scene-classes.geoseg.json").read_text()
    assert json.loads(record)["scene"] == {"name": "scene.tif", "shape": [1100, 1300]}
    assert "secret" not in record
    local = tmp_path / "local.tif"
    assert geoseg(capsys, "predict", folder / "scene.tif", "-m", model_path, "-o", local).code == 0
    np.testing.assert_array_equal(assert_map_of(local, folder / "scene.tif", np.ones((1100, 1300), bool)), classes)


def test_row_16_in_every_thread(folder: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """rasterio's settings are those of a thread; what GDAL is told has to hold in the threads that read."""
    monkeypatch.setitem(NETWORK_OPTIONS, "GDAL_HTTP_USERAGENT", "geoseg-test")
    windows = [Window.of(row, col, 100, 100) for row in range(0, 1000, 100) for col in range(0, 1300, 100)]
    whole = landscape(1100, 1300)
    seen = []

    with Scene(Remote(url(server, "bucket/scene.tif")), opening=ALLOWED) as scene, ThreadPoolExecutor(4) as pool:
        file = scene._file

        class Spy:
            def __getattr__(self, name: str) -> Any:
                if name == "read":
                    seen.append(rasterio.env.getenv().get("GDAL_HTTP_USERAGENT"))
                return getattr(file, name)

        monkeypatch.setattr(scene, "_file", Spy())
        for window, (pixels, _) in zip(windows, pool.map(scene.read, windows), strict=True):
            np.testing.assert_array_equal(pixels, whole[(slice(None), *window.within(scene.extent))])
    assert set(seen) == {"geoseg-test"}


def test_row_16_a_change_is_another_scene(folder: Path, server: Any, tmp_path: Path) -> None:
    def identity() -> dict[str, Any]:
        with Scene(Remote(url(server, "bucket/scene.tif")), opening=ALLOWED) as scene:
            return scene.identity()

    before = identity()
    other = make_raster(tmp_path / "other.tif", landscape(1100, 1300, seed=1))
    rasterio.shutil.copy(other, folder / "scene.tif", driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=256)
    after = identity()
    assert {name for name in before if before[name] != after[name]} >= {"etag"}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("bucket/gone.tif", InputMissingError, "no such file"),
        ("secret/a.tif", UnavailableError, "access denied"),
        ("broken/a.tif", UnavailableError, "cannot be reached"),
        ("bucket/page.tif", InputError, "cannot be read as a GeoTIFF"),
        ("bucket/vrt.tif", InputError, "cannot be read as a GeoTIFF"),
        ("bucket/cut.tif", InputError, "cannot be (read|decoded)"),
    ],
)
@pytest.mark.parametrize("store", [False, True])
def test_row_16_failures_are_one_line(
    text: str, error: type[Exception], words: str, store: bool, folder: Path, server: Any
) -> None:
    (folder / "page.tif").write_text("<html>")
    vrt(folder / "vrt.tif", "/etc/passwd", 0)
    data = (folder / "scene.tif").read_bytes()
    (folder / "cut.tif").write_bytes(data[: len(data) // 2])
    place = Remote(f"s3://{text}" if store else url(server, text))
    with (
        pytest.raises(error, match=words) as caught,
        Scene(place, opening=Opening(allow_remote=True, allow_vrt=True)) as s,
    ):
        s.read(s.extent)
    assert str(caught.value).startswith(f"{place}: ")
    assert "\n" not in str(caught.value)


def test_row_16_nobody_answers(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UnavailableError, match="cannot be reached"):
        Scene(Remote(f"http://127.0.0.1:{port}/a.tif"), opening=ALLOWED)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "0.5")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        Scene(Remote(url(server, "hang/a.tif")), opening=ALLOWED)


def test_row_16_pages(folder: Path, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    images = [landscape(50, 60, seed=seed) for seed in range(3)]
    pages(folder / "pages.tif", *images)
    place = Remote(url(server, "bucket/pages.tif"))
    with Scene(place, opening=ALLOWED) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[0], images[0])
    assert ["has 3 pages" in message for message in caplog.messages] == [True]
    with Scene(place, opening=Opening(allow_remote=True, page=2)) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[0], images[1])
    with pytest.raises(InputError, match="no page 4"):
        Scene(place, opening=Opening(allow_remote=True, page=4))


def test_row_13_a_vrt_of_a_raster_in_the_network(tmp_path: Path, folder: Path, server: Any) -> None:
    path = vrt(tmp_path / "scene.vrt", url(server, "bucket/scene.tif"), 0)
    with Scene(path, opening=Opening(allow_vrt=True, allow_remote=True)) as scene:
        np.testing.assert_array_equal(scene.read(scene.extent)[0][0], _nearest())
    vrt(folder / "evil.tif", "/etc/passwd", 0)
    path = vrt(tmp_path / "scene.vrt", url(server, "bucket/evil.tif"), 0)
    with pytest.raises(InputError, match="cannot be read as a GeoTIFF"):
        Scene(path, opening=Opening(allow_vrt=True, allow_remote=True))


def _nearest() -> Any:
    """What a source of 1100 x 1300 gives where the VRT says nothing of rectangles: its first 60 x 70 pixels."""
    return landscape(1100, 1300)[0, :60, :70]


def test_archives_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        Scene(Remote(f"zip://{tmp_path / 'gone.zip'}!/a.tif"), opening=ALLOWED)
    (tmp_path / "empty.zip").touch()
    with pytest.raises(InputError, match="is empty"):
        Scene(Remote(f"zip://{tmp_path / 'empty.zip'}!/a.tif"), opening=ALLOWED)
