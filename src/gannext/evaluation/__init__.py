"""Protocols, metrics, the benchmark, the live display and figures."""

from gannext.evaluation.benchmark import Cell, Settings, check_models, run_cells, unfinished
from gannext.evaluation.charts import accuracy_chart, leak_chart
from gannext.evaluation.display import Board, Display, open_display
from gannext.evaluation.figures import overview
from gannext.evaluation.floors import FLOORS, floor_scores
from gannext.evaluation.groups import Group, by_kind, by_size
from gannext.evaluation.inspect import Inspected, inspect
from gannext.evaluation.literature import published_numbers
from gannext.evaluation.localisation import Localisation, PixelMetrics
from gannext.evaluation.metrics import Metrics, auroc, measure
from gannext.evaluation.precision import Change, compare
from gannext.evaluation.protocols import (
    NO_TILES,
    BestEpochOnTest,
    batch_statistics,
    evaluate,
    published_auroc,
    published_scores,
    scores_of_test,
)
from gannext.evaluation.table import PROTOCOLS, Row, markdown, read_rows, write_rows

__all__ = [
    "FLOORS",
    "NO_TILES",
    "PROTOCOLS",
    "BestEpochOnTest",
    "Board",
    "Cell",
    "Change",
    "Display",
    "Group",
    "Inspected",
    "Localisation",
    "Metrics",
    "PixelMetrics",
    "Row",
    "Settings",
    "accuracy_chart",
    "auroc",
    "batch_statistics",
    "by_kind",
    "by_size",
    "check_models",
    "compare",
    "evaluate",
    "floor_scores",
    "inspect",
    "leak_chart",
    "markdown",
    "measure",
    "open_display",
    "overview",
    "published_auroc",
    "published_numbers",
    "published_scores",
    "read_rows",
    "run_cells",
    "scores_of_test",
    "unfinished",
    "write_rows",
]
