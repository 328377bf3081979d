"""Which model a prediction uses: one that was named, the one in the working folder, or one learnt from the scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.classes import ClassMap
from geoseg.config import MODEL_NAME, PredictConfig, TrainConfig, opening_of
from geoseg.errors import InputError, InputMissingError
from geoseg.files.record import MALFORMED
from geoseg.jobs.imagery import added_bands
from geoseg.learning.checkpoints import has_checkpoint
from geoseg.location import local
from geoseg.model.card_file import read_card
from geoseg.model.file import Model
from geoseg.model.mixture import Experts
from geoseg.model.network import NetworkSpec, build
from geoseg.outputs.names import is_folder
from geoseg.raster.derived import open_bands
from geoseg.raster.scene import Scene
from geoseg.raster.statistics import BandStats
from geoseg.recipes import RecipeName, WindowConfig

_RECIPE: RecipeName = "quick"


@dataclass(frozen=True)
class ModelChoice:
    """The model of a prediction.

    Attributes:
        path: The model file.
        learn: Whether it has to be learnt first.
        why: Why it is learnt; or what to know about the model that is used, empty for nothing.
    """

    path: Path
    learn: bool
    why: str = ""

    def training(self, config: PredictConfig) -> TrainConfig:
        """Return the settings of the training. It continues an interrupted one."""
        resume = has_checkpoint(self.path)
        return TrainConfig(
            data=config.scenes[0], out=self.path, recipe=_RECIPE, bands=config.bands, extra=config.extra,
            device=config.device,
            precision=config.precision, max_bad=len(config.scenes) - 1, resume=resume,
            overwrite=self.path.exists() and not resume, **opening_of(config),
        )  # fmt: skip


_FEW = 3
"""Models beside an output that are told."""


def choose_model(config: PredictConfig) -> ModelChoice:
    """Return the model of a prediction.

    A model that an earlier prediction left beside the output is used again. It is learnt anew on request, or, where
    outputs may be replaced, if the scene it was learnt from has changed; a model of other origin is never replaced
    without a request.

    Raises:
        InputError: The model beside the output is damaged and must not be replaced.
    """
    if config.model is not None:
        return ModelChoice(config.model, learn=False)
    default, beside = Path(MODEL_NAME), learnt_path(config.out)
    if default.exists() and not config.relearn:
        return ModelChoice(default, learn=False)
    scenes = "the scene" if len(config.scenes) == 1 else "the scenes"
    if not beside.exists():
        others = sorted(path.name for path in beside.parent.glob("*.safetensors"))[:_FEW]
        hint = f" ({', '.join(others)} beside the output would be used by --model)" if others else ""
        return ModelChoice(beside, True, f"no {MODEL_NAME} here{hint}: first learning one from {scenes}")
    if config.relearn:
        return ModelChoice(beside, True, f"learning {beside} anew from {scenes}, as --relearn says")
    try:
        data = _quick_data(beside)
    except InputError as error:
        if not config.overwrite:
            raise
        return ModelChoice(beside, True, f"{error}: learning it anew from {scenes}")
    if data is None:
        return ModelChoice(beside, False, "it lies beside the output; --relearn learns another one in its place")
    change = _change(config, beside, data)
    if change and config.overwrite:
        return ModelChoice(beside, True, f"{change}: learning {beside} anew from {scenes}")
    names = data["names"]
    source = ", ".join(names) if len(names) <= 2 else f"{len(names)} scenes"
    hint = f"; {change}" if change else ""
    return ModelChoice(beside, False, f"learnt here before from {source}{hint}; --relearn learns it anew")


def learnt_path(out: Path) -> Path:
    """Return the path of a model that a prediction learns itself: beside its output."""
    return out / MODEL_NAME if is_folder(out) else out.with_name(f"{out.stem}-model.safetensors")


def unlearnt(config: PredictConfig) -> Model:
    """Return a model like the one that would be learnt, but with random weights: enough to plan with.

    Raises:
        InputMissingError, InputError: The first scene cannot be opened.
    """
    settings = ModelChoice(learnt_path(config.out), learn=True).training(config)
    recipe = settings.settled
    scene = open_bands(
        config.scenes[0], config.bands, config.assume_crs, opening=config, quiet=True, extras=config.extra
    )  # fmt: skip
    with scene:
        bands, dtype = scene.band_names, str(scene.dtype)
    count = len(bands)
    return Model(
        network=build(NetworkSpec(settings.encoder, count, recipe.classes, recipe.edges)).eval(),
        bands=bands,
        dtype=dtype,
        stats=BandStats((0.0,) * count, (1.0,) * count, (0.0,) * count, (1.0,) * count, 1),
        superpixels=settings.superpixels,
        windows=WindowConfig(),
        classes=ClassMap.default(recipe.classes),
        provenance={},
        **added_bands([scene]),
        experts=Experts.untrained(count, recipe.classes, "surroundings"),
    )


def _quick_data(path: Path) -> dict[str, Any] | None:
    """What a model tells of the scenes that it was learnt from; None if a prediction did not learn it.

    Raises:
        InputError: The model is damaged.
    """
    provenance = read_card(path)["provenance"]
    try:
        names = provenance["data"]["names"]
        ours = provenance["recipe"]["name"] == _RECIPE and names and all(isinstance(name, str) for name in names)
    except MALFORMED:
        return None
    return {"names": names} if ours else None


def _change(config: PredictConfig, model: Path, data: dict[str, Any]) -> str:
    """What has changed since the model was learnt; empty for nothing."""
    learnt_from = set(data["names"])
    same = [scene for scene in config.scenes if scene.name in learnt_from]
    if not same and not is_folder(config.out):
        return f"it was learnt from {', '.join(data['names'][:2])}, not from {config.scenes[0].name}"
    learnt = model.stat().st_mtime_ns
    for path in local(*same):
        if path.is_file() and path.stat().st_mtime_ns > learnt:
            return f"{path} is newer than {model}"
    return _band_change(config, model)


def _band_change(config: PredictConfig, model: Path) -> str:
    """How the chosen bands differ from those of the model; empty if they do not, or the first scene is no help."""
    if config.bands is None:
        return ""
    try:
        with Scene(config.scenes[0], config.bands, config.assume_crs, opening=config, quiet=True) as scene:
            chosen = list(scene.band_names)
    except (InputError, InputMissingError):
        return ""
    known = list(read_card(model)["bands"])[: len(chosen)]
    return "" if chosen == known else f"{model} was learnt from the bands {', '.join(known)}"
