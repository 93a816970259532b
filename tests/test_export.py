"""Exported files: they judge as the detector does, at every size and by every engine, and are believed only when whole."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import gannext
from conftest import Command, picture, write_pictures
from gannext import Detector
from gannext.cli import export as export_command
from gannext.detection import Neighbours, NeighbourScoring, calibrate, export_detector, score_batch
from gannext.detection.export import to_onnx
from gannext.detection.fold import folded
from gannext.detection.resize import resize_bytes
from gannext.networks import MODELS
from gannext.runtime import Calibration, Exported, ExportedContent, InputError, Tiling, resize
from gannext.runtime.protobuf import with_outputs
from gannext.runtime.sealed import KEY
from gannext.training import RECIPES, find_recipe

SIZE = (32, 48)
OPTIONS: dict[str, dict[str, Any]] = {"gannext": {"dim": 4, "depths": (1, 1), "bottom": 1}}
ROBUST = ("robust-textures", "robust-objects")
KINDS = (*MODELS, *ROBUST)
TOLERANCE = {"robust-objects": 1e-2}  # of noise, where standard deviations are tiny; test_objects holds a real one to 1e-4
ROOT = Path(__file__).parent.parent


def random_detector(kind: str, channels: int = 3) -> Detector:
    """A detector that has learnt nothing, whose batch norms yet have statistics, and which is calibrated.

    Its kind is a model, with the published recipe, or one of the robust recipes.
    """
    torch.manual_seed(0)
    recipe = RECIPES[kind] if kind in ROBUST else find_recipe("published", kind, lambda: "objects")
    model, options = ("gannext", {}) if kind in ROBUST else (kind, OPTIONS.get(kind, {"dim": 8}))
    config = recipe.networks(model, SIZE, channels, options, ndf=8, nz=10)
    networks = config.build_generator(), config.build_discriminator()
    for module in (m for network in networks for m in network.modules()):
        if isinstance(module, nn.BatchNorm2d) and module.affine:  # a judge's energies have statistics of their own
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    for name, parameter in ((n, p) for network in networks for n, p in network.named_parameters()):
        if name.endswith("scale"):
            nn.init.normal_(parameter)
    known, held_out = ([torch.randint(0, 256, (24, channels, *SIZE), dtype=torch.uint8)] for _ in range(2))
    scoring = recipe.scoring
    if isinstance(scoring, Neighbours):
        scoring = NeighbourScoring.fit(scoring, *(n.eval() for n in networks), known, held_out)
    detector = Detector(config, *networks, scoring, Calibration((0.0,)), {"origin": "nowhere"})
    calibrate(detector, held_out, kind=recipe.map)
    return detector


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def saved(content: ExportedContent, path: Path) -> Path:
    content.save(path)
    return path


@pytest.mark.parametrize("size", [(32, 48), (16, 16), (7, 91), (200, 33), (33, 48), (1, 1)])
def test_the_resize_in_a_graph_is_pillow_s_to_the_last_bit(size: tuple[int, int]) -> None:
    images = noise(2, *size, 3)
    for target in ((32, 48), (64, 64), (5, 5)):
        expected = np.stack([resize(image, target) for image in images]).transpose(0, 3, 1, 2)
        assert np.array_equal(resize_bytes(torch.from_numpy(images), target).numpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_networks_score_the_same(kind: str) -> None:
    detector = random_detector(kind)
    images = torch.from_numpy(noise(6, 3, *SIZE))
    with torch.inference_mode():
        expected, _ = score_batch(detector.generator, detector.discriminator, detector.scoring, images)
    scores, _ = detector.score(images)
    assert torch.allclose(scores, expected, rtol=1e-5, atol=TOLERANCE.get(kind, 0))
    norms = [m for network in detector.for_scoring for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(norm.affine for norm in norms) and detector.for_scoring is detector.for_scoring
    assert not any(parameter.is_meta for parameter in folded(detector.generator).parameters())


def test_moving_a_detector_folds_anew_and_saving_keeps_the_originals(tmp_path: Path) -> None:
    detector = random_detector("gannext")
    images = torch.from_numpy(noise(6, 3, *SIZE))
    first, before = detector.score(images)[0], detector.for_scoring
    for parameter in detector.generator.parameters():
        parameter.add_(0.1)
    assert detector.to("cpu").for_scoring is not before
    assert not torch.allclose(detector.score(images)[0], first)
    detector.save(tmp_path / "d")
    copy = Detector.load(tmp_path / "d")
    assert copy.generator.state_dict().keys() == detector.generator.state_dict().keys()
    assert torch.equal(copy.score(images)[0], detector.score(images)[0])


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] if k == "anotrans" else []) for k in KINDS])
def test_an_exported_file_judges_as_its_detector_does(kind: str, tmp_path: Path) -> None:
    detector = random_detector(kind)
    content = export_detector(detector)
    exported = Exported.load(saved(content, tmp_path / "d.onnx"))
    assert (exported.size, exported.channels, exported.provenance) == (SIZE, 3, {"origin": "nowhere"})
    assert exported.calibration == detector.calibration and exported.pixel_calibration == detector.pixel_calibration
    images = [*noise(5, *SIZE, 3), noise(90, 61, 3), noise(20, 30, 3)]
    expected = detector.predict(images, reconstruct=True, maps=True)
    for got, want in zip(exported.predict(images, reconstruct=True, maps=True, batch_size=4), expected, strict=True):
        assert got.score == pytest.approx(want.score, rel=1e-4, abs=TOLERANCE.get(kind))
        assert (got.p_value, got.abnormal) == (want.p_value, want.abnormal)
        assert got.reconstruction is not None and want.reconstruction is not None
        assert np.abs(got.reconstruction.astype(int) - want.reconstruction).max() <= 1
        assert got.anomaly_map == pytest.approx(want.anomaly_map, rel=1e-3, abs=1e-4)
    whole = noise(3, 70, 101, 3)  # resized within the graph
    ready = np.stack([resize(image, SIZE) for image in whole])
    assert exported.look(whole).scores == pytest.approx(detector.look(ready).scores, rel=1e-4, abs=TOLERANCE.get(kind))
    assert [row.score for row in exported.predict(torch.from_numpy(ready).permute(0, 3, 1, 2))] == pytest.approx(
        detector.look(ready).scores, rel=1e-4, abs=TOLERANCE.get(kind)
    )
    assert str(ROOT).encode() not in content.graph  # nothing of the machine that exported it


@pytest.mark.parametrize(("kind", "channels"), [("gannext", 1), ("gannext", 3), *((k, c) for k in ROBUST for c in (1, 3))])
def test_tiles_and_greys_and_openvino(kind: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = random_detector(kind, channels)
    detector.tiling = Tiling(60, 0.3)
    graph = to_onnx(detector)  # once for both files
    monkeypatch.setattr("gannext.detection.export.to_onnx", lambda _: copy.deepcopy(graph))
    expected = detector.predict(noise(150, 170, 3), reconstruct=True, maps=True)[0]
    for file in ("d.onnx", "d.xml"):
        path = saved(export_detector(detector, openvino=file.endswith("xml")), tmp_path / file)
        for engine in ("auto", "openvino"):
            exported = Exported.load(path, engine, threads=1)
            assert exported.tiling == detector.tiling
            got = exported.predict(noise(150, 170, 3), reconstruct=True, maps=True)[0]
            assert (
                got.score == pytest.approx(expected.score, rel=1e-4, abs=TOLERANCE.get(kind)) and got.reconstruction is not None
            )
            assert got.reconstruction.shape == (150, 170, channels)
            assert got.anomaly_map == pytest.approx(expected.anomaly_map, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("openvino", [False, True])
def test_the_number_of_images_changes_no_score(precision: str, openvino: bool, tmp_path: Path) -> None:
    """One alone, numbers met before and others are computed by different models."""
    content = export_detector(random_detector("gannext"), precision, [noise(16, *SIZE, 3)], openvino=openvino)
    exported = Exported.load(saved(content, tmp_path / ("d.xml" if openvino else "d.onnx")), threads=1)
    images = noise(5, *SIZE, 3)
    first, again = exported.look(images).scores, exported.look(images).scores
    alone = np.concatenate([exported.look(image[None]).scores for image in images])
    for scores in (again, alone, np.concatenate([exported.look(images[:2]).scores, exported.look(images[2:]).scores])):
        assert scores == pytest.approx(first, rel=1e-5)
    assert len(set(first)) == 5


def test_a_judge_s_weights_may_have_16_bits_but_not_its_arithmetic(tmp_path: Path) -> None:
    detector = random_detector("robust-textures")
    images = noise(8, *SIZE, 3)
    exported = Exported.load(saved(export_detector(detector, "fp16"), tmp_path / "d.onnx"))
    assert exported.look(images).scores == pytest.approx(detector.look(images).scores, rel=0.02)
    judge, memory = "fp32 or fp16$", "fp32 or fp16 or int8$"
    refused = (("robust-textures", "bf16", judge), ("robust-textures", "int8", judge), ("robust-objects", "bf16", memory))
    for kind, precision, instead in refused:
        with pytest.raises(InputError, match=f"cannot be exported in {precision}: take {instead}"):
            export_detector(random_detector(kind), precision, [images], openvino=True)


def test_a_detector_without_maps_has_none_exported(tmp_path: Path) -> None:
    detector = random_detector("ganomaly")
    detector.anomaly_map = None
    exported = Exported.load(saved(export_detector(detector), tmp_path / "d.onnx"))
    assert exported.predict(noise(*SIZE, 3))[0].score == pytest.approx(detector.predict(noise(*SIZE, 3))[0].score, rel=1e-4)
    with pytest.raises(InputError, match="knows no anomaly maps"):
        exported.predict(noise(*SIZE, 3), maps=True)


def test_predict_prints_and_writes_the_same(exported_file: Path, detector_file: Path, gannext: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    write_pictures(folder, 4)
    picture(7, spot=True, side=90).save(folder / "large.png")
    (folder / "broken.png").write_bytes(b"broken")
    for options in ([], ["--fpr", 0.2], ["--batch-size", 2]):
        rows = [
            json.loads(gannext("predict", file, folder, "--format", "json", *options).out)
            for file in (detector_file, exported_file)
        ]
        for ours, theirs in zip(*rows, strict=True):
            for name, tolerance in (("score", {"rel": 1e-4}), ("p_value", {"abs": 0.02})):  # one held-out image more or less
                expected, found = theirs.pop(name), ours.pop(name)
                assert found == (expected if expected is None else pytest.approx(expected, **tolerance))
            assert ours == theirs
    outputs = [tmp_path / "maps", tmp_path / "r.html", tmp_path / "pictures", tmp_path / "rows.csv"]
    names = ("--maps", "--report", "--reconstructions", "--output")
    options = [part for pair in zip(names, outputs, strict=True) for part in pair]
    outcome = gannext("predict", exported_file, folder, *options, "--pixel-fpr", 0.02, "--threads", 1)
    assert outcome.code == 1 and "1 of 6 images could not be judged" in outcome.err and all(map(Path.exists, outputs))
    regions = json.loads((outputs[0] / "regions.json").read_text())
    assert len(regions["images"]) == 5 and regions["annotations"]
    by_openvino = gannext("predict", exported_file, folder / "000.png", "--engine", "openvino")
    assert by_openvino.out == gannext("predict", exported_file, folder / "000.png").out
    assert gannext("predict", exported_file, folder / "000.png", "--tile", 32).code == 0


def test_what_is_not_asked_for_is_not_computed(exported_file: Path) -> None:
    import onnx

    content = exported_file.read_bytes()
    counts = []
    for names in (["score"], ["score", "reconstruction"], ["score", "reconstruction", "map"]):
        model = onnx.load_from_string(with_outputs(content, names))
        onnx.checker.check_model(model)
        assert [output.name for output in model.graph.output] == names
        counts.append(len(model.graph.node))
    assert counts[0] < counts[1] < counts[2] and with_outputs(content, ["score", "reconstruction", "map"]) == content


def test_no_product_of_the_resize_has_a_transposed_factor(graph: Any) -> None:
    """ONNX Runtime up to 1.23, the last for Python 3.10, joins the two, and cannot compute that in doubles."""
    makers = {output: node.op_type for node in graph.graph.node for output in node.output}
    factors = [makers.get(name) for node in graph.graph.node if node.op_type == "MatMul" for name in node.input]
    assert len(factors) == 4 and "Transpose" not in factors


def test_any_tool_can_read_the_metadata(exported_file: Path, detector_file: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported_file.read_bytes())
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    detector = Detector.load(detector_file)
    assert metadata["threshold"] == detector.calibration.threshold and metadata["precision"] == "fp32"
    assert metadata["calibration"]["scores"] == list(detector.calibration.scores)
    assert metadata["classes"] == ["normal", "abnormal"] and metadata["provenance"]["recipe"]["name"] == "published"
    assert session.get_inputs()[0].shape == ["N", "H", "W", 3] and session.get_inputs()[0].type == "tensor(uint8)"
    assert [output.shape for output in session.get_outputs()] == [["N"], ["N", 32, 32, 3], ["N", 32, 32]]


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("precision", "ending"), [("fp16", "onnx"), ("int8", "onnx"), ("fp16", "xml"), ("bf16", "xml"), ("int8", "xml")]
)
def test_what_a_lower_precision_costs_is_measured(
    precision: str, ending: str, detector_file: Path, exported_file: Path, parts: Path, gannext: Command, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / f"small.{ending}"
    monkeypatch.setattr(export_command, "LARGEST_CHANGE", 0.05)  # of 200 pairs of a normal and an abnormal image
    outcome = gannext("export", detector_file, "--precision", precision, "-o", path)
    assert outcome.code == 0 and "AUROC on 30 test images" in outcome.out and outcome.err == "", outcome.err
    images = parts / "test" / "0.normal"
    scores = [np.array([row.score for row in gannext_load(file).predict(images)]) for file in (path, exported_file)]
    assert np.abs(scores[0] / scores[1] - 1).max() < 0.1
    if ending == "onnx":
        assert path.stat().st_size < exported_file.stat().st_size
    if (precision, ending) == ("int8", "onnx"):  # images enter and leave the networks whole
        parts_of_it = ("stem_in.", "ups.0.up.", "stem_out.", "bottom.")
        layers = ("discriminator.body.0.", *(f"generator.{part}" for part in parts_of_it))
        names = [tensor.name for tensor in onnx.load(path).graph.initializer if tensor.name.startswith(layers)]
        short = {name.split(".weight")[0] for name in names if name.endswith(".weight_quantized")}
        assert short and all(name.startswith("generator.bottom.") for name in short)


@pytest.mark.usefixtures("traced_once")
def test_a_change_that_is_too_large_is_refused_unless_forced(
    detector_file: Path, parts: Path, gannext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images = tmp_path / "small.onnx", parts / "test" / "0.normal"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(export_command, "LARGEST_CHANGE", -1.0)
    options = ["export", detector_file, "--precision", "int8", "-o", path, "--images", images]
    outcome = gannext(*options)
    assert outcome.code == 2 and "nothing was written" in outcome.err and outcome.err.count("\n") == 1
    assert "Rank correlation" in outcome.out and path.read_bytes() == b"what was there"
    assert gannext(*options, "--force").code == 0 and len(gannext_load(path).predict(images)) == 20


def gannext_load(path: Path) -> Any:
    return gannext.load(path)


def test_images_for_a_lower_precision_that_cannot_be_read(detector_file: Path, gannext: Command, tmp_path: Path) -> None:
    detector = Detector.load(detector_file)
    for data, words in ((None, "does not say what they are"), ({"dataset": "x", "data_root": "/nowhere"}, "/nowhere")):
        detector.provenance = {"data": data}
        detector.save(tmp_path / "d.gannext")
        outcome = gannext("export", tmp_path / "d.gannext", "--precision", "int8")
        assert outcome.code == 2 and words in outcome.err and "--images" in outcome.err and outcome.err.count("\n") == 1
    write_pictures(tmp_path / "two", 2)
    outcome = gannext("export", tmp_path / "d.gannext", "--precision", "fp16", "--images", tmp_path / "two")
    assert outcome.code == 2 and "2 images cannot show" in outcome.err and not list(tmp_path.glob("*.onnx"))
