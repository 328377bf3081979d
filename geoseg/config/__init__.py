"""Frozen, validated settings: one module a command. A default lives here and nowhere else.

Neither torch nor rasterio is imported here, because `geoseg --help` reads the defaults and has to be quick.
"""

from __future__ import annotations

from geoseg.config.common import Opening, Precision, opening_of
from geoseg.config.evaluate import EvaluateConfig
from geoseg.config.inspection import CheckConfig, InfoConfig, StatusConfig
from geoseg.config.polygonize import PolygonizeConfig
from geoseg.config.predict import ROUNDS, Blend, PredictConfig
from geoseg.config.superpixels import SegmentConfig
from geoseg.config.teach import TeachConfig
from geoseg.config.train import MODEL_NAME, TrainConfig, Weights

__all__ = [
    "MODEL_NAME", "ROUNDS", "Blend", "CheckConfig", "EvaluateConfig", "InfoConfig", "Opening", "PolygonizeConfig",
    "Precision", "PredictConfig", "SegmentConfig", "StatusConfig", "TeachConfig", "TrainConfig", "Weights",
    "opening_of",
]  # fmt: skip
