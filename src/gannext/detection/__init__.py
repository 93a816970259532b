"""The anomaly score and the Detector."""

from gannext.detection.detector import Detector
from gannext.detection.device import find_device
from gannext.detection.score import Scoring, denormalise, normalise, score_batch, score_batches

__all__ = ["Detector", "Scoring", "denormalise", "find_device", "normalise", "score_batch", "score_batches"]
