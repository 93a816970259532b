"""What a detector's file says of its origin, as reports show it and as its data are found again."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext import __version__

if TYPE_CHECKING:
    from gannext.data import DataConfig
    from gannext.detection import Detector
    from gannext.runtime import Predictor


def settings_of(detector: "Predictor", path: Path) -> dict[str, Any]:
    """Names and values for the report's table of how it was made."""
    networks, (height, width) = detector.networks, detector.size
    settings: dict[str, Any] = {
        "detector": path,
        "network": networks["model"],
        "image_size": f"{height}x{width}",
        "channels": detector.channels,
        "options": dict(networks["generator"]),
        "tiles": f"{detector.tiling.side} pixels, overlap {detector.tiling.overlap:g}" if detector.tiling else None,
        "threshold": detector.calibration.threshold,
        "false-positive_rate": detector.calibration.fpr,
        "held-out_images": len(detector.calibration.scores),
    }
    if detector.pixel_calibration:
        settings["pixel_threshold"] = detector.pixel_calibration.threshold
        settings["pixel_false-positive_rate"] = detector.pixel_calibration.fpr
    return {**settings, **detector.provenance}


def data_config(detector: "Detector", stored: Mapping[str, Any]) -> "DataConfig":
    """The data that a detector's file says it was made from, at the detector's own size."""
    from gannext.data import DataConfig

    root = stored.get("data_root")
    return DataConfig(
        stored["dataset"],
        None if root is None else Path(root),
        stored.get("abnormal_class"),
        detector.size,
        detector.channels,
        stored.get("train_images"),
        stored.get("test_images"),
        stored.get("seed", 0),
        tile=detector.tiling.side if detector.tiling else None,
        bits=detector.bits,
    )


def footer() -> str:
    """The report's last line."""
    return f"Made by GanNeXt {__version__}. Everything is in this file; nothing is sent or fetched."
