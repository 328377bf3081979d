"""Spectral indices by name: what is asked for, and which bands it is computed from."""

from __future__ import annotations

import pytest

from geoseg.errors import BandError, SettingError
from geoseg.indices import FORMULAS, IndexBand, IndexRequest, parse_indices, place_index


def test_what_is_asked_for() -> None:
    assert parse_indices(["ndvi,NDWI", "vari=3,2,1", "ndre=NIR 842,B5"]) == (
        IndexRequest("ndvi"), IndexRequest("ndwi"), IndexRequest("vari", (3, 2, 1)),
        IndexRequest("ndre", ("NIR 842", "B5")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["evi"], r"index is 'evi'; choose one of ndvi"),
        ([""], "index is ''"),
        (["ndvi", "ndvi=4,1"], "ndvi is given twice"),
        (["ndvi=4"], r"2 bands, nir, red: .*--index ndvi=1,2"),
    ],
)
def test_what_is_no_index_is_refused(texts: list[str], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        parse_indices(texts)


@pytest.mark.parametrize(
    ("text", "numbers", "names", "places"),
    [
        ("ndvi", (1, 2, 3, 4), ("red", "green", "blue", "nir"), (3, 0)),
        # By names, in whatever order; numbers are those of the file.
        ("ndwi", (4, 2, 3), ("Near-Infrared", "red", "green"), (2, 0)),
        ("ndvi=8,4", (4, 3, 8), ("B4", "B3", "B8"), (2, 0)),
        ("ndvi=B8,B4", (4, 3, 8), ("B4", "B3", "B8"), (2, 0)),
        # Without names, as in most aerial surveys.
        ("ndvi", (1, 2, 3, 4), ("band 1", "band 2", "band 3", "band 4"), (3, 0)),
        ("exg", (1, 2, 3), ("band 1", "band 2", "band 3"), (0, 1, 2)),
    ],
)
def test_where_its_bands_lie(text: str, numbers: tuple[int, ...], names: tuple[str, ...], places: list[int]) -> None:
    (request,) = parse_indices([text])
    index = place_index("scene.tif", request, numbers, names)
    assert index == IndexBand(text.partition("=")[0], tuple(places))
    assert IndexBand.from_json(index.to_json()) == index


@pytest.mark.parametrize(
    ("text", "names", "word"),
    [
        ("ndvi", ("red", "green", "blue"), r"no band .* can be nir; .*--bands.*--index ndvi=N,N"),
        ("ndvi", ("red", "nir", "nir"), "several bands .* can be nir"),
        ("ndvi=5,1", ("red", "green", "nir"), r"no band .* can be 5 \(nir\)"),
        ("ndvi", ("B4", "B3", "B8"), "no band"),
    ],
)
def test_bands_that_are_not_there_are_an_error(text: str, names: tuple[str, ...], word: str) -> None:
    (request,) = parse_indices([text])
    with pytest.raises(BandError, match=word):
        place_index("scene.tif", request, (1, 2, 3), names)


def test_each_formula_has_a_weight_for_each_band() -> None:
    for formula in FORMULAS.values():
        assert len(formula.roles) == len(formula.above) == len(formula.below)
        assert len(set(formula.roles)) == len(formula.roles)
