"""GanNeXt: a convolutional GAN that detects anomalies in images, trained on normal images only.

`from gannext import Detector` is the way in; importing this package alone loads no torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detector", "__version__"]

if TYPE_CHECKING:
    from gannext.detection import Detector


def __getattr__(name: str) -> Any:
    if name == "Detector":
        from gannext.detection import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
