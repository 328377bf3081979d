"""Where to look next: at what is uncertain, common, unlike the others and unlike what is known."""

from __future__ import annotations

import numpy as np
from helpers.models import make_model
from helpers.teaching import basis_of, references_of

from geoseg.model.teaching import Teaching
from geoseg.naming.fitting import fit_teaching
from geoseg.naming.gathering import Sample
from geoseg.naming.suggestions import suggest, unreached


def teaching() -> Teaching:
    return fit_teaching(basis_of(make_model()), references_of(make_model()))


def sample_of(known: Teaching, groups: list[tuple[int, float]]) -> Sample:
    """Groups of superpixels: so many, so far from what is known."""
    random = np.random.default_rng(0)
    D, K = known.references.features.shape[1], known.references.clusters.shape[1]
    centres = [distance * random.normal(0, 1, D) for _, distance in groups]
    features = np.concatenate([c + random.normal(0, 0.02, (n, D)) for c, (n, _) in zip(centres, groups, strict=True)])
    n = len(features)
    features = known.centre + known.deviation * features
    places = np.column_stack([np.zeros(n), 10_000 + np.arange(n), np.arange(n), np.arange(n)]).astype(np.int64)
    group = np.repeat(np.arange(len(groups)), [count for count, _ in groups])
    return Sample(features.astype(np.float32), np.full((n, K), 1 / K, np.float32), np.full(n, 60), places, group)


def test_each_suggestion_is_of_another_kind_the_commonest_first() -> None:
    known = teaching()
    found = suggest(known, sample_of(known, [(10, 8.0), (60, 8.0), (30, 8.0)]), 3)
    assert [suggestion.block for suggestion in found] == [1, 2, 0]
    assert found[0].tells > found[1].tells > found[2].tells > 0
    assert 0.5 < sum(suggestion.tells for suggestion in found) <= 1
    assert all(suggestion.superpixel == 10_000 + suggestion.row for suggestion in found)


def test_what_is_known_is_not_suggested() -> None:
    known = teaching()
    sample = sample_of(known, [(5, 8.0), (5, 8.0)])
    sample.places[:5, 1] = known.references.places[:5, 1]
    assert {suggestion.block for suggestion in suggest(known, sample, 10)} == {1}


def test_there_are_no_more_suggestions_than_superpixels() -> None:
    known = teaching()
    assert len(suggest(known, sample_of(known, [(2, 8.0)]), 10)) == 2
    assert suggest(known, sample_of(known, [(2, 8.0)]), 0) == []


def test_clusters_that_no_reference_reaches_are_told_with_their_share() -> None:
    known = teaching()
    sample = sample_of(known, [(40, 1.0)])
    sample.clusters[:] = 0
    sample.clusters[:10, 4], sample.clusters[10:, 1] = 1, 1
    known.references.clusters[:] = 0
    known.references.clusters[:, 0] = 1
    assert unreached(known, sample) == {2: 0.75, 5: 0.25}
