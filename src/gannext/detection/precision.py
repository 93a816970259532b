"""An exported graph at less than 32 bits: smaller, and where the processor is built for it, faster."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gannext.runtime import IMAGES, InputError, Pixels

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SMALLEST = 16  # numbers that a constant has at least to be worth halving
ENLARGING = ".to_pixels."  # of folded networks: the layers that make maps larger, the last of which makes an image


def halve_weights(model: "ModelProto") -> None:
    """Stores a graph's weights in 16 bits; they are made 32 bits when the graph is loaded, and computed with as such."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST:
            continue
        largest = np.finfo(np.float16).max
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.clip(-largest, largest).astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.whole", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def quantise(model: "ModelProto", images: Iterable[Pixels], channels: int) -> "ModelProto":
    """A graph whose networks' convolutions and linear layers compute with 8-bit numbers, each of a range that the images show.

    Those that take in an image or give one out stay as they are: the score is a small difference between images. So do those
    that make a map larger, which in 8 bits cost 0.003 of a digits detector's AUROC, and a score's own filters and memory.

    Args:
        model: the graph in 32 bits.
        images: bytes (n, H, W, C) at the networks' size, batch by batch, of normal images.
        channels: of the images.

    Raises:
        InputError: there are no images.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(images)
            self.count = 0

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            self.count += 0 if batch is None else len(batch)
            return None if batch is None else {IMAGES: batch}

    logging.getLogger().addFilter(silence := lambda record: "pre-processing" not in record.getMessage())
    reader = Reader()
    kept = kept_whole(model, channels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            quantize_static(
                model,
                str(path),
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                nodes_to_exclude=kept,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except ValueError:
            if reader.count:
                raise
            raise InputError("int8 takes held-out normal images to calibrate on, and there are none: pass --images") from None
        finally:
            logging.getLogger().removeFilter(silence)
        return onnx.load(path)


def kept_whole(model: "ModelProto", channels: int) -> list[str]:
    """Names of the nodes that are not quantised."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer if tensor.data_type == 1}

    def stays(node: "NodeProto") -> bool:
        name, is_conv = node.input[1], node.op_type == "Conv"
        shape = shapes.get(name)
        if shape is None or len(shape) < 2 or name.startswith("scoring."):
            return True  # not of weights: attention, the resize, and the parts of a score
        if is_conv and not name.startswith(("generator.", "discriminator.")):
            return True  # a fixed filter
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        return is_conv and groups == 1 and (channels in shape[:2] or ENLARGING in name)

    linear = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    return [node.name for node in linear if stays(node)]
