"""Rows 7 to 21 of the table of docs/reliability.md: files made to mislead, to fill the memory, to reach elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers.commandline import Outcome, assert_map_of, assert_refused, geoseg, untouched
from helpers.rasters import landscape, make_raster
from helpers.tiffs import first_directory, make_tiff, pages, set_following
from helpers.vrts import vrt
from numpy.typing import NDArray

from geoseg.config import Opening
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.location import Location
from geoseg.raster.scene import Scene
from geoseg.raster.vrt import rewrite_vrt

Refused = Callable[..., None]


@pytest.fixture
def refused(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function: every command that reads a raster ends with this code and these words, and writes nothing."""

    def run(path: object, code: int, *words: object, more: tuple[object, ...] = ()) -> None:
        out = tmp_path / "out.tif"
        for command in (
            ("predict", path, "-m", model_path, "-o", out),
            ("superpixels", path, "-o", out),
            ("polygonize", path, "-o", out.with_suffix(".gpkg")),
            ("evaluate", path, "--labels", path),
            ("train", "--data", path, "-o", tmp_path / "new.safetensors"),
            ("info", path),
        ):
            with untouched(tmp_path):
                outcome = geoseg(capsys, *command, *more)
            assert_refused(outcome, code, *words)

    return run


@pytest.fixture
def predict(tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function: predict a scene with the small model to map.tif."""

    def run(scene: object, *more: object) -> Outcome:
        return geoseg(capsys, "predict", scene, "-m", model_path, "-o", tmp_path / "map.tif", "--overwrite", *more)

    return run


def read(path: Path, **how: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with Scene(path, opening=Opening(**how)) as scene:
        return scene.read(scene.extent)


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_row_07_truncated(compress: str, tmp_path: Path, refused: Refused) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(600, 600), compress=compress)
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, 65, path, "is truncated, at least 1000 bytes are missing", "download")


def test_row_07_truncated_before_its_directory(tmp_path: Path, refused: Refused) -> None:
    path = make_tiff(tmp_path / "scene.tif", (16, 16), (16, 16), np.array([16]), np.array([256]), body=bytes(256))
    path.write_bytes(path.read_bytes()[:200])
    refused(path, 65, path, "is truncated", "download")


def test_row_08_a_broken_block_is_named(tmp_path: Path, predict: Callable[..., Outcome]) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(600, 600), compress="deflate", interleave="pixel")
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset + 40] ^= 0x10
    path.write_bytes(data)
    outcome = predict(path)
    assert outcome.code == 65
    assert f"{path}: the block of rows 256-512, columns 512-600 cannot be decoded" in outcome.said[-1]
    assert not (tmp_path / "map.tif").exists()


def test_row_09_pages_in_a_circle(
    tmp_path: Path, predict: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    set_following(path, 0, first_directory(path))
    assert predict(path).code == 0
    assert ["form a loop; page 1 is read" in message for message in caplog.messages] == [True]
    assert_map_of(tmp_path / "map.tif", path, np.ones((60, 70), bool))


def test_row_10_pages(tmp_path: Path, caplog: pytest.LogCaptureFixture, refused: Refused) -> None:
    images = [landscape(50, 60, seed=seed) for seed in range(3)]
    path = pages(tmp_path / "pages.tif", *images)
    np.testing.assert_array_equal(read(path)[0], images[0])
    assert ["has 3 pages; page 1 is read (--page" in message for message in caplog.messages] == [True]
    caplog.clear()
    for number, image in enumerate(images, start=1):
        np.testing.assert_array_equal(read(path, page=number)[0], image)
    Scene(path, quiet=True).close()
    assert not caplog.messages
    with Scene(path, opening=Opening(page=1)) as one, Scene(path, opening=Opening(page=3)) as other:
        assert one.identity() != other.identity()
        assert other.summary()["page"] == 3
    refused(path, 65, path, "has 3 pages; there is no page 4", more=("--page", 4))
    image = make_raster(tmp_path / "image.png", landscape(20, 30), driver="PNG")
    refused(image, 65, image, "has one page; there is no page 2", more=("--page", 2))


ALLOWED = ("--allow-vrt",)


def test_row_11_a_vrt_by_any_name(tmp_path: Path, refused: Refused, predict: Callable[..., Outcome]) -> None:
    make_raster(tmp_path / "source.tif", landscape(60, 70))
    for name in ("scene.vrt", "scene.tif"):
        path = vrt(tmp_path / name, "source.tif")
        refused(path, 65, path, "is a GDAL VRT", "--allow-vrt")
        assert predict(path, *ALLOWED).code == 0
        assert_map_of(tmp_path / "map.tif", tmp_path / "source.tif", np.ones((60, 70), bool))
        np.testing.assert_array_equal(read(path, allow_vrt=True)[0], landscape(60, 70))
        (tmp_path / "map.geoseg.json").unlink()


def test_row_11_magic_bytes_before_a_vrt(tmp_path: Path, refused: Refused) -> None:
    path = vrt(tmp_path / "scene.jpg", "source.tif")
    path.write_bytes(b"\xff\xd8\xff" + path.read_bytes())
    refused(path, 65, path, "of unknown format", more=ALLOWED)


def test_row_12_sources_elsewhere(tmp_path: Path, refused: Refused, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = make_raster(tmp_path_factory.mktemp("elsewhere") / "secret.tif", landscape(60, 70))
    make_raster(tmp_path / "here.tif", landscape(60, 70))
    (tmp_path / "link.tif").symlink_to(secret)
    (tmp_path / "sub").mkdir()
    for source, relative in ((secret, 0), (secret, 1), ("../here.tif", 1), ("../link.tif", 1)):
        path = vrt(tmp_path / "sub" / "scene.vrt", str(source), relative)
        refused(path, 65, path, "does not lie under the VRT's own folder", more=ALLOWED)
    path = vrt(tmp_path / "scene.vrt", "link.tif")
    refused(path, 65, path, "does not lie under the VRT's own folder", more=ALLOWED)
    # An absolute path under the folder is fine, and so is a nested VRT.
    vrt(tmp_path / "sub" / "inner.vrt", "../sub/deep.tif")
    make_raster(tmp_path / "sub" / "deep.tif", landscape(60, 70, seed=5))
    np.testing.assert_array_equal(
        read(vrt(tmp_path / "outer.vrt", str(tmp_path / "sub" / "inner.vrt"), 0), allow_vrt=True)[0],
        landscape(60, 70, seed=5),
    )
    # The guards hold for sources too.
    (tmp_path / "text.tif").write_text("no raster")
    refused(vrt(tmp_path / "scene.vrt", "text.tif"), 65, tmp_path / "text.tif", "is text", more=ALLOWED)
    refused(vrt(tmp_path / "scene.vrt", "gone.tif"), 66, tmp_path / "gone.tif", "no such file", more=ALLOWED)


def test_row_12_a_source_is_no_output(
    tmp_path: Path, predict: Callable[..., Outcome], capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    source = make_raster(tmp_path / "source.tif", landscape(60, 70))
    scene = vrt(tmp_path / "scene.vrt", "source.tif")
    with untouched(tmp_path):
        outcome = geoseg(capsys, "predict", scene, "-m", model_path, "-o", source, "--overwrite", "--allow-vrt")
    assert_refused(outcome, 73, source, "is the input itself")


def test_row_12_a_source_that_changed_is_another_scene(tmp_path: Path) -> None:
    make_raster(tmp_path / "source.tif", landscape(60, 70))
    path = vrt(tmp_path / "scene.vrt", "source.tif")
    with Scene(path, opening=Opening(allow_vrt=True)) as scene:
        before = scene.identity()
        assert scene.files == (path, tmp_path / "source.tif")
    make_raster(tmp_path / "source.tif", landscape(60, 70, seed=1), compress="deflate")
    with Scene(path, opening=Opening(allow_vrt=True)) as scene:
        assert scene.identity() != before


@pytest.mark.parametrize(
    "source",
    ["/vsicurl/http://127.0.0.1:9/a.tif", "/vsis3/bucket/a.tif", "https://127.0.0.1:9/a.tif", "/vsizip/a.zip/b"],
)
def test_row_13_sources_in_the_network(source: str, tmp_path: Path, refused: Refused) -> None:
    path = vrt(tmp_path / "scene.vrt", source, 0)
    refused(path, 65, path, "which is not a local file", "--allow-remote", more=ALLOWED)


PYTHON = "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"band": 'subClass="VRTRawRasterBand"'}, "VRTRawRasterBand"),
        ({"band": 'subClass="VRTWarpedRasterBand"'}, "VRTWarpedRasterBand"),
        ({"more": '<MaskBand><VRTRasterBand subClass="VRTRawRasterBand"/></MaskBand>'}, "VRTRawRasterBand"),
        ({"more": "<GDALWarpOptions><SourceDataset>x</SourceDataset></GDALWarpOptions>"}, "GDALWarpOptions"),
        ({"more": "<Group name='/'/>"}, "Group"),
        ({"more": f"<VRTRasterBand>{PYTHON}</VRTRasterBand>"}, "PixelFunctionLanguage"),
        ({"more": "<VRTRasterBand><PixelFunctionCode>x</PixelFunctionCode></VRTRasterBand>"}, "PixelFunctionCode"),
        ({"element": "ArraySource"}, "ArraySource"),
        ({"element": "KernelFilteredSource"}, "KernelFilteredSource"),
    ],
)
def test_row_14_code_and_what_is_not_known(change: dict[str, str], what: str, tmp_path: Path, refused: Refused) -> None:
    make_raster(tmp_path / "source.tif", landscape(60, 70))
    path = vrt(tmp_path / "scene.vrt", "source.tif", **change)
    refused(path, 65, path, f"with {what} in it", more=ALLOWED)


@pytest.mark.parametrize("text", ["<!DOCTYPE x [<!ENTITY a 'b'>]>", "<!ENTITY a 'b'>"])
def test_row_14_entities_and_broken_xml(text: str, tmp_path: Path, refused: Refused) -> None:
    path = vrt(tmp_path / "scene.vrt", "source.tif")
    whole = path.read_text()
    path.write_text('<?xml version="1.0"?>' + text + whole)
    refused(path, 65, path, "DOCTYPE", more=ALLOWED)
    path.write_text(whole[:-9])
    refused(path, 65, path, "cannot be parsed", more=ALLOWED)
    path.write_bytes(whole.encode().replace(b"source", b"\xff\xfe"))
    refused(path, 65, path, "cannot be parsed", more=ALLOWED)


def test_row_14_kinds_of_vrt(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "scene.vrt"
    for kind in ("VRTWarpedDataset", "VRTPansharpenedDataset", "VRTProcessedDataset"):
        path.write_text(f'<VRTDataset rasterXSize="1" rasterYSize="1" subClass="{kind}"/>')
        refused(path, 65, path, kind, more=ALLOWED)


def test_row_14_a_builtin_pixel_function_is_fine(tmp_path: Path) -> None:
    pixels = landscape(60, 70)
    make_raster(tmp_path / "source.tif", pixels)
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">source.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource>"
        for band in (1, 2)
    )
    path = tmp_path / "scene.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="70" rasterYSize="60"><VRTRasterBand dataType="Float32" band="1" '
        f'subClass="VRTDerivedRasterBand"><PixelFunctionType>sum</PixelFunctionType>{sources}</VRTRasterBand></VRTDataset>'
    )
    np.testing.assert_array_equal(read(path, allow_vrt=True)[0][0], pixels[:2].astype(np.float32).sum(axis=0))


def test_row_15_vrts_that_lead_to_themselves(tmp_path: Path, refused: Refused) -> None:
    path = vrt(tmp_path / "self.vrt", "self.vrt")
    refused(path, 65, path, "refers back to itself", more=ALLOWED)
    vrt(tmp_path / "b.vrt", "a.vrt")
    refused(vrt(tmp_path / "a.vrt", "b.vrt"), 65, "refers back to itself", more=ALLOWED)
    make_raster(tmp_path / "source.tif", landscape(60, 70))
    for number in range(10):
        vrt(tmp_path / f"{number}.vrt", f"{number + 1}.vrt" if number < 9 else "source.tif")
    refused(tmp_path / "0.vrt", 65, "within 8 others", more=ALLOWED)


def test_row_15_a_vrt_that_grows(tmp_path: Path) -> None:
    """Each names the next one three times: the rewritten text triples at every level."""
    make_raster(tmp_path / "source.tif", landscape(60, 70))
    for number in range(7):
        vrt(tmp_path / f"{number}.vrt", f"{number + 1}.vrt" if number < 6 else "source.tif")

    def admit(source: Location, ancestors: tuple[Path, ...]) -> str:
        assert isinstance(source, Path)
        if source.suffix == ".tif":
            return str(source)
        return rewrite_vrt(source, source, ancestors, admit, allow_remote=False, max_bytes=1 << 16)

    with pytest.raises(InputError, match="too many other VRTs"):
        admit(tmp_path / "0.vrt", ())


@pytest.mark.parametrize(
    "name", ["MEM:::DATAPOINTER=1,PIXELS=2,LINES=2", "GTIFF_DIR:1:x.tif", "vrt://x.tif", "NETCDF:x"]
)
def test_row_17_names_that_gdal_resolves(name: str, refused: Refused) -> None:
    refused(name, 65, "is a GDAL dataset name, not a path", more=ALLOWED)


def test_row_17_xml_as_an_argument(tmp_path: Path, refused: Refused) -> None:
    text = vrt(tmp_path / "scene.vrt", "source.tif").read_text()
    refused(text, 65, "<VRTDataset", "is neither a path nor an address", more=ALLOWED)
    refused("\n " + text * 20, 65, "is neither a path nor an address", more=("--allow-remote",))


def sparse(path: Path, side: int, tile: int, samples: int = 4, **how: Any) -> Path:
    """A float32 TIFF of which no block was ever written."""
    none = np.zeros((-(-side // tile)) ** 2, int)
    return make_tiff(path, (side, side), (tile, tile), none, none, samples=samples, bits=32, floats=True, **how)


class Blind:
    """An open file that must not be read."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        assert not name.startswith("read"), "a block that was never written is read"
        return getattr(self.file, name)


def test_row_18_sparse_blocks_are_nodata_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scene(sparse(tmp_path / "large.tif", 200_000, 1024)) as scene:
        monkeypatch.setattr(scene, "_file", Blind(scene._file))
        for window in (Window.of(0, 0, 300, 400), Window.of(150_000, 99_900, 2000, 100)):
            pixels, valid = scene.read(window)
            assert pixels.shape == (4, *window.shape)
            assert not valid.any()


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_row_18_a_window_that_sparse_blocks_touch(interleave: str, nodata: float | None, tmp_path: Path) -> None:
    pixels = landscape(512, 768)
    path = make_raster(
        tmp_path / "scene.tif", np.zeros_like(pixels), SPARSE_OK=True, interleave=interleave, nodata=nodata
    )
    with rasterio.open(path, "r+") as file:
        window = rasterio.windows.Window(256, 0, 256, 512)
        file.write(pixels[:, :, 256:512], window=window)
    found, valid = read(path)
    expected = np.zeros((512, 768), bool)
    expected[:, 256:512] = True
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(found[:, valid], pixels[:, valid])
    with Scene(path) as scene:
        np.testing.assert_array_equal(scene.read(Window.of(10, 200, 300, 100))[1], expected[10:310, 200:300])


def test_row_18_blocks_larger_than_memory(tmp_path: Path, refused: Refused) -> None:
    path = sparse(tmp_path / "small.tif", 200_000, 16384)
    assert path.stat().st_size < 4000
    refused(path, 65, path, "blocks of 16384 x 16384 pixels, 4096 MiB each", "retile", "gdal_translate")


def test_row_21_blocks_of_65536_pixels(tmp_path: Path, refused: Refused) -> None:
    path = sparse(tmp_path / "square.tif", 65536, 65536, samples=1)
    refused(path, 65, path, "retile", "gdal_translate")


BOMB = """
import re, sys
from pathlib import Path
from geoseg.grid import Window
from geoseg.raster.scene import Scene
with Scene(Path(sys.argv[1])) as scene:
    with scene.caching(2048):
        for row in range(0, scene.shape[0], 2048):
            for col in range(0, scene.shape[1], 2048):
                assert not scene.read(Window.of(row, col, 2048, 2048))[0].any()
# Not ru_maxrss, which a process inherits from the one that started it.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(scene.shape[0] * scene.shape[1], peak[1])
"""


def bomb(path: Path, side: int) -> Path:
    """A square TIFF of zeros, all of whose tiles are the same few bytes of the file."""
    body = zlib.compress(bytes(512 * 512), 9)
    count = (side // 512) ** 2
    offsets, sizes = np.full(count, 16), np.full(count, len(body))
    return make_tiff(path, (side, side), (512, 512), offsets, sizes, compression=8, body=body)


def peak(path: Path) -> tuple[int, int]:
    """Pixels read, and KiB at the peak, of a process that reads all of a scene."""
    done = subprocess.run([sys.executable, "-c", BOMB, path], capture_output=True, text=True, timeout=200, check=True)
    pixels, kib = done.stdout.split()
    return int(pixels), int(kib)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_row_19_a_bomb_streams(tmp_path: Path) -> None:
    small, large = peak(bomb(tmp_path / "small.tif", 4096)), peak(bomb(tmp_path / "large.tif", 24576))
    assert (tmp_path / "large.tif").stat().st_size < 50_000
    assert large[0] == 36 * small[0] == 24576**2
    assert large[1] < small[1] + (150 << 10)


def test_row_20_more_pixels_than_anybody_has(tmp_path: Path, refused: Refused) -> None:
    none = np.zeros(4, int)
    path = make_tiff(tmp_path / "huge.tif", (2**31, 2**31), (2**30, 2**30), none, none)
    refused(path, 65, path, f"has {2**31} x {2**31} pixels", "--max-pixels")
    path = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    refused(path, 65, path, "has 70 x 60 pixels, more than the 4199", "--max-pixels", more=("--max-pixels", 4199))
    assert read(path, max_pixels=4200)[0].shape == (3, 60, 70)
    image = make_raster(tmp_path / "image.png", landscape(60, 70), driver="PNG")
    refused(image, 65, image, "--max-pixels", more=("--max-pixels", 4199))


def test_sidecars_are_looked_at(tmp_path: Path, refused: Refused) -> None:
    path = make_raster(tmp_path / "scene.tif", landscape(60, 70))
    for suffix in (".msk", ".ovr"):
        beside = vrt(tmp_path / f"scene.tif{suffix}", "/etc/passwd", 0)
        refused(path, 65, beside, "VRT")
        beside.unlink()
        make_raster(beside, landscape(60, 70, bands=1))
        beside.write_bytes(beside.read_bytes()[:-9])
        refused(path, 65, beside, "is truncated")
        beside.unlink()
    (tmp_path / "scene.tif.aux.xml").mkdir()
    refused(path, 65, tmp_path / "scene.tif.aux.xml", "is not a regular file")


def test_records_name_page_and_nodata(tmp_path: Path, predict: Callable[..., Outcome]) -> None:
    path = pages(tmp_path / "pages.tif", landscape(50, 60), landscape(50, 60, seed=1))
    assert predict(path, "--page", 2, "--nodata", 7).code == 0
    scene = json.loads((tmp_path / "map.geoseg.json").read_text())["scene"]
    assert (scene["page"], scene["nodata"]) == (2, 7)
