"""A detector from an exported file: the same judgements without torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gannext.runtime.calibration import Calibration
from gannext.runtime.engines import (
    ENGINES,
    MAP,
    RECONSTRUCTION,
    SCORE,
    Engine,
    onnxruntime_engine,
    openvino_engine,
)
from gannext.runtime.errors import InputError, unknown
from gannext.runtime.images import BITS, Pixels
from gannext.runtime.pixels import PixelCalibration
from gannext.runtime.predictor import Predictor, View
from gannext.runtime.sealed import ExportedContent, read_exported
from gannext.runtime.tiles import Tiling


class Exported(Predictor):
    """Judges images by a file of `gannext export`.

    Args:
        metadata: what the file says, as `gannext.detection.export_detector` wrote it.
        engine: computes its graph.
        path: what errors call the file.

    Raises:
        KeyError, TypeError, ValueError: the metadata lack something, or it is impossible.
    """

    def __init__(self, metadata: Mapping[str, Any], engine: Engine, path: str | Path = "the exported file") -> None:
        tiling, pixels = metadata["tiling"], metadata["pixels"]
        super().__init__(
            Calibration(tuple(metadata["calibration"]["scores"]), metadata["calibration"]["fpr"]),
            metadata["provenance"],
            Tiling(**tiling) if tiling else None,
            int(metadata.get("bits", BITS[1])),
        )
        self.metadata = dict(metadata)
        self.engine, self.path = engine, path
        self._size = metadata["size"][0], metadata["size"][1]
        self._channels = int(metadata["channels"])
        if min(self._size) < 1 or self._channels not in (1, 3) or not BITS[0] <= self.bits <= BITS[1]:
            raise ValueError(f"images of {self._size} pixels with {self._channels} channels of {self.bits} bits")
        self._pixels = PixelCalibration.read(pixels) if pixels else None

    @classmethod
    def load(cls, path: str | Path, engine: str = "auto", threads: int | None = None) -> "Exported":
        """Reads an exported file.

        Args:
            path: the ONNX file, or OpenVINO's .xml, which has its .bin beside it.
            engine: one of ENGINES; "auto" runs an ONNX file by ONNX Runtime and OpenVINO's own by OpenVINO.
            threads: how many compute; by default as many as there are processors.

        Raises:
            InputError: the file is missing, not ours, cut short, altered or of a newer version; or the engine is not
                installed or cannot run it.
        """
        if engine not in ENGINES:
            raise unknown("engine", engine, ENGINES)
        return cls.of(read_exported(path), path, engine, threads)

    @classmethod
    def of(cls, content: ExportedContent, path: str | Path, engine: str = "auto", threads: int | None = None) -> "Exported":
        """As `load`, of what is in such a file; `path` is for errors to name."""
        if content.weights is not None and engine == "onnxruntime":
            raise InputError(f"{path} is a file for OpenVINO: leave --engine out, or export it as .onnx")
        make = openvino_engine if engine == "openvino" or content.weights is not None else onnxruntime_engine
        with one_sentence(path):
            return cls(content.metadata, make(content, threads), path)

    def save(self, path: str | Path) -> None:
        """Writes the file that it was loaded from once more, with the thresholds and tiles of now; from then on it is that one.

        Raises:
            InputError: that file is gone or another by now; or as `Predictor.save` says.
        """
        content = read_exported(self.path)
        if content.metadata != self.metadata:
            raise InputError(f"{self.path} has been replaced since it was loaded: load it again")
        metadata = {
            **self.metadata,
            "calibration": asdict(self.calibration),
            "threshold": self.calibration.threshold,
            "tiling": self.tiling and asdict(self.tiling),
            "pixels": self._pixels and asdict(self._pixels),
            "provenance": self.provenance,
        }
        content.with_metadata(metadata).save(path)
        self.metadata, self.path = metadata, path

    @property
    def networks(self) -> Mapping[str, Any]:
        return dict(self.metadata["networks"])

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def pixel_calibration(self) -> PixelCalibration | None:
        return self._pixels

    @pixel_calibration.setter
    def pixel_calibration(self, calibration: PixelCalibration) -> None:
        self._pixels = calibration

    def look(self, pixels: Pixels, *, reconstruct: bool = False, maps: bool = False) -> View:
        names = [SCORE, *([RECONSTRUCTION] if reconstruct else []), *([MAP] if maps else [])]
        with one_sentence(self.path):
            found = dict(zip(names, self.engine(np.ascontiguousarray(pixels), names), strict=True))
        return View(found[SCORE].astype(np.float64), found.get(RECONSTRUCTION), found.get(MAP))


@contextmanager
def one_sentence(path: str | Path) -> Iterator[None]:
    """Turns the engines' errors, which are of their own kinds, into an InputError."""
    try:
        yield
    except (InputError, ImportError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path} cannot be run here ({reason}): upgrade gannext and its packages") from None
