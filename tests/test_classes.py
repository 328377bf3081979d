"""Laws of the class map: one name and one colour per class, stable by id."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.classes import ClassMap, LandClass
from geoseg.errors import SettingError


@given(st.integers(1, 300))
def test_colours_are_stable_by_id(count: int) -> None:
    assert ClassMap.default(count).classes == ClassMap.default(300).classes[:count]


def test_colours_are_distinct() -> None:
    colours = [entry.colour for entry in ClassMap.default(254).classes]
    assert len(set(colours)) == 254


def test_the_first_colours_are_far_apart() -> None:
    colours = [entry.rgb for entry in ClassMap.default(12).classes]
    for i, one in enumerate(colours):
        for two in colours[:i]:
            assert sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) > 30**2


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1).map(
    lambda name: f"{name}."
)


@given(st.lists(st.tuples(NAMES, st.integers(0, 0xFFFFFF)), unique_by=lambda c: c[0], max_size=20))
def test_class_maps_survive_json(entries: list[tuple[str, int]]) -> None:
    classes = ClassMap(tuple(LandClass(i, name, f"#{rgb:06x}") for i, (name, rgb) in enumerate(entries, 1)))
    assert ClassMap.from_json(json.loads(json.dumps(classes.to_json()))) == classes
    assert len(classes) == len(entries)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_rgb_is_the_colour(r: int, g: int, b: int) -> None:
    assert LandClass(1, "a", f"#{r:02x}{g:02X}{b:02x}").rgb == (r, g, b)


@pytest.mark.parametrize("ids", [(0, 1), (-1,), (2, 1), (1, 1), (1, 65535)])
def test_ids_ascend_from_1(ids: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match=r"ids of a class map|the id 65535"):
        ClassMap(tuple(LandClass(i, f"{n}", "#000000") for n, i in enumerate(ids)))


@pytest.mark.parametrize("class_id", [-(2**31), -1, 0, 1, 16, 17, 255, 65534, 2**40])
def test_a_class_by_its_id_alone_has_a_name_and_a_colour(class_id: int) -> None:
    entry = LandClass.default(class_id)
    assert (entry.id, entry.name) == (class_id, f"class {class_id}")
    assert all(0 <= value <= 255 for value in entry.rgb)
    assert entry == LandClass.default(class_id)
    if 1 <= class_id <= 300:
        assert ClassMap.default(300).classes[class_id - 1] == entry


def test_names_are_unique() -> None:
    with pytest.raises(SettingError, match="classes 1 and 2 are both called water"):
        ClassMap((LandClass(1, "water", "#000000"), LandClass(2, "water", "#000001")))


@pytest.mark.parametrize("colour", ["", "blue", "#12345", "#1234567", "#12345g", "123456", "#123456\n"])
def test_colours_are_checked(colour: str) -> None:
    entry = replace(ClassMap.default(1).classes[0], colour=colour)
    with pytest.raises(SettingError, match=r"colour of class 1"):
        ClassMap((entry,))


@pytest.mark.parametrize(("count", "dtype"), [(1, "uint8"), (254, "uint8"), (255, "uint16"), (300, "uint16")])
def test_the_raster_type_holds_every_id(count: int, dtype: str) -> None:
    assert ClassMap.default(count).dtype == dtype


MERGED = ClassMap(
    (
        LandClass(1, "water", "#0000ff", (3, 1)),
        LandClass(2, "land", "#00ff00", (2, 5)),
        LandClass(4, "road", "#ff0000", (4,)),
    )
)


def test_a_merged_class_is_made_of_several_clusters() -> None:
    assert (len(MERGED), MERGED.clusters, MERGED.highest) == (3, 5, 4)
    assert MERGED.class_of_cluster() == (0, 1, 2, 1, 4, 2)
    assert MERGED.origins == {"1": [1, 3], "2": [2, 5], "4": [4]}
    assert ClassMap.from_json(json.loads(json.dumps(MERGED.to_json()))) == MERGED


def test_classes_are_clusters_at_first() -> None:
    classes = ClassMap.default(3)
    assert (classes.clusters, classes.class_of_cluster(), classes.origins) == (3, (0, 1, 2, 3), {})
    assert all("clusters" not in entry for entry in classes.to_json())


@pytest.mark.parametrize("clusters", [((1,), (1,)), ((1, 2), (2, 3)), ((1,), (3,)), ((0,), (1,)), ((1, 1), (2,))])
def test_every_cluster_belongs_to_one_class(clusters: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(SettingError, match="must belong to one class"):
        ClassMap(tuple(LandClass(i, f"{i}", "#000000", each) for i, each in enumerate(clusters, 1)))


@pytest.mark.parametrize("name", ["nodata", "NoData", " No Data ", "", "  ", "\u200b"])
def test_names_that_would_be_misread_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"class 1 (is called|has no name)"):
        ClassMap((LandClass(1, name, "#000000"),))


def test_a_class_is_found_by_its_id() -> None:
    assert [MERGED[i].name for i in (1, 2, 4)] == ["water", "land", "road"]
    for absent in (0, 3, 5):
        with pytest.raises(KeyError):
            MERGED[absent]
