"""A class that colour tells apart is in the map, however rare it is, and though the network has never learnt it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from helpers.prediction import predict_map
from helpers.rasters import make_raster
from helpers.scenery import share_kept, textures_with_a_rare_class

from geoseg.config import TrainConfig
from geoseg.jobs.train import TrainJob
from geoseg.model.file import load_model


def test_a_distinct_class_of_a_five_hundredth_is_kept(tmp_path: Path) -> None:
    """At a brief training; `tests/test_soak.py` has longer ones with more seeds."""
    pixels, rare = textures_with_a_rare_class(side=512)
    scene, out = make_raster(tmp_path / "scene.tif", pixels), tmp_path / "m.safetensors"
    brief = {"steps": 24, "batch_size": 2, "patch_size": 64, "superpixel_size": 8}
    config = TrainConfig(scene, out, precision="float32", **brief)
    with TrainJob(config, recipe=replace(config.settled, mixture_superpixels=2000)) as training:
        for _ in training.run():
            pass
    model = load_model(out)
    assert model.spec.classes == 24
    classes, _, _ = predict_map(scene, model, tmp_path / "map.tif")
    assert share_kept(classes, rare) > 0.9
    of_network, _, _ = predict_map(scene, replace(model, experts=None), tmp_path / "map.tif")
    assert share_kept(of_network, rare) < 0.5
