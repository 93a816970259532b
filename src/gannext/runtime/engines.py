"""What computes an exported file's graph: ONNX Runtime, or OpenVINO where that is installed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gannext.runtime.errors import InputError
from gannext.runtime.images import Pixels
from gannext.runtime.protobuf import with_outputs
from gannext.runtime.sealed import ExportedContent

IMAGES, SCORE, RECONSTRUCTION, MAP = "images", "score", "reconstruction", "map"  # the graph's input and outputs
ENGINES = ("auto", "onnxruntime", "openvino")

Engine: TypeAlias = Callable[[Pixels, Sequence[str]], list[NDArray[Any]]]
"""From bytes (n, H, W, C) and names of outputs to the outputs. What is not named is not computed."""


def onnxruntime_engine(content: ExportedContent, threads: int | None = None) -> Engine:
    """ONNX Runtime on the CPU, with so many threads, by default as many as there are processors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decoding needs the processors too
    sessions: dict[tuple[str, ...], Any] = {}

    def run(pixels: Pixels, outputs: Sequence[str]) -> list[NDArray[Any]]:
        names = tuple(outputs)
        if names not in sessions:  # ONNX Runtime computes all outputs that a graph has, whichever are asked for
            graph = with_outputs(content.graph, names)
            sessions[names] = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return [np.asarray(value) for value in sessions[names].run(list(names), {IMAGES: pixels})]

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
        raise InputError("openvino is not installed: pip install 'gannext[openvino]', or pass --engine onnxruntime") from None
    core = openvino.Core()
    model = core.read_model(content.graph, content.weights or b"")
    size = content.metadata["size"]
    short = content.metadata["precision"] == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    compiled: dict[tuple[bool, tuple[str, ...]], Any] = {}

    def compile_for(ready: bool, names: tuple[str, ...]) -> Any:
        """A model of these outputs alone; `ready` images are at the networks' size, and the graph's resize does nothing."""
        whole = model.clone()
        part = openvino.Model([whole.output(name) for name in names], whole.get_parameters())
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if short and ready else "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        if ready:
            part.reshape([-1, *size, content.metadata["channels"]])
        return core.compile_model(part, "CPU", settings)

    def run(pixels: Pixels, outputs: Sequence[str]) -> list[NDArray[Any]]:
        key = list(pixels.shape[1:3]) == list(size), tuple(outputs)
        if key not in compiled:
            compiled[key] = compile_for(*key)
        found = compiled[key]([pixels])
        return [np.array(found[index]) for index in range(len(outputs))]

    return run
