"""Spectral indices by name: ratios of sums of bands, which show vegetation or water whatever the light.

An index is clipped to [-1, 1], and 0 where its denominator is 0, so that it is known wherever its bands are;
`geoseg.raster.derived` computes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.bands import Bands, band_list, customary_names, find_bands, parse_bands
from geoseg.errors import BandError, SettingError


@dataclass(frozen=True)
class Formula:
    """An index as the ratio of two sums.

    Attributes:
        roles: What its bands show, in the order in which they are given.
        above: Weights of the bands in the numerator.
        below: Weights of the bands in the denominator.
    """

    roles: tuple[str, ...]
    above: tuple[float, ...]
    below: tuple[float, ...]


FORMULAS: Mapping[str, Formula] = {
    # Rouse et al. 1974
    "ndvi": Formula(("nir", "red"), (1, -1), (1, 1)),
    # Gitelson, Kaufman and Merzlyak 1996
    "gndvi": Formula(("nir", "green"), (1, -1), (1, 1)),
    # Barnes et al. 2000
    "ndre": Formula(("nir", "red edge"), (1, -1), (1, 1)),
    # McFeeters 1996
    "ndwi": Formula(("green", "nir"), (1, -1), (1, 1)),
    # Woebbecke et al. 1995
    "exg": Formula(("red", "green", "blue"), (-1, 2, -1), (1, 1, 1)),
    # Louhaichi, Borman and Johnson 2001
    "gli": Formula(("red", "green", "blue"), (-1, 2, -1), (1, 2, 1)),
    # Gitelson et al. 2002
    "vari": Formula(("red", "green", "blue"), (-1, 1, 0), (1, 1, -1)),
}
"""Name -> formula. SAVI and EVI are not among them: they need reflectances, which orthophotos rarely are."""


@dataclass(frozen=True)
class IndexRequest:
    """An index that a user asks for.

    Attributes:
        name: Of `FORMULAS`.
        bands: Numbers or names of its bands, in the order of the formula; None finds them by their names.
    """

    name: str
    bands: Bands | None = None

    @property
    def formula(self) -> Formula:
        """How it is computed."""
        return FORMULAS[self.name]


@dataclass(frozen=True)
class IndexBand:
    """A band that is computed from others.

    Attributes:
        name: Of `FORMULAS`.
        places: Where its bands lie among those that are read, from 0, in the order of the formula.
    """

    name: str
    places: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"name": self.name, "bands": list(self.places)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IndexBand:
        """Return the index that `to_json` described."""
        return cls(str(data["name"]), tuple(int(place) for place in data["bands"]))


def parse_indices(texts: Sequence[str]) -> tuple[IndexRequest, ...]:
    """Return the indices that texts ask for: 'ndvi', 'ndvi,ndwi', or with its bands, 'ndvi=4,1'.

    Raises:
        SettingError: There is no index of a name, it is asked for twice, or needs another number of bands.
    """
    requests: list[IndexRequest] = []
    for text in texts:
        name, equals, chosen = text.partition("=")
        parts = [name] if equals else text.split(",")
        for part in parts:
            request = IndexRequest(part.strip().lower(), parse_bands(chosen) if equals else None)
            _check(request, requests)
            requests.append(request)
    return tuple(requests)


def _check(request: IndexRequest, others: Sequence[IndexRequest]) -> None:
    if request.name not in FORMULAS:
        raise SettingError(f"index is {request.name!r}; choose one of {', '.join(FORMULAS)}")
    roles = request.formula.roles
    if request.bands is not None and len(request.bands) != len(roles):
        raise SettingError(
            f"index {request.name} has {len(roles)} bands, {', '.join(roles)}: give one band for each, "
            f"--index {request.name}={','.join(str(i + 1) for i in range(len(roles)))}"
        )
    if any(request.name == other.name for other in others):
        raise SettingError(f"index {request.name} is given twice; leave one out")


def place_index(path: object, request: IndexRequest, numbers: Sequence[int], names: Sequence[str]) -> IndexBand:
    """Return an index with the places of its bands among those that are read of a raster.

    Args:
        path: What messages call the raster.
        request: The index.
        numbers: Numbers of the bands that are read, from 1.
        names: Their names; where none says anything, see `geoseg.bands.customary_names`.

    Raises:
        BandError: A band is not among them, or several fit.
    """
    roles, known = request.formula.roles, customary_names(names)
    places = []
    for role, band in zip(roles, request.bands or roles, strict=True):
        found = (
            find_bands(band, known) if isinstance(band, str) else [i for i, each in enumerate(numbers) if each == band]
        )
        if len(found) != 1:
            what = "several bands" if found else "no band"
            wanted = f"{role}" if request.bands is None else f"{band!r} ({role})"
            example = ",".join("N" for _ in roles)
            raise BandError(
                f"{path}: {request.name} needs {', '.join(roles)}, and {what} of those that are read "
                f"({band_list(names)}) can be {wanted}; choose more with --bands, or say which are its bands with "
                f"--index {request.name}={example}"
            )
        places.append(found[0])
    return IndexBand(request.name, tuple(places))
