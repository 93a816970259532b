"""What computes an exported file's graph: ONNX Runtime, or OpenVINO where that is installed."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gannext.runtime.errors import InputError
from gannext.runtime.images import Pixels
from gannext.runtime.protobuf import with_outputs
from gannext.runtime.sealed import ExportedContent

IMAGES, SCORE, RECONSTRUCTION, MAP = "images", "score", "reconstruction", "map"  # the graph's input and outputs
ENGINES = ("auto", "onnxruntime", "openvino")
COMPILED = 8  # models that OpenVINO keeps at once

Engine: TypeAlias = Callable[[Pixels, Sequence[str]], list[NDArray[Any]]]
"""From bytes (n, H, W, C) and names of outputs to the outputs. What is not named is not computed."""


def onnxruntime_engine(content: ExportedContent, threads: int | None = None) -> Engine:
    """ONNX Runtime on the CPU, with so many threads, by default as many as there are processors."""
    import onnxruntime

    @cache
    def session(alone: bool, names: tuple[str, ...]) -> Any:
        """A session of these outputs alone: ONNX Runtime computes all that a graph has, whichever are asked for.

        Threads that keep turning while they wait for one another judge one image in two thirds of the time; while more images
        are decoded, the processors have better things to do.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(alone)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # when the image is judged
        graph = with_outputs(content.graph, names)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels, outputs: Sequence[str]) -> list[NDArray[Any]]:
        found = session(len(pixels) == 1, tuple(outputs)).run(list(outputs), {IMAGES: pixels})
        return [np.asarray(value) for value in found]

    return run


def openvino_engine(content: ExportedContent, threads: int | None = None) -> Engine:
    """OpenVINO on the CPU. It computes in 32 bits but for what the file has in 8, or, where a file was exported in bf16 and the
    processor is built for that, in bfloat16.

    Images that are still to be resized are computed in 32 bits all the same: in bfloat16 the resize could not tell the 200th
    pixel from the 201st.

    Raises:
        InputError: openvino is not installed.
    """
    try:
        import openvino
    except ImportError:
        other = "export it as .onnx" if content.weights is not None else "pass --engine onnxruntime"
        raise InputError(f"openvino is not installed: pip install 'gannext[openvino]', or {other}") from None
    core = openvino.Core()
    model = core.read_model(content.graph, content.weights or b"")
    size = content.metadata["size"]
    short = content.metadata["precision"] == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    met = {1}  # numbers of images

    @lru_cache(COMPILED)
    def compiled(ready: bool, count: int, names: tuple[str, ...]) -> Any:
        """A model of these outputs alone, for so many images, or for any number, which is -1.

        `ready` images are at the networks' size, and the graph's resize does nothing. For a known number of them 8 bits were
        measured four times as fast as for any number, and 32 bits a tenth.
        """
        whole = model.clone()
        part = openvino.Model([whole.output(name) for name in names], whole.get_parameters())
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if short and ready else "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        if ready:
            part.reshape([count, *size, content.metadata["channels"]])
        return core.compile_model(part, "CPU", settings)

    def run(pixels: Pixels, outputs: Sequence[str]) -> list[NDArray[Any]]:
        ready, count = list(pixels.shape[1:3]) == list(size), len(pixels)
        known = ready and count in met  # the last images of a folder are a number that does not come again
        met.add(count)
        found = compiled(ready, count if known else -1, tuple(outputs))([pixels])
        return [np.array(found[index]) for index in range(len(outputs))]

    return run
