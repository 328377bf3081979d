"""Edits of classes in the QGIS plugin, without QGIS: what they come to, that geoseg takes them, that none is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from geoseg_qgis import dock_map
from geoseg_qgis.dock_classes import Naming, NamingError, classes_of
from geoseg_qgis.dock_map import History, MapRecord, find_model, find_scene, read_map, read_model, same_classes
from helpers.models import make_model
from hypothesis import example, given
from hypothesis import strategies as st

from geoseg.classes import ClassMap
from geoseg.files.atomic import sha256
from geoseg.jobs.class_edits import ClassEdit
from geoseg.model.file import save_model
from geoseg.naming import edits
from geoseg.naming.legend_file import parse_legend

SIX = ClassMap.default(6)
GUESSES = ("water", "bare", "bare", None, "water", "built")
NAMES = ("Water", "Bare", "Grass", "Trees", "Built", "Road")
SHARES = (0.1, 0.3, 0.2, 0.25, 0.15, 0.0)


def naming() -> Naming:
    entries = [
        {**entry, "share": share, "hectares": 10 * share, "guess": guess}
        for entry, share, guess in zip(SIX.to_json(), SHARES, GUESSES, strict=True)
    ]
    return Naming(classes_of(entries))


def applied(edited: Naming, known: ClassMap = SIX) -> ClassMap:
    """What geoseg makes of the edits."""
    return parse_legend(edited.legend().encode(), Path("classes.json"), known)


def test_classes_are_listed_by_area_and_merged_ones_below_what_they_are_part_of() -> None:
    edited = naming()
    assert [row.entry.id for row in edited.rows()] == [2, 4, 3, 5, 1, 6]
    edited.merge([5, 4], into=1)
    rows = edited.rows()
    assert [(row.entry.id, row.into) for row in rows] == [(1, None), (4, 1), (5, 1), (2, None), (3, None), (6, None)]
    assert rows[0].entry.share == pytest.approx(0.5)
    assert rows[0].entry.hectares == pytest.approx(5)
    assert {row.entry.colour for row in rows[:3]} == {SIX[1].colour}
    assert applied(edited) == edits.merge(SIX, [4, 5], into=1)


def test_names_are_taken_as_geoseg_takes_them() -> None:
    edited = naming()
    assert edited.rename(3, "  Trees \t& <shrubs>\n ") == ""
    assert applied(edited)[3].name == "Trees & <shrubs>"
    edited.rename(4, "草地 🌳")
    assert applied(edited)[4].name == "草地 🌳"
    for bad in ("", "   ", "NoData", "no data", "\x07"):
        with pytest.raises(NamingError):
            edited.rename(3, bad)
    assert applied(edited)[3].name == "Trees & <shrubs>"


def test_the_name_of_another_class_makes_one_of_the_two() -> None:
    edited = naming()
    edited.rename(3, "Water")
    assert "part of Water" in edited.rename(1, "Water")
    assert applied(edited) == edits.merge(SIX, [1], into=3, name="Water")


def test_two_classes_exchange_their_names_and_a_free_name_is_free() -> None:
    edited = naming()
    edited.rename(1, "a")
    edited.rename(2, SIX[1].name)
    edited.rename(1, SIX[2].name)
    assert [applied(edited)[i].name for i in (1, 2)] == [SIX[2].name, SIX[1].name]
    edited.merge([3], into=1)
    # The name of a class that ends is free.
    assert edited.rename(4, SIX[3].name) == ""
    assert applied(edited)[4].name == SIX[3].name


def test_merges_of_merges_are_one_and_are_taken_out_again() -> None:
    edited = naming()
    edited.rename(2, "Soil")
    edited.merge([3], into=2)
    edited.merge([2], into=1)
    assert applied(edited) == edits.merge(SIX, [2, 3], into=1)
    edited.merge([4], into=3)  # which is part of 1
    assert applied(edited) == edits.merge(SIX, [2, 3, 4], into=1)
    edited.take_out([3])
    assert applied(edited) == edits.merge(SIX, [2, 4], into=1)
    edited.take_out([1])
    assert applied(edited) == SIX


def test_guesses_are_accepted_with_a_question_mark_unless_they_were_chosen() -> None:
    edited = naming()
    edited.rename(1, "Lake")
    edited.accept_guesses()
    assert {row.entry.id: row.entry.name for row in edited.rows()} == {
        1: "Lake", 2: "bare?", 3: "bare? 2", 4: "class 4", 5: "water?", 6: "built?",
    }  # fmt: skip
    edited.accept_guesses([2, 3, 4])
    assert [edited.row(i).entry.name for i in (2, 3, 4)] == ["bare", "bare 2", "class 4"]


def test_a_colour_given_back_is_no_change() -> None:
    edited = naming()
    edited.recolour([1, 2], "#ABCDEF")
    assert edited.summary() == "2 new colours"
    assert applied(edited)[2].colour == "#abcdef"
    edited.recolour([1, 2], "#abcdef")
    assert edited.can_undo
    edited.recolour([1], SIX[1].colour)
    edited.recolour([2], SIX[2].colour)
    assert not edited.edits
    assert edited.summary() == ""


def test_the_summary_counts() -> None:
    edited = naming()
    edited.rename(1, "a")
    edited.merge([2, 3], into=1)
    assert edited.summary() == "1 new name, 2 merged classes"
    edited.take_out([2])
    assert edited.summary() == "1 new name, 1 merged class"


Edit = tuple[str, Any, Any]
IDS = st.integers(1, 6)
EDITS = st.one_of(
    st.tuples(st.just("rename"), IDS, st.sampled_from(["a", "b", "class 2", "Water", "x  y"])),
    st.tuples(st.just("recolour"), st.lists(IDS), st.sampled_from(["#000000", "#0072b2"])),
    st.tuples(st.just("merge"), st.lists(IDS), IDS),
    st.tuples(st.just("take_out"), st.lists(IDS), st.none()),
)


@given(st.lists(EDITS, max_size=12))
@example([("merge", [2], 1), ("rename", 1, "class 2"), ("take_out", [1], None)])
def test_any_edits_are_taken_by_geoseg_undone_done_again_and_restored(changes: list[Edit]) -> None:
    edited, states = naming(), []
    for name, one, two in changes:
        before = edited.edits
        if name == "rename" and edited.row(one).into is not None:
            continue  # the table does not offer it
        getattr(edited, name)(*((one,) if name == "take_out" else (one, two)))
        if edited.edits != before:
            states.append(before)
    new = applied(edited)
    assert [(c.id, c.name, c.colour, c.clusters) for c in new.classes] == sorted(
        (r.entry.id, r.entry.name, r.entry.colour, r.entry.clusters) for r in edited.rows() if r.into is None
    )
    again = naming()
    assert again.restore(edited.draft()) == bool(edited.edits)
    assert again.legend() == edited.legend()
    for before in reversed(states):
        edited.undo()
        assert edited.edits == before
    assert not edited.can_undo
    assert applied(edited) == SIX
    for _ in states:
        edited.redo()
    assert not edited.can_redo
    assert applied(edited) == new


def test_edits_survive_what_else_happens_to_the_classes() -> None:
    edited = naming()
    edited.rename(1, "Lake")
    edited.recolour([2], "#111111")
    edited.merge([3], into=4)
    fewer = edits.merge(SIX, [2, 4], into=5)
    edited.learn(classes_of(fewer.to_json()))
    assert applied(edited, fewer) == edits.set_class(fewer, 1, "Lake")


@pytest.mark.parametrize("draft", ["", "{", "[]", '{"names": 1}', '{"names": {"x": "y"}, "colours": {}, "into": {}}'])
def test_a_damaged_draft_is_no_draft(draft: str) -> None:
    edited = naming()
    assert not edited.restore(draft)
    assert not edited.edits


def test_what_are_no_classes_is_said() -> None:
    for bad in ([{"id": 1}], ["x"], [{"id": "x", "name": "a", "colour": "#000000"}]):
        with pytest.raises(NamingError, match="no classes"):
            classes_of(bad)  # type: ignore[arg-type]


# Files.


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A model, and the record of a map of it with a class raster of a few bytes."""
    save_model(make_model(), tmp_path / "m.safetensors")
    for name in ("map.tif", "map.qml", "map.gpkg"):
        (tmp_path / name).write_text(f"old {name}")
    record = {
        "classes": make_model().classes.to_json(), "model_sha256": sha256(tmp_path / "m.safetensors"),
        "scene": {"name": "scene.tif", "bytes": 3}, "files": {"map.tif": "0", "map.qml": "0", "map.gpkg": "0"},
    }  # fmt: skip
    (tmp_path / "map.geoseg.json").write_text(json.dumps(record))
    return tmp_path / "map.tif"


def test_the_record_of_a_map_leads_to_its_model_and_scene(made: Path, tmp_path: Path) -> None:
    record = read_map(made)
    assert [path.name for path in record.files] == ["map.tif", "map.qml", "map.gpkg", "map.geoseg.json"]
    save_model(make_model(seed=1), tmp_path / "a-other.safetensors")
    assert find_model(record) == tmp_path / "m.safetensors"
    assert same_classes(read_model(tmp_path / "m.safetensors").classes, record.classes)
    with ClassEdit([tmp_path / "m.safetensors"], lambda old: edits.set_class(old, 1, "Lake")) as edit:
        edit.save_models()
    assert find_model(record) == tmp_path / "m.safetensors", "renamed classes make no other model"
    assert not same_classes(read_model(tmp_path / "m.safetensors").classes, record.classes)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(tmp_path / "m.safetensors", tmp_path / "elsewhere" / "n.safetensors")
    assert find_model(record) is None
    assert find_model(record, Path(moved)) == Path(moved)
    assert find_scene(record) is None
    (tmp_path / "scene.tif").touch()
    assert find_scene(record) == tmp_path / "scene.tif"


def model_file(path: Path, classes: ClassMap, **facts: Any) -> str:
    """Write a model without tensors, taught if it has a `teaching`; return its checksum."""
    taught = {"teaching": {"names": facts.pop("names")}} if "teaching" in facts else {}
    card = {"classes": classes.to_json(), "provenance": facts, **taught}
    head = json.dumps({"__metadata__": {"geoseg": json.dumps(card)}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    return sha256(path)


def record_of(path: Path, classes: ClassMap, model: str) -> MapRecord:
    content = {"classes": classes.to_json(), "model_sha256": model, "files": {path.name: "0"}}
    path.with_suffix(".geoseg.json").write_text(json.dumps(content))
    return read_map(path)


def test_a_model_and_the_one_it_was_taught_from_are_never_taken_for_each_other(tmp_path: Path) -> None:
    base, taught = tmp_path / "classes-model.safetensors", tmp_path / "classes-model-taught.safetensors"
    named = SIX
    for i, name in enumerate(NAMES, start=1):
        named = edits.set_class(named, i, name)
    first = model_file(base, SIX)
    map_of_base = record_of(tmp_path / "classes.tif", SIX, first)
    second = model_file(base, edits.set_class(SIX, 1, "Lake"), earlier_sha256=[first])
    # As many classes as clusters, and the checksums of the base, as its copy of the provenance has them.
    facts = {"names": NAMES, "teaching": [{"model_sha256": second}]}
    third = model_file(taught, named, earlier_sha256=[first, second], **facts)
    map_of_taught = record_of(tmp_path / "taught.tif", named, third)
    assert find_model(map_of_base) == find_model(map_of_base, taught) == base
    assert find_model(record_of(tmp_path / "later.tif", SIX, second)) == base
    assert find_model(map_of_taught) == find_model(map_of_taught, base) == taught
    base.rename(tmp_path / "away")
    assert find_model(map_of_base, taught) is None
    renamed = edits.set_class(named, 2, "Soil")
    model_file(taught, renamed, earlier_sha256=[first, second, third], **facts)
    assert find_model(map_of_taught) == taught, "renamed classes make no other model"
    assert find_model(map_of_base, taught) is None
    fewer = edits.merge(named, [1], into=2)
    model_file(taught, fewer, earlier_sha256=[first, second, third], **facts)
    assert find_model(map_of_taught) == taught


def test_of_several_models_the_one_with_the_classes_of_the_map_is_taken_then_the_very_file(tmp_path: Path) -> None:
    lake = edits.set_class(SIX, 1, "Lake")
    first = model_file(tmp_path / "b.safetensors", SIX)
    record = record_of(tmp_path / "map.tif", SIX, first)
    model_file(tmp_path / "a.safetensors", lake, earlier_sha256=[first])
    assert find_model(record) == tmp_path / "b.safetensors", "the exact checksum"
    named = record_of(tmp_path / "map.tif", lake, first)
    assert find_model(named) == tmp_path / "a.safetensors", "it was changed with the map"
    assert find_model(named, tmp_path / "b.safetensors") == tmp_path / "b.safetensors", "it was chosen"
    shutil.copy(tmp_path / "b.safetensors", tmp_path / "map-model.safetensors")
    record = record_of(tmp_path / "map.tif", SIX, first)
    assert find_model(record) == tmp_path / "map-model.safetensors", "of copies, the one of its name"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"files": {"map.tif": ""}}', b'{"files": {"x.tif": ""}}'])
def test_a_damaged_record_is_one_line(made: Path, content: bytes) -> None:
    made.with_name("map.geoseg.json").write_bytes(content)
    with pytest.raises(NamingError) as error:
        read_map(made)
    assert "map.geoseg.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_record_and_no_model_are_said(made: Path, tmp_path: Path) -> None:
    with pytest.raises(NamingError, match="no map of geoseg"):
        read_map(tmp_path / "other.tif")
    for content in (b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(NamingError, match="no model"):
            read_model(tmp_path / "bad.safetensors")


def replaced(path: Path, text: str) -> None:
    """As geoseg replaces files: by another one."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def change(history: History, files: tuple[Path, ...], text: str) -> None:
    step = history.keep(files)
    for path in files:
        replaced(path, text)
    history.close(step)


@pytest.fixture(params=["links", "copies"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hard links, and on a file system without them."""

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if request.param == "copies":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_changes_are_undone_one_after_the_other_to_the_byte(made: Path) -> None:
    history, files = History(made), read_map(made).files
    first = [path.read_bytes() for path in files]
    change(history, files, "one")
    change(history, files, "two")
    history.undo()
    assert {path.read_text() for path in files} == {"one"}
    history.undo()
    assert [path.read_bytes() for path in files] == first
    assert not history.folder.exists(), "nothing is left beside the map"
    with pytest.raises(NamingError, match="nothing to undo"):
        history.undo()


@pytest.mark.usefixtures("links")
def test_a_command_that_changed_nothing_leaves_nothing_to_undo(made: Path) -> None:
    history = History(made)
    history.close(history.keep(read_map(made).files))
    assert not history.steps
    assert not history.folder.exists()


def test_what_another_program_changed_is_not_lost_by_going_back(made: Path) -> None:
    history, files = History(made), read_map(made).files
    change(history, files, "one")
    replaced(made, "something else")
    with pytest.raises(NamingError, match=r"map\.tif: was changed since"):
        history.undo()
    assert made.read_text() == "something else"
    assert made.with_suffix(".qml").read_text() == "one", "nothing at all is brought back"
    assert history.steps


def test_what_qgis_writes_into_a_geopackage_that_it_opens_does_not_count(made: Path) -> None:
    history, files = History(made), read_map(made).files
    change(history, files, "one")
    replaced(made.with_suffix(".gpkg"), "opened")
    history.undo()
    assert made.with_suffix(".gpkg").read_text() == "old map.gpkg"


@pytest.mark.parametrize("fails_at", range(1, 5))
def test_going_back_goes_on_where_it_was_interrupted(
    made: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    history, files = History(made), read_map(made).files
    first = [path.read_bytes() for path in files]
    change(history, files, "one")
    calls, link = 0, dock_map._link

    def failing(path: Path, to: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError("the disk is full")
        link(path, to)

    monkeypatch.setattr(dock_map, "_link", failing)
    with pytest.raises(NamingError, match="the disk is full"):
        history.undo()
    monkeypatch.undo()
    history.undo()
    assert [path.read_bytes() for path in files] == first


def test_five_states_are_kept(made: Path) -> None:
    history, files = History(made), read_map(made).files
    for text in "abcdefg":
        change(history, files, text)
    for text in "fedcb":
        history.undo()
        assert made.read_text() == text
    assert not history.steps


def test_a_state_that_cannot_be_kept_stops_the_change(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(dock_map, "_link", refuse)
    with pytest.raises(NamingError, match="nothing is changed"):
        History(made).keep([made])
