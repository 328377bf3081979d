"""Names of bands: what they say, whatever their case and form, and how the bands of two rasters correspond."""

from __future__ import annotations

import itertools

import pytest

from geoseg.bands import advise_bands, alike, differ, find_bands, match_bands, parse_bands, read_name

SAYING = {
    # The meaning -> names of it, by QGIS, Earth Engine, GDAL, ENVI, Sentinel-2, Landsat, MicaSense and people.
    "red": ("red", "Red", "RED", "R", "Band 4 (Red)", "B4 (red)", "Red-668", "red_665nm", "Red (665 nm)",
            "Sentinel-2 B4 red"),
    "green": ("green", "G", "Green 560", "Band 3: Green", "B03_green"),
    "blue": ("blue", "BLUE", "b", "Blue-444", "Band 2 - Blue", "SR blue"),
    "nir": ("nir", "NIR 842", "near infrared", "Near-Infrared", "NearInfrared", "near_ir", "Infrared", "N", "B8 NIR",
            "Narrow NIR", "nir08"),
    "red edge": ("red edge", "RedEdge", "rededge", "Red-Edge", "RE", "Vegetation Red Edge"),
    "swir 1": ("SWIR1", "SWIR 1", "swir_1", "Short-wave infrared 1", "shortwave infrared 1"),
    "swir 2": ("SWIR2", "Short Wave Infrared 2"),
    "red edge 705": ("Red edge-705", "rededge705", "RE 705"),
    "thermal": ("thermal", "TIR", "LWIR", "thermal infrared"),
    "pan": ("pan", "Panchromatic"),
    "coastal": ("coastal", "Coastal aerosol", "ultra blue"),
}  # fmt: skip
CODES = {
    "4": ("B4", "b4", "B04", "B_4", "SR_B4", "sur_refl_b04", "T32TQM_20210704_B04_10m", "20200101_B4"),
    "8": ("B8", "B08", "SR_B8"),
    "8a": ("B8A", "b8a", "T32_B8A_20m"),
}
SILENT = ("band 4", "Band 4", "BAND_4", "band4", "gray", "Grey", "")
"""Names that say at most where a band lies."""

OTHERS = ("NDVI", "std_red", "red_mask", "QA_B4", "B4 mask", "elevation", "VV", "CIR", "not blue", "red green ratio")
"""Names that say something, but not which band of a camera it is."""


@pytest.mark.parametrize(("short", "names"), SAYING.items())
def test_names_of_one_meaning_are_alike(short: str, names: tuple[str, ...]) -> None:
    assert {read_name(name).short for name in names if "nir08" not in name} == {short} or short in (
        "red",
        "green",
        "blue",
        "nir",
    )
    assert all(alike(read_name(a), read_name(b)) for a, b in itertools.combinations(names, 2))


def test_names_of_different_meanings_differ() -> None:
    for one, two in itertools.combinations(SAYING, 2):
        for a, b in itertools.product(SAYING[one], SAYING[two]):
            assert not alike(read_name(a), read_name(b)), (a, b)
            # An index and a wavelength of the same kind cannot be compared.
            assert differ(read_name(a), read_name(b)) or one.split()[:2] == two.split()[:2] == ["red", "edge"], (a, b)


def test_numbers_of_sensors_are_names_not_wavelengths() -> None:
    for one, names in CODES.items():
        for a, b in itertools.combinations(names, 2):
            assert alike(read_name(a), read_name(b)), (a, b)
        for a, b in itertools.product(names, ("B5", "SR_B05", *(n for o, ns in CODES.items() if o != one for n in ns))):
            assert differ(read_name(a), read_name(b)), (a, b)
        for a in names:
            assert not any(differ(read_name(a), read_name(b)) for b in ("red", "NIR 842", *SILENT, *OTHERS)), a


def test_what_says_nothing_or_something_else_is_never_compared() -> None:
    for a, b in itertools.product(SILENT + OTHERS, ("red", "nir", *OTHERS, *SILENT)):
        assert not differ(read_name(a), read_name(b)), (a, b)
        assert read_name(a).meaning in ("", "gray"), a


RGB = ("red", "green", "blue")
ORDERS = [
    # expected, found, the index in found for each expected (None: refused), certain
    (RGB, ("Blue", "Green", "Red"), (2, 1, 0), True),
    (RGB, ("BLUE", "RED", "GREEN"), (1, 2, 0), True),
    (RGB, ("Red-668", "Green-560", "Blue-475"), (0, 1, 2), True),
    (RGB, ("band 1", "band 2", "band 3"), (0, 1, 2), True),
    (RGB, ("nir", "red", "green"), None, True),
    (RGB, ("NIR 842", "Red", "Green"), None, True),
    (RGB, ("band 1", "red", "green"), None, True),
    (RGB, ("red", "band 2", "blue"), (0, 1, 2), True),
    (RGB, ("B4", "B3", "B2"), (0, 1, 2), False),
    (RGB, ("elevation", "slope", "aspect"), (0, 1, 2), False),
    (("B4", "B3", "B2"), ("B02", "B03", "B04"), (2, 1, 0), True),
    (("B4", "B3", "B2"), ("SR_B4", "SR_B3", "SR_B2"), (0, 1, 2), True),
    (("B4", "B3", "B2"), ("B8", "B4", "B3"), None, True),
    (("B4", "B3", "B2"), ("B4", "B3", "B5"), None, True),
    (("B4", "B3", "B2"), ("Band 4 (Red)", "Band 3 (Green)", "Band 2 (Blue)"), (0, 1, 2), True),
    ((*RGB, "nir"), ("NIR", "Red", "Green", "Blue"), (1, 2, 3, 0), True),
    ((*RGB, "nir"), ("blue", "green", "red", "band 4"), (2, 1, 0, 3), True),
    ((*RGB, "band 4"), ("blue", "green", "red", "nir"), (2, 1, 0, 3), True),
    ((*RGB, "nir"), (*RGB, "red edge"), None, True),
    (("swir 1", "swir 2"), ("SWIR2", "SWIR1"), (1, 0), True),
    (("swir 1",), ("swir 1610",), (0,), False),
    (("red", "band 2"), ("band 1", "red"), None, True),
    (("band 4", "band 3", "band 2"), ("band 1", "band 2", "band 3"), (0, 1, 2), True),
    (("band 3", "band 2", "band 1"), ("band 1", "band 2", "band 3"), (2, 1, 0), True),
    (("735_1", "735_2"), ("12_1", "12_2"), (0, 1), True),
    (("VV", "VH"), ("vh", "vv"), (1, 0), True),
    (("gray",), ("B04",), (0,), True),
    (("red", "red", "red"), ("red", "red", "red"), (0, 1, 2), True),
]


@pytest.mark.parametrize(("expected", "found", "order", "certain"), ORDERS)
def test_bands_are_matched_by_their_names(
    expected: tuple[str, ...], found: tuple[str, ...], order: tuple[int, ...] | None, certain: bool
) -> None:
    assert match_bands(expected, found) == (order, certain)


def test_every_order_of_every_naming_is_put_right() -> None:
    namings = [RGB, ("Red", "Green", "Blue"), ("B4", "B3", "B2"), ("Band 4 (Red)", "Band 3 (Green)", "Band 2 (Blue)")]
    for naming in namings:
        for order in itertools.permutations(range(3)):
            found = [naming[i] for i in order]
            assert match_bands(naming, found) == (tuple(found.index(name) for name in naming), True)


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        ("4,3,2", (4, 3, 2)),
        ("4 3 2", (4, 3, 2)),
        (" 4, 3 ,2,", (4, 3, 2)),
        ("red,green,blue", RGB),
        ("red green blue", RGB),
        ("B4 B3", ("B4", "B3")),
        ("near infrared,Red", ("near infrared", "Red")),
        ("near infrared", ("near infrared",)),
        ("NIR 842, 3", ("NIR 842", 3)),
        ("Band 4 (Red)", ("Band 4 (Red)",)),
        ("0,-1", (0, -1)),
        ("", ()),
    ],
)
def test_lists_of_numbers_and_names(text: str, bands: tuple[int | str, ...]) -> None:
    assert parse_bands(text) == bands


def test_bands_are_found_by_name_and_ambiguity_shows() -> None:
    names = ("Blue-444", "Blue-475", "Green-560", "Red-668", "NIR-842", "alpha")
    assert find_bands("nir", names) == [4]
    assert find_bands("blue", names) == [0, 1]
    assert find_bands("BLUE 475", names) == find_bands("blue_475", names) == [1]
    assert find_bands("swir", names) == []


@pytest.mark.parametrize(
    ("expected", "names", "advice"),
    [
        (RGB, ("coastal", "Blue", "Green", "Red", "NIR"), "red,green,blue"),
        (("B4", "B3", "B2"), ("B1", "B2", "B3", "B4", "B5"), "B4,B3,B2"),
        (("nir", "red edge 1"), ("RE1", "RE2", "NIR"), "'nir,red edge 1'"),
        ((*RGB, "nir"), (*RGB, "alpha"), ""),
        ((*RGB, "alpha"), (*RGB, "alpha"), ""),
        ((*RGB, "band 4"), (*RGB, "band 4", "band 5"), ""),
        (RGB, ("gray",), ""),
        (RGB, ("Blue-444", "Blue-475", "Green", "Red"), ""),
    ],
)
def test_advice_names_bands_by_meaning_or_is_left_out(
    expected: tuple[str, ...], names: tuple[str, ...], advice: str
) -> None:
    assert advise_bands(expected, names) == advice
