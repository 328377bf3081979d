"""Frozen, validated settings: one module a command. A default lives here and nowhere else.

Neither torch nor rasterio is imported here, because `geoseg --help` reads the defaults and has to be quick.
"""

from __future__ import annotations

from geoseg.config.change import ChangeConfig
from geoseg.config.classes import (
    ApplyClassesConfig,
    EditClassesConfig,
    ExportClassesConfig,
    ImportClassesConfig,
    MergeClassesConfig,
    OrderClassesConfig,
    SetClassConfig,
    ShowClassesConfig,
    SplitClassConfig,
    SuggestClassesConfig,
)
from geoseg.config.common import Opening, Precision, opening_of
from geoseg.config.engine import Computing, Engine
from geoseg.config.evaluate import EvaluateConfig
from geoseg.config.export import ExportConfig
from geoseg.config.inspection import CheckConfig, InfoConfig, StatusConfig
from geoseg.config.polygonize import PolygonFormat, PolygonizeConfig, PolygonizeRastersConfig
from geoseg.config.predict import ROUNDS, Blend, Match, PredictConfig
from geoseg.config.report import ReportConfig
from geoseg.config.superpixels import SegmentConfig, SegmentFormat, SegmentScenesConfig
from geoseg.config.teach import TeachConfig
from geoseg.config.train import MODEL_NAME, TrainConfig, Weights
from geoseg.config.work import FinalizeConfig, PlanConfig, Shard, WorkConfig

__all__ = [
    "MODEL_NAME",
    "ROUNDS",
    "ApplyClassesConfig",
    "Blend",
    "ChangeConfig",
    "CheckConfig",
    "Computing",
    "EditClassesConfig",
    "Engine",
    "EvaluateConfig",
    "ExportClassesConfig",
    "ExportConfig",
    "FinalizeConfig",
    "ImportClassesConfig",
    "InfoConfig",
    "Match",
    "MergeClassesConfig",
    "Opening",
    "OrderClassesConfig",
    "PlanConfig",
    "PolygonFormat",
    "PolygonizeConfig",
    "PolygonizeRastersConfig",
    "Precision",
    "PredictConfig",
    "ReportConfig",
    "SegmentConfig",
    "SegmentFormat",
    "SegmentScenesConfig",
    "SetClassConfig",
    "Shard",
    "ShowClassesConfig",
    "SplitClassConfig",
    "StatusConfig",
    "SuggestClassesConfig",
    "TeachConfig",
    "TrainConfig",
    "Weights",
    "WorkConfig",
    "opening_of",
]  # fmt: skip
