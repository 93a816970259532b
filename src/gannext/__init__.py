"""GanNeXt: a convolutional GAN that detects anomalies in images, trained on normal images only.

`from gannext import Detector` is the way in, and `gannext.load` also takes exported files, which need no torch; importing this
package alone loads neither.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detector", "__version__", "load"]

if TYPE_CHECKING:
    from gannext.detection import Detector
    from gannext.loading import load


def __getattr__(name: str) -> Any:
    if name == "Detector":
        try:
            from gannext.detection import Detector
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            message = "a Detector takes torch: pip install 'gannext[train]', or open an exported file by gannext.load"
            raise ModuleNotFoundError(message, name="torch") from None
        return Detector
    if name == "load":
        from gannext.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
