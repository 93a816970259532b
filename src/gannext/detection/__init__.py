"""The anomaly score and map, and the Detector."""

from gannext.detection.calibrate import calibrate, calibrate_tiles
from gannext.detection.detector import Detector
from gannext.detection.device import find_device
from gannext.detection.export import export_detector
from gannext.detection.maps import MAPS, AnomalyMap, MapKind
from gannext.detection.precision import PRECISIONS
from gannext.detection.score import AnyScoring, JudgeScoring, Scoring, denormalise, normalise, score_batch, score_batches

__all__ = [
    "MAPS",
    "PRECISIONS",
    "AnomalyMap",
    "AnyScoring",
    "Detector",
    "JudgeScoring",
    "MapKind",
    "Scoring",
    "calibrate",
    "calibrate_tiles",
    "denormalise",
    "export_detector",
    "find_device",
    "normalise",
    "score_batch",
    "score_batches",
]
