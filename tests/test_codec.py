"""Settings as JSON come back as they were; those of nothing known are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geoseg.config import PolygonizeConfig, PredictConfig, SegmentConfig
from geoseg.config.codec import decode, encode
from geoseg.errors import SettingError
from geoseg.location import Remote
from geoseg.units import Area, Period

CONFIGS = [
    PredictConfig((Path("/a/b.tif"),), Path("/c.tif")),
    PredictConfig(
        (Path("/ü ö.tif"), Remote("s3://bucket/k?versionId=3")), Path("/c.tif"), model=Path("/m"),
        min_area=Area(1234567.125), datetime=Period.parse("2020-07/2020-08-03T10:00Z"), stac=True, bands=(3, "nir"),
        bounds=(0.1, -2e300, 3.0, 4.0), smooth=0, nodata=-9999.5, match="moments", run=Remote("s3://bucket/run"),
    ),
    PredictConfig((Path("/a.tif"),), Path("/c.tif"), min_area=Area(0.1, "px")),
    SegmentConfig(Path("/a.tif"), Path("/b.gpkg"), compactness=0.1, workers=3),
    PolygonizeConfig(Remote("https://host/a.tif"), Path("/b.fgb"), classes=("3", "road, path"), simplify=0.25),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_settings_come_back(config: Any) -> None:
    again = decode(json.loads(json.dumps(encode(config))))
    assert again == config
    assert type(again) is type(config)


def test_paths_become_absolute_and_links_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.tif").symlink_to("elsewhere.tif")
    monkeypatch.chdir(tmp_path)
    again: Any = decode(encode(SegmentConfig(Path("link.tif"), Path("../b.gpkg"))))
    assert again.scene == tmp_path / "link.tif"
    assert again.out == tmp_path / "../b.gpkg"


def test_defaults_are_left_to_the_version_that_reads_them() -> None:
    assert set(encode(CONFIGS[0])["settings"]) == {"scenes", "out"}


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {"command": "dig", "settings": {}}, {"command": "predict", "settings": {"scenes": []}},
        {"command": "predict", "settings": {"scenes": [{"path": "/a"}], "out": {"path": "/b"}, "speed": 3}},
        {"command": "predict", "settings": {"scenes": [{"path": "/a"}], "out": {"path": "/b"}, "block_size": 7}},
        {"command": "predict", "settings": {"scenes": [{"path": "/a"}], "out": {"place": "/b"}}},
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused(content: Any) -> None:
    with pytest.raises(SettingError):
        decode(content)
