"""Exporting a detector: one graph from bytes to score, reconstruction and map, and its file."""

import copy
import json
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gannext import __version__
from gannext.detection.detector import Detector
from gannext.detection.fold import folded
from gannext.detection.maps import MAPS
from gannext.detection.memory import NeighbourScoring
from gannext.detection.precision import halve_weights, quantise
from gannext.detection.resize import resize_bytes
from gannext.detection.score import denormalise, normalise, score_batch
from gannext.detection.scorings import scoring_as_dict
from gannext.networks import Judge
from gannext.runtime import (
    FORMAT,
    FORMAT_VERSION,
    IMAGES,
    KEY,
    MAP,
    PRECISIONS,
    PRODUCER,
    RECONSTRUCTION,
    SCORE,
    ExportedContent,
    InputError,
    Pixels,
    seal_graph,
    seal_xml,
    unknown,
)

if TYPE_CHECKING:
    from onnx import ModelProto

EXAMPLE = (2, 40, 56)  # images, height and width that the graph is traced with; all three may be any number afterwards


class EndToEnd(nn.Module):
    """All that an exported file computes, by the functions that the Detector calls.

    Bytes (N, H, W, C) of any height and width -> scores (N,), reconstructions, bytes (N, h, w, C), and, where the
    detector has them, anomaly maps (N, h, w), at the networks' size h, w.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.generator, self.discriminator = folded(detector.generator), folded(detector.discriminator)
        self.scoring = copy.deepcopy(detector.scoring)  # one with buffers is a module, and moves along with this one
        self.anomaly_map, self.size, self.levels = detector.anomaly_map, detector.size, detector.config.levels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = resize_bytes(images, self.size)  # (N, C, h, w)
        score, described = score_batch(self.generator, self.discriminator, self.scoring, pixels, self.levels)
        outputs = score, denormalise(described.x_hat, self.levels).permute(0, 2, 3, 1)
        if self.anomaly_map is None:
            return outputs
        parts = MAPS[self.anomaly_map.kind].parts(self.discriminator, normalise(pixels, self.levels), described)
        return *outputs, self.anomaly_map.blend(parts)


def export_detector(
    detector: Detector, precision: str = "fp32", images: Iterable[Pixels] = (), *, openvino: bool = False
) -> ExportedContent:
    """The content of a file that `gannext.load` reads and runs without torch; its `save` writes the file.

    Args:
        detector: on any device; it stays as it is.
        precision: "fp32"; "fp16" stores weights in 16 bits; "bf16" does too, and OpenVINO computes in bfloat16 where the
            processor is built for it; "int8" computes convolutions in 8 bits, where images do not enter or leave the networks.
        images: for int8: bytes (n, H, W, C) at the networks' size, batch by batch, of held-out normal images, from which the
            ranges of values are taken.
        openvino: make OpenVINO's files, .xml and .bin, rather than ONNX's one.

    Raises:
        InputError: a package is missing, int8 is asked for without images or of a judge, or bf16 without OpenVINO or of a
            robust recipe's detector.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision not in (possible := precisions_of(detector)):
        raise InputError(f"detectors of this recipe cannot be exported in {precision}: take {' or '.join(possible)}")
    if precision == "bf16" and not openvino:
        raise InputError("only OpenVINO computes in bf16: export to .xml, or take fp16")
    model = to_onnx(detector)
    if precision in ("fp16", "bf16"):
        halve_weights(model)
    elif precision == "int8":
        model = quantise(model, images, detector.channels)
    model.producer_name, model.producer_version = PRODUCER, __version__
    metadata = metadata_of(detector, precision)
    if openvino:
        return as_openvino(model, metadata)
    return ExportedContent(metadata, seal_graph(model.SerializeToString(), metadata))


def precisions_of(detector: Detector) -> tuple[str, ...]:
    """Those of PRECISIONS that a detector can be exported in.

    Fixed filters and their logarithms want 32 bits: in bfloat16 OpenVINO took a minute a batch for a judge's, and a memory's
    are the same. In int8 a memory's stay as they are; a judge's scores moved by a third and more.
    """
    if isinstance(detector.discriminator, Judge):
        return "fp32", "fp16"
    if isinstance(detector.scoring, NeighbourScoring):
        return "fp32", "fp16", "int8"
    return PRECISIONS


def metadata_of(detector: Detector, precision: str) -> dict[str, Any]:
    """What an exported file says of itself: plain JSON."""
    anomaly_map = asdict(detector.anomaly_map) if detector.anomaly_map else {}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "gannext_version": __version__,
        "precision": precision,
        "networks": detector.networks,
        "size": detector.size,
        "channels": detector.channels,
        "bits": detector.bits,
        "classes": ["normal", "abnormal"],
        "scoring": scoring_as_dict(detector.scoring),
        "calibration": asdict(detector.calibration),
        "threshold": detector.calibration.threshold,
        "tiling": detector.tiling and asdict(detector.tiling),
        "pixels": anomaly_map.pop("pixels", None),
        "map": anomaly_map or None,
        "provenance": detector.provenance,
    }


def to_onnx(detector: Detector) -> "ModelProto":
    """The detector's graph, in 32 bits, with any number of images of any size."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"exporting takes {error.name}, which is not installed: pip install 'gannext[train]'") from None
    example = torch.zeros(*EXAMPLE, detector.channels, dtype=torch.uint8)
    names = [SCORE, RECONSTRUCTION, *([MAP] if detector.anomaly_map else [])]
    dynamic = {IMAGES: dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            EndToEnd(detector).cpu().eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=[IMAGES],
            output_names=names,
            verbose=False,
        )
    assert program is not None
    model: ModelProto = program.model_proto
    for node in model.graph.node:  # where in our source a node comes from, which is nobody's business
        del node.metadata_props[:]
        node.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    name_axes(model, detector.size)
    return model


def name_axes(model: "ModelProto", size: tuple[int, int]) -> None:
    """Gives the axes that may have any length names that a person understands."""
    names = {IMAGES: ("N", "H", "W"), SCORE: ("N",), RECONSTRUCTION: ("N",), MAP: ("N",)}
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        for axis, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=False):
            axis.dim_param = name


def as_openvino(model: "ModelProto", metadata: dict[str, Any]) -> ExportedContent:
    """The graph as OpenVINO has it."""
    try:
        import openvino
    except ImportError:
        raise InputError("openvino is not installed: pip install 'gannext[openvino]', or export to .onnx") from None
    converted = openvino.Core().read_model(model.SerializeToString(), b"")
    converted.set_rt_info(json.dumps(metadata), [KEY])
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(converted, Path(folder) / "model.xml", compress_to_fp16=False)
        xml, weights = ((Path(folder) / f"model.{ending}").read_bytes() for ending in ("xml", "bin"))
    return ExportedContent(metadata, seal_xml(xml, weights), weights)
