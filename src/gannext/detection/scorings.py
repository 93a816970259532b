"""The kinds of anomaly score, and how a detector's file holds one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from torch import Tensor

from gannext.detection.memory import Neighbours, NeighbourScoring
from gannext.detection.score import JudgeScoring, Scoring

AnyScoring: TypeAlias = Scoring | JudgeScoring | NeighbourScoring
"""What turns a description into a score, ready to use."""

ScoringPlan: TypeAlias = Scoring | JudgeScoring | Neighbours
"""What a recipe says of a score; `Neighbours` becomes one when training is over and there are images to remember."""

PLANS: dict[str, type[ScoringPlan]] = {"reconstruction": Scoring, "judge": JudgeScoring, "neighbours": Neighbours}
"""By the name that files have for them. A file without one was written when there was only the first."""


def scoring_as_dict(scoring: AnyScoring) -> dict[str, Any]:
    """A scoring as JSON holds it; a memory's tensors are kept elsewhere."""
    plan = scoring.plan if isinstance(scoring, NeighbourScoring) else scoring
    kind = next(name for name, one in PLANS.items() if isinstance(plan, one))
    return {"kind": kind, **asdict(plan)}


def scoring_of(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> AnyScoring:
    """The scoring that `scoring_as_dict` made this of, with its tensors; raises KeyError or TypeError where it made no such
    thing."""
    fields = dict(metadata)
    plan = PLANS[fields.pop("kind", "reconstruction")](**fields)
    return NeighbourScoring(plan, tensors) if isinstance(plan, Neighbours) else plan
