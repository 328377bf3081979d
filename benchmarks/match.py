"""What `predict --match` does to the agreement of two dates: python benchmarks/match.py MODEL OLD NEW [OLD NEW ...].

Each pair of scenes is mapped without a match and with each kind of it, and compared as `geoseg change --snap` does. A
line says

- which share of the pixels keeps its class;
- Cohen's kappa, which takes from that share what chance would give;
- the perplexity of the classes on both dates, because maps of one class always agree;
- the share that keeps its class where the rank of NDVI within the scene, averaged over 5 x 5 pixels, moved by less than
  0.05: there little has changed on the ground, and ranks do not depend on light or exposure.

The bands are red, green, blue and near infrared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

import geoseg
from geoseg.config import Match
from geoseg.raster.class_raster import ClassRaster
from geoseg.raster.overlap import common_windows

_BANDS = (1, 2, 3, 4)


def ndvi_ranks(path: Path) -> NDArray[np.float64]:
    """The rank of each pixel's NDVI within the scene, in [0, 1], (rows, cols)."""
    with geoseg.open_scene(path, bands=_BANDS) as scene:
        red, _, _, infrared = scene.read(scene.extent)[0].astype(np.float64)
    index = uniform_filter((infrared - red) / np.maximum(infrared + red, 1), 5)
    ranks: NDArray[np.float64] = index.ravel().argsort().argsort().reshape(index.shape) / (index.size - 1)
    return ranks


def perplexity(ids: NDArray[Any]) -> float:
    """The number of classes of equal size that would be as varied."""
    share = np.bincount(ids.ravel())[1:] / ids.size
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def compare(model: Path, scenes: tuple[Path, Path], match: Match | None, folder: Path) -> str:
    """Map both scenes, and return a line of the table."""
    maps = [folder / f"{scene.stem}.tif" for scene in scenes]
    for scene, out in zip(scenes, maps, strict=True):
        geoseg.predict(scene, out, model=model, match=match, bands=_BANDS, overwrite=True)
    with ClassRaster(maps[0]) as old, ClassRaster(maps[1]) as new:
        one, other, _ = common_windows(old.scene, new.scene, snap=True)
        ids = [r.read(w.rows)[:, w.cols.start : w.cols.stop] for r, w in ((old, one), (new, other))]
    ranks = [ndvi_ranks(s)[w.rows.start : w.rows.stop, w.cols.start : w.cols.stop]
             for s, w in zip(scenes, (one, other), strict=True)]  # fmt: skip
    kept, stable = ids[0] == ids[1], np.abs(ranks[0] - ranks[1]) < 0.05
    counts = [np.bincount(each.ravel(), minlength=256) / each.size for each in ids]
    chance = float((counts[0] * counts[1]).sum())
    kappa = (kept.mean() - chance) / (1 - chance)
    return (
        f"{match or 'off':12} kept {kept.mean():6.1%}  kappa {kappa:5.3f}  perplexity {perplexity(ids[0]):5.2f} "
        f"{perplexity(ids[1]):5.2f}  kept where NDVI is stable {kept[stable].mean():6.1%} ({stable.mean():.0%} of all)"
    )


def main() -> None:
    """Print a table for each pair of scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("scenes", type=Path, nargs="+", metavar="OLD NEW")
    given = parser.parse_args()
    for pair in zip(given.scenes[::2], given.scenes[1::2], strict=True):
        print(f"{pair[0].name}, {pair[1].name}, by {given.model.name}")
        for match in (None, *get_args(Match)):
            with tempfile.TemporaryDirectory() as folder:
                print("  " + compare(given.model, pair, match, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
