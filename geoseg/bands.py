"""Names of bands: what a name says, which names say the same, and how the bands of two rasters correspond.

A name says what a band shows ('red', 'NIR 842', 'Near-Infrared'), or which band of its sensor it is ('B4', 'SR_B04'),
or nothing ('band 4', 'Layer_4', 'gray'). Sensors number their bands differently, so that a number never stands for a
colour: B8 is near infrared for Sentinel-2 only. Such names are compared as names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Bands = tuple[int | str, ...]
"""Bands that a user chose: numbers, counted from 1, or names."""

_INFRARED = r"infra ?reds?|ir"
_MEANINGS = (
    # The first that fits counts: 'red edge' before 'red', 'short wave infrared' before 'infrared'.
    ("red edge", r"(?:v|vegetation )?red ?edge|vre|re"),
    ("swir", rf"swir|short ?wave(?: ?(?:{_INFRARED}))?"),
    ("mwir", rf"mwir|mir|(?:mid|middle|medium)(?: ?wave)? ?(?:{_INFRARED})"),
    ("thermal", rf"lwir|tirs?|thermal(?: ?(?:{_INFRARED}))?|long ?wave ?(?:{_INFRARED})"),
    ("nir", rf"v?nir|near ?(?:{_INFRARED})|infra ?red"),
    ("coastal", r"(?:ultra ?)?coastal(?: ?blue)?(?: ?aerosol)?|aerosol|ultra ?blue|deep ?blue"),
    ("pan", r"pan(?:chromatic)?"),
    ("alpha", r"alpha"),
    ("gray", r"gr[ae]y(?: ?scale)?"),
    ("yellow", r"yellow"),
    ("red", r"red"),
    ("green", r"green"),
    ("blue", r"blue"),
)
_LETTERS = {"r": "red", "g": "green", "b": "blue", "n": "nir"}
_SEVERAL = frozenset({"red edge", "swir", "mwir", "thermal"})
"""Sensors have several of these, so that their numbers count: 'SWIR 1' is not 'SWIR 2'."""

_UNINFORMATIVE = frozenset({"gray"})
"""GDAL tags any single band so."""

_FILLERS = frozenset(
    [
        "b",
        "band",
        "bands",
        "ch",
        "channel",
        "layer",
        "color",
        "colour",
        "sr",
        "toa",
        "boa",
        "reflectance",
        "refl",
        "surface",
        "visible",
        "vis",
        "light",
        "narrow",
        "broad",
        "nm",
        "um",
        "m",
        "micrometers",
        "micrometer",
        "nanometers",
        "nanometer",
        "wavelength",
        "center",
        "central",
        "s",
        "sentinel",
        "l",
        "landsat",
        "msi",
        "oli",
        "tm",
        "etm",
        "naip",
        "planet",
        "planetscope",
        "worldview",
        "micasense",
        "hls",
    ]
)
_CODE = re.compile(r"(?<![a-z0-9])b(?:and)?[ _-]*0*(\d{1,2}a?)(?![a-z0-9])")
_PLACE = re.compile(r"^(?P<stem>.*?)[ _.-]*(?P<number>\d+)$")


@dataclass(frozen=True)
class BandName:
    """What the name of a band says.

    Attributes:
        name: The name as it is.
        text: The words of the name, in lower case and with single spaces.
        meaning: What the band shows, such as 'red' or 'nir'; empty if unknown.
        number: The number that goes with the meaning: a wavelength, or the 1 of 'SWIR 1'; empty without one.
        code: The sensor's number of the band, without leading zeros: '4', '8a'; empty without one.
        named: Whether the name says anything; 'band 4' only repeats where the band lies.
    """

    name: str
    text: str
    meaning: str = ""
    number: str = ""
    code: str = ""
    named: bool = True

    @property
    def short(self) -> str:
        """The meaning with a number that counts, else the name: what a user may type for --bands."""
        if not self.meaning:
            return self.name
        return f"{self.meaning} {self.number}" if self.meaning in _SEVERAL and self.number else self.meaning

    @property
    def key(self) -> str:
        """A text that is equal for names that say the same; empty where the name says nothing."""
        return (self.short if self.meaning else self.code or self.text) if self.named else ""


@lru_cache(maxsize=4096)
def read_name(name: str) -> BandName:
    """Return what one name says, whatever its case and separators."""
    # 'NearInfrared' and 'RedEdge' are two words, 'NIR' is one.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name.strip())
    text = " ".join(re.findall(r"[^\W_]+", name.casefold()))
    lowered = re.sub(r"[^a-z0-9]+", " ", spaced.casefold()).strip()
    if re.fullmatch(r"band[ _-]*\d+", text):
        return BandName(name, text, code=re.sub(r"\D+0*", "", text) or "0", named=False)
    if lowered in _LETTERS:
        return BandName(name, text, _LETTERS[lowered])
    code = _CODE.search(lowered)
    rest = f"{lowered[: code.start()]} {lowered[code.end() :]}" if code else lowered
    meaning, number = _meaning(rest)
    # 'B4 mask' and 'QA B4' are no band 4; without a meaning, only words that say nothing may follow the number.
    if code and not meaning and (not _only_fillers(lowered[code.end() :]) or re.search(r"\bqa\b|mask|cloud", rest)):
        code = None
    return BandName(
        name,
        text,
        meaning,
        number,
        code[1] if code else "",
        meaning not in _UNINFORMATIVE if meaning or code else bool(text),
    )


def read_names(names: Sequence[str]) -> list[BandName]:
    """Return what the names of one raster's bands say.

    Names that differ in their last number only, such as those that terra gives ('dtm_1', 'dtm_2'), say no more than
    where the bands lie.
    """
    read = [read_name(name) for name in names]
    places = [_PLACE.match(entry.text) if not (entry.meaning or entry.code) else None for entry in read]
    if all(places) and len({place["stem"] for place in places if place}) == 1:
        return [
            BandName(e.name, e.text, code=str(int(p["number"])), named=False)
            for e, p in zip(read, places, strict=True)
            if p
        ]
    return read


def alike(a: BandName, b: BandName) -> bool:
    """Return whether two names say the same."""
    if a.text == b.text:
        return True
    if a.meaning and b.meaning:
        several = a.meaning in _SEVERAL
        return a.meaning == b.meaning and (not several or a.number == b.number or (bool(a.code) and a.code == b.code))
    return a.code != "" and a.code == b.code


def differ(a: BandName, b: BandName) -> bool:
    """Return whether two names certainly say different things; most names are neither this nor alike."""
    if not (a.named and b.named) or alike(a, b):
        return False
    if a.meaning and b.meaning:
        # A wavelength and an index cannot be compared.
        comparable = a.number and b.number and (len(a.number) > 2) == (len(b.number) > 2)
        return a.meaning != b.meaning or bool(comparable)
    return bool(a.code and b.code)


def match_bands(expected: Sequence[str], found: Sequence[str]) -> tuple[tuple[int, ...] | None, bool]:
    """Find the bands of a raster that are those expected, by their names.

    Bands whose names say nothing, or cannot be compared, are taken where they are.

    Args:
        expected: Names of the bands that are wanted.
        found: Names of as many bands of the raster.

    Returns:
        For each band that is expected, its index in `found`; None where the names contradict one another. And whether
        that is certain: False where names that say something could not be compared.
    """
    wanted, present = read_names(expected), read_names(found)
    stay = tuple(range(len(wanted)))
    if all(map(alike, wanted, present)):
        return stay, True
    moved = _unique(wanted, present)
    if len(moved) == len(wanted):
        return tuple(moved[i] for i in stay), True
    # Names that only say where bands lie do not move some of them.
    moved = {i: j for i, j in moved.items() if wanted[i].named and present[j].named}
    left = [i for i in stay if i not in moved]
    if left != [j for j in stay if j not in moved.values()] or any(differ(wanted[i], present[i]) for i in left):
        return None, True
    certain = all(alike(wanted[i], present[i]) or not (wanted[i].named and present[i].named) for i in left)
    return tuple(moved.get(i, i) for i in stay), certain


def customary_names(names: Sequence[str]) -> Sequence[str]:
    """Return red, green, blue and, of four, near infrared for bands whose names say nothing, as in most aerial surveys.

    Other names are returned as they are.
    """
    unnamed = not any(entry.named for entry in read_names(names))
    return ("red", "green", "blue", "nir")[: len(names)] if unnamed and len(names) in (3, 4) else names


def find_bands(name: str, names: Sequence[str]) -> list[int]:
    """Return the indices of the bands that `name` may mean: those of that very name, else those that say the same."""
    wanted, present = read_name(name), read_names(names)
    exact = [i for i, entry in enumerate(present) if entry.text == wanted.text]
    return exact or [i for i, entry in enumerate(present) if alike(wanted, entry)]


def advise_bands(expected: Sequence[str], names: Sequence[str]) -> str:
    """Return what to give as --bands for `expected`, as a word of a shell; empty unless each is found once in `names`.

    An alpha band, and bands whose names only say where they lie, are never advised.
    """
    words = []
    for wanted in read_names(expected):
        found = find_bands(wanted.short, names)
        if len(found) != 1 or not wanted.named or wanted.meaning == "alpha" or "," in wanted.short:
            return ""
        words.append(wanted.short)
    return shlex.quote(",".join(words)) if len(set(words)) == len(words) else ""


def parse_bands(text: str) -> Bands:
    """Return the bands that a text lists: '4,3,2', '4 3 2', 'red,green,blue', 'B4, B3, B2', 'NIR 842,red,green'."""
    parts = [" ".join(part.split()) for part in text.split(",") if part.strip()]
    return tuple(band for part in parts for band in _parse_part(part))


def band_list(names: Sequence[str], shown: int = 16) -> str:
    """Return names for a message: the first few, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _parse_part(part: str) -> Bands:
    words = part.split()
    if all(re.fullmatch(r"[+-]?\d+", word) for word in words):
        return tuple(int(word) for word in words)
    several = all(read_name(word).meaning or read_name(word).code for word in words) and not _joined(part)
    return tuple(words) if several else (part,)


def _joined(part: str) -> bool:
    """Whether the words are one name, as in 'red edge'."""
    return bool(read_name(part).meaning)


def _meaning(text: str) -> tuple[str, str]:
    """The meaning of a text of letters, digits and spaces, and its number; empty unless all of it is understood."""
    spaced = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " ", text)
    for meaning, pattern in _MEANINGS:
        hit = re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", spaced)
        if hit:
            rest = f"{spaced[: hit.start()]} {spaced[hit.end() :]}"
            if not _only_fillers(rest):
                return "", ""
            numbers = re.findall(r"\d+", spaced[hit.end() :]) or [n for n in re.findall(r"\d+", rest) if len(n) > 2]
            return meaning, numbers[0].lstrip("0") if numbers else ""
    return "", ""


def _only_fillers(text: str) -> bool:
    return all(word in _FILLERS for word in re.findall(r"[a-z]+", text))


def _unique(wanted: Sequence[BandName], present: Sequence[BandName]) -> dict[int, int]:
    """The bands that have one counterpart, and are its only one: index in `wanted` -> index in `present`."""
    pairs: dict[int, list[int]] = {}
    for i, entry in enumerate(wanted):
        hits = [j for j, other in enumerate(present) if alike(entry, other)]
        exact = [j for j in hits if present[j].text == entry.text]
        pairs[i] = exact if len(hits) > 1 and exact else hits
    targets = [j for hits in pairs.values() for j in hits]
    return {i: hits[0] for i, hits in pairs.items() if len(hits) == 1 and targets.count(hits[0]) == 1}
