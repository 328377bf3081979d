"""Class maps in CSV and JSON: what is written comes back, and what a spreadsheet makes of it too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import InputError, InputMissingError, OutputError
from geoseg.naming.edits import merge, set_class
from geoseg.naming.legend_file import legend_bytes, read_legend_file, write_legend

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1).filter(
    lambda name: any(map(str.isprintable, name.strip())) and name.strip().casefold() not in ("nodata", "no data")
)
ODD = ('"', "a;b,c", "=1+1", "'=1", "-", "<b>&", "🌳 \u202e", "x" * 300, "1")


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@given(st.lists(NAMES.map(str.strip), unique=True, min_size=1, max_size=6))
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, suffix: str, names: list[str]) -> None:
    classes = ClassMap(tuple(LandClass(i, name, f"#{i:06x}") for i, name in enumerate([*names, "z z"], start=1)))
    classes = merge(classes, [len(names)], into=len(classes))
    path = tmp_path_factory.mktemp("legend") / f"legend{suffix}"
    write_legend(classes, path)
    assert read_legend_file(path) == classes


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_odd_names_come_back(tmp_path: Path, suffix: str) -> None:
    classes = ClassMap(tuple(LandClass(i, name, "#102030") for i, name in enumerate(ODD, start=1)))
    write_legend(classes, tmp_path / f"l{suffix}")
    assert read_legend_file(tmp_path / f"l{suffix}") == classes


def test_a_spreadsheet_takes_no_name_for_a_formula() -> None:
    classes = ClassMap(tuple(LandClass(i, name, "#102030") for i, name in enumerate(ODD, start=1)))
    text = legend_bytes(classes, Path("l.csv")).decode("utf-8-sig")
    assert not [line for line in text.splitlines() if line.split(",")[1].startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    "text",
    [
        "id;name;colour;clusters\r\n1;water;#0000FF;1 3\r\n2;land;#00ff00;2\r\n",
        "\ufeffid\tname\tColor\tclusters\n1\twater\t#0000ff\t3,1\n2\tland\t#00ff00\t2\n\t\t\t\n",
        "class,id,color,clusters,area ha\nwater,1.0,#0000ff,1;3,12\nland,2,#00ff00,2,14\n",
    ],
)
def test_files_of_spreadsheets_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text, newline="")
    wanted = ClassMap((LandClass(1, "water", "#0000ff", (1, 3)), LandClass(2, "land", "#00ff00", (2,))))
    assert read_legend_file(path) == wanted


def test_what_a_file_leaves_out_stays(tmp_path: Path) -> None:
    known = set_class(ClassMap.default(4), 2, "water", "#0000ff")
    path = tmp_path / "l.csv"
    path.write_text("id,name\n3,road\n")
    assert read_legend_file(path, known) == set_class(known, 3, "road")
    path.write_text("id,name,clusters\n3,road,3 4\n")
    assert read_legend_file(path, known) == merge(known, [4], into=3, name="road")
    path = tmp_path / "l.json"
    path.write_text(json.dumps([{"id": 2, "colour": "#0000EE"}]))
    assert read_legend_file(path, known) == set_class(known, 2, colour="#0000ee")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", b"id,name\n1,a\n1,b\n", "class 1 occurs twice"),
        ("l.csv", b"id,name\n1,a\n2,b\n", "the map"),
        ("l.csv", b"id,colour\n1,red\n", "colour of"),
        ("l.csv", b"id,name\n1,nodata\n", "name it otherwise"),
        ("l.csv", b"name\nwater\n", "holds no class map"),
        ("l.csv", b"id,name\none,water\n", "'one' is no whole number"),
        ("l.csv", b"id,name\n1,\xe4\n", "not UTF-8"),
        ("l.csv", b"id,name\n", "no classes"),
        ("l.csv", b"name\nwater\n", "a class has no id"),
        ("l.json", b'[{"id": 1, "name": ["x"]}]', "the name of class 1 is no text"),
        ("l.json", b"{}", "holds no class map"),
        ("l.json", b'{"classes": 3}', "holds no class map"),
        ("l.json", b"[" * 10_000, "holds no class map"),
        ("l.json", b'[{"id": true}]', "no whole number"),
    ],
)
def test_what_is_no_class_map_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if words == "the map":
        assert len(read_legend_file(path)) == 2
        return
    with pytest.raises(InputError) as refused:
        read_legend_file(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_files_and_other_suffixes_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        read_legend_file(tmp_path / "l.csv")
    with pytest.raises(OutputError, match=r"name it l\.csv or l\.json"):
        write_legend(ClassMap.default(2), tmp_path / "l.xlsx")


def test_classes_of_one_name_become_one(tmp_path: Path) -> None:
    known, path = ClassMap.default(4), tmp_path / "l.csv"
    path.write_text("id,name\n2,water\n3,class 4\n")
    assert read_legend_file(path, known) == merge(set_class(known, 2, "water"), [4], into=3, name="class 4")


def test_a_class_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("id,name\n9,water\n")
    with pytest.raises(InputError, match=r"there is no class 9; the ids are 1, 2, 3, 4$"):
        read_legend_file(path, ClassMap.default(4))


def test_a_class_without_any_cluster_of_its_own_ends(tmp_path: Path) -> None:
    """As a spreadsheet has it: the row of the class is still there, or its clusters were cleared."""
    known, path = ClassMap.default(4), tmp_path / "l.csv"
    for rest in ("2,class 2,#e69f00,2\n", "2,class 2,#e69f00,\n", ""):
        path.write_text(f"sep=,\nid,name,colour,clusters\n1,water,#0072b2,1 2\n{rest}")
        assert read_legend_file(path, known) == merge(known, [2], into=1, name="water")
    merged = merge(known, [2, 3], into=2)
    path.write_text("id,clusters\n1,1 3\n")
    assert read_legend_file(path, merged).class_of_cluster() == (0, 1, 2, 1, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,clusters\n9,9\n", "class 9 has cluster 9; there are 4"),
        ("id,clusters\n1,1 2\n3,3 2\n", "cluster 2 is given"),
    ],
)
def test_clusters_that_cannot_be_are_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_legend_file(path, ClassMap.default(4))
