"""The anomaly score and map, and the Detector."""

from gannext.detection.calibrate import calibrate, calibrate_tiles
from gannext.detection.detector import Detector
from gannext.detection.device import find_device, slow_in_bf16
from gannext.detection.export import export_detector, precisions_of
from gannext.detection.fold import composed, parted
from gannext.detection.maps import MAPS, AnomalyMap, MapKind
from gannext.detection.memory import Neighbours, NeighbourScoring
from gannext.detection.score import JudgeScoring, Scoring, denormalise, describe, normalise, score_batch, score_batches
from gannext.detection.scorings import AnyScoring, ScoringPlan

__all__ = [
    "MAPS",
    "AnomalyMap",
    "AnyScoring",
    "Detector",
    "JudgeScoring",
    "MapKind",
    "NeighbourScoring",
    "Neighbours",
    "Scoring",
    "ScoringPlan",
    "calibrate",
    "calibrate_tiles",
    "composed",
    "denormalise",
    "describe",
    "export_detector",
    "find_device",
    "normalise",
    "parted",
    "precisions_of",
    "score_batch",
    "score_batches",
    "slow_in_bf16",
]
