"""The coordinate epoch: read from wherever GDAL keeps it, and written to every raster."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from helpers.rasters import make_raster
from rasterio.crs import CRS

from geoseg.config import Opening
from geoseg.grid import Window, partition
from geoseg.raster.cog import write_part
from geoseg.raster.cog_writer import write_cog
from geoseg.raster.mosaic import RasterSpec
from geoseg.raster.scene import Scene

PLACE = Affine(0.001, 0, 150, 0, -0.001, -30)
WKT = CRS.from_epsg(9057).to_wkt()


def with_epoch(folder: Path, kind: str, epoch: str = "2021.3") -> Path:
    """A raster with an epoch in its header, in its .aux.xml, or in a VRT."""
    plain = make_raster(folder / "plain.tif", np.ones((1, 40, 50), np.uint8), crs="EPSG:9057", transform=PLACE)
    srs = f'<SRS dataAxisToSRSAxisMapping="2,1" coordinateEpoch="{epoch}">{escape(WKT)}</SRS>'
    if kind == "sidecar":
        (folder / "plain.tif.aux.xml").write_text(f"<PAMDataset>{srs}</PAMDataset>")
        return plain
    with rasterio.open(plain) as file:
        rasterio.shutil.copy(file, folder / "virtual.vrt", driver="VRT")
    text = (folder / "virtual.vrt").read_text()
    start, stop = text.index("<SRS"), text.index("</SRS>") + len("</SRS>")
    (folder / "virtual.vrt").write_text(text[:start] + srs + text[stop:])
    if kind == "header":
        rasterio.shutil.copy(folder / "virtual.vrt", folder / "header.tif", driver="GTiff")
        return folder / "header.tif"
    return folder / "virtual.vrt"


@pytest.mark.parametrize("kind", ["header", "sidecar", "VRT"])
def test_an_epoch_is_read_and_written(tmp_path: Path, kind: str) -> None:
    with Scene(with_epoch(tmp_path, kind), opening=Opening(allow_vrt=True)) as scene:
        place = scene.georeference.shifted(Window.of(10, 20, 20, 30))
    assert place.epoch == 2021.3
    spec = RasterSpec(Window.of(0, 0, 20, 30), place, "uint8", "classes", {})
    (block,) = partition(spec.extent, 512)
    write_part(tmp_path / "part.tif", np.ones((20, 30), np.uint8))
    write_cog(tmp_path / "map.tif", spec, [(block, tmp_path / "part.tif")])
    with Scene(tmp_path / "map.tif") as written:
        assert written.georeference.epoch == 2021.3


@pytest.mark.parametrize("epoch", ["soon", "nan", "inf", "-1", "0"])
def test_an_epoch_that_is_none(tmp_path: Path, epoch: str) -> None:
    with Scene(with_epoch(tmp_path, "VRT", epoch), opening=Opening(allow_vrt=True)) as scene:
        assert scene.georeference.epoch is None
