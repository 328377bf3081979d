"""Names of the outputs of many scenes: none twice, none an input, none in a folder that cannot be written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg.config import PredictConfig
from geoseg.datasets.given import find_given, places
from geoseg.errors import OutputError
from geoseg.location import Remote
from geoseg.outputs.folders import check_folders, name_in, outputs_of, run_in


def config_of(*scenes: str, out: str = "maps", **settings: object) -> PredictConfig:
    return PredictConfig(tuple(map(Path, scenes)), Path(out), **settings)  # type: ignore[arg-type]


def test_each_scene_has_files_of_its_name(tmp_path: Path) -> None:
    config = config_of("a.tif", "x/b.tif", out=f"{tmp_path}/maps", areas=tmp_path / "tables")
    (_, a), (_, b) = outputs_of(config)
    assert a.main == (tmp_path / "maps/a-classes.tif", tmp_path / "tables/a-areas.csv")
    assert b.classes == tmp_path / "maps/b-classes.tif"
    _, (_, b) = outputs_of(config, [Path(), Path("x")])
    assert b.main == (tmp_path / "maps/x/b-classes.tif", tmp_path / "tables/x/b-areas.csv")
    b.make_folders()
    assert (tmp_path / "maps/x").is_dir()
    assert (tmp_path / "tables/x").is_dir()


def test_two_scenes_of_one_name_are_refused_with_both_names_and_the_way_out() -> None:
    with pytest.raises(OutputError, match=r"^maps: n/a.tif and s/a.png would both .* a-classes.tif; .*--tree"):
        outputs_of(config_of("n/a.tif", "b.tif", "s/a.png"))
    outputs_of(config_of("n/a.tif", "s/a.png", tree=True), [Path("n"), Path("s")])
    with pytest.raises(OutputError, match=r"a.tif and a.png would both .* to n/a-classes.tif; rename one of them"):
        outputs_of(config_of("a.tif", "a.png", tree=True), [Path("n")] * 2)


def test_a_tree_needs_a_folder() -> None:
    with pytest.raises(OutputError, match=r"m.tif: is the name of a .tif file; --tree needs a folder"):
        outputs_of(config_of("a.tif", out="m.tif", tree=True))


def test_an_output_that_is_any_of_the_scenes_is_refused(tmp_path: Path) -> None:
    for name in ("a.tif", "a-classes.tif"):
        (tmp_path / name).touch()
    scenes = [str(tmp_path / name) for name in ("a.tif", "a-classes.tif")]
    with pytest.raises(OutputError, match=r"a-classes\.tif: is the input itself .*a-classes\.tif"):
        outputs_of(config_of(*scenes, out=str(tmp_path), overwrite=True))


def test_folders_are_checked_once_each_whatever_the_number_of_outputs(tmp_path: Path) -> None:
    new = [tmp_path / "maps", tmp_path / "maps" / "n"]
    check_folders([new[1] / f"{number}.tif" for number in range(1000)], new)
    with pytest.raises(OutputError, match="maps does not exist; create it first"):
        check_folders([new[1] / "a.tif"], new[1:])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file does not exist"):
        check_folders([tmp_path / "file" / "a.tif"], [])


def test_names_of_other_kinds() -> None:
    assert name_in(Path("p"), Path("n"), Path("m/a-classes.tif"), "polygons", ".gpkg") == Path("p/n/a-polygons.gpkg")
    assert name_in(Path("p"), Path(), Remote("s3://b/a.tif"), "superpixels", ".tif") == Path("p/a-superpixels.tif")
    assert run_in(Path("runs"), Path("n/s"), Path("a-classes.tif")) == Path("runs/n--s--a-classes.tif.run")


def test_a_thousand_scenes_are_listed_and_named_without_opening_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        folder = tmp_path / "scenes" / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number // 10}.tif").touch()
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a file was opened"))
    found = find_given([tmp_path / "scenes"])
    config = PredictConfig(tuple(each.location for each in found), tmp_path / "maps", tree=True)
    assert len({outputs.classes for _, outputs in outputs_of(config, places(found))}) == 1000
