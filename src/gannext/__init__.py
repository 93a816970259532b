"""GanNeXt: a convolutional GAN that detects anomalies in images, trained on normal images only.

`gannext.train` makes a Detector of normal images, `Detector.load` opens one that was saved, and `gannext.load` also takes
exported files, which need no torch; importing this package alone does not load it.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detector", "__version__", "load", "train"]

if TYPE_CHECKING:
    from gannext.detection import Detector
    from gannext.loading import load
    from gannext.training import train


def __getattr__(name: str) -> Any:
    if name == "load":
        from gannext.loading import load

        return load
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        if name == "train":
            from gannext.training import train

            return train
        from gannext.detection import Detector
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "lightning"):
            raise
        needs = "a Detector takes torch" if name == "Detector" else "training takes torch and Lightning"
        message = f"{needs}: pip install 'gannext[train]', or open an exported file by gannext.load"
        raise ModuleNotFoundError(message, name=error.name) from None
    return Detector
