"""What both `gannext predict --report` and `gannext evaluate --report` say of a detector."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext import __version__

if TYPE_CHECKING:
    from gannext.detection import Detector


def settings_of(detector: "Detector", path: Path) -> dict[str, Any]:
    """Names and values for the report's table of how it was made."""
    config = detector.config
    settings: dict[str, Any] = {
        "detector": path,
        "network": config.model,
        "image_size": f"{config.size[0]}x{config.size[1]}",
        "channels": config.channels,
        "options": dict(config.generator),
        "tiles": f"{detector.tiling.side} pixels, overlap {detector.tiling.overlap:g}" if detector.tiling else None,
        "threshold": detector.calibration.threshold,
        "false-positive_rate": detector.calibration.fpr,
        "held-out_images": len(detector.calibration.scores),
    }
    if detector.anomaly_map:
        settings["pixel_threshold"] = detector.anomaly_map.pixels.threshold
        settings["pixel_false-positive_rate"] = detector.anomaly_map.pixels.fpr
    return {**settings, **detector.provenance}


def footer() -> str:
    """The report's last line."""
    return f"Made by GanNeXt {__version__}. Everything is in this file; nothing is sent or fetched."
