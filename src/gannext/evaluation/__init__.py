"""Protocols, metrics, the live display and figures."""

from gannext.evaluation.display import Board, Display, open_display
from gannext.evaluation.figures import overview
from gannext.evaluation.metrics import Metrics, auroc, measure
from gannext.evaluation.protocols import (
    WHY_THEY_DIFFER,
    BestEpochOnTest,
    batch_statistics,
    evaluate,
    published_auroc,
    published_scores,
)

__all__ = [
    "WHY_THEY_DIFFER",
    "BestEpochOnTest",
    "Board",
    "Display",
    "Metrics",
    "auroc",
    "batch_statistics",
    "evaluate",
    "measure",
    "open_display",
    "overview",
    "published_auroc",
    "published_scores",
]
