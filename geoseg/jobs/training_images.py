"""The images of a training: which of them can be used, their statistics, and whether they are still the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geoseg.config import TrainConfig
from geoseg.datasets.bad_images import BadImages, ImageError
from geoseg.datasets.dataset import Dataset
from geoseg.datasets.orthophotos import Orthophotos
from geoseg.files.stamps import Stamps
from geoseg.jobs.imagery import in_common_units
from geoseg.learning.distributed import World
from geoseg.location import Location
from geoseg.raster.scene import Scene
from geoseg.raster.source import ImageSource
from geoseg.raster.statistics import BandStats, band_stats

_REMEDY = "when it is complete, start over with --overwrite"


class TrainingImages:
    """The images of a data set that a training uses, the same in all of its processes.

    Args:
        dataset: The data set.
        config: The settings.
        bad_images: Takes images that cannot be used.
        world: The processes that train together.
        statistics_images: Largest number of images of a benchmark from which band statistics are estimated.

    Attributes:
        sources: The images without those that cannot be used.
        of_protocol: Whether they are those of a benchmark, not scenes.

    Raises:
        InputMissingError, InputError: More images are faulty than may be left out.
    """

    def __init__(
        self, dataset: Dataset, config: TrainConfig, bad_images: BadImages, world: World, statistics_images: int
    ) -> None:
        self._dataset, self._config, self._bad_images, self._world = dataset, config, bad_images, world
        self._statistics_images = statistics_images
        self.of_protocol = not isinstance(dataset, Orthophotos)
        self._stamps = Stamps.of(dataset.files if self.of_protocol else ())
        bad_images.check(dataset.sources)
        self.sources = self._usable()

    @property
    def measured(self) -> Sequence[ImageSource]:
        """The images for band statistics: all scenes, or an evenly spaced selection of a benchmark's images."""
        sources = self.sources
        count = min(len(sources), self._statistics_images) if self.of_protocol else len(sources)
        return [sources[i * len(sources) // count] for i in range(count)]

    def statistics(self) -> BandStats:
        """Return the band statistics, which the first process measures.

        Images that turn out to be damaged are left out, here and in `sources`.

        Raises:
            InputMissingError, InputError: More images are faulty than may be left out.
        """
        stats, bad = self._world.from_first(self._measure)
        if not self._world.first:
            self._add(bad)
            self.sources = self._usable()
        return stats

    def share_faults(self) -> None:
        """Tell all processes of the images that one of them found to be damaged, so that they are counted together.

        Raises:
            InputMissingError, InputError: More images are faulty than may be left out.
        """
        if self._world.size > 1:
            for found in self._world.gather(self._bad_images.errors):
                self._add(found)
            self._bad_images.enforce_limit(len(self.sources))

    def check_scenes(self, network: bool) -> None:
        """Refuse to go on with scenes that have changed; images of a benchmark are checked by `check` only.

        Raises:
            InputError: A scene has changed.
        """
        for source in self.sources:
            if isinstance(source, Scene):
                source.check_unchanged(_REMEDY, network)

    def check(self) -> None:
        """Refuse images that have changed since they were opened.

        Raises:
            InputError: An image has changed.
        """
        self.check_scenes(network=True)
        self._stamps.check(self._config.data, _REMEDY)

    def _measure(self) -> tuple[BandStats, Mapping[Location, ImageError]]:
        try:
            stats = band_stats(self.measured, on_error=self._bad_images.add)
        finally:
            measured, self.sources = self.sources, self._usable()
        if len(self.sources) < len(measured):
            stats = band_stats(self.measured)
        return stats, self._bad_images.errors

    def _add(self, bad: Mapping[Location, ImageError]) -> None:
        for path, error in bad.items():
            self._bad_images.add(path, error)

    def _usable(self) -> list[ImageSource]:
        sources = in_common_units(self._bad_images.usable(self._dataset.sources))
        self._bad_images.enforce_limit(len(sources) + len(self._bad_images.errors))
        return sources
