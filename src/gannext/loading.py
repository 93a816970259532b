"""One way to get a detector from a file, whichever kind of file it is."""

from pathlib import Path

from gannext.runtime import Exported, InputError, Predictor, is_exported


def load(path: str | Path, *, device: str = "cpu", engine: str = "auto", threads: int | None = None) -> Predictor:
    """A detector that `gannext train` saved, or one that `gannext export` made of it, ready to judge images.

    Args:
        path: the file. Its first bytes, or else its name, say what it is.
        device: where a detector's networks run, as `gannext train` knows it; exported files run on the CPU.
        engine: what runs an exported file: "auto", "onnxruntime" or "openvino".
        threads: how many compute; by default as many as there are processors.

    Raises:
        InputError: the file is missing, damaged, altered, of a newer version or no detector, or takes a package that is
            not installed.
    """
    if is_exported(path):
        if device not in ("auto", "cpu"):
            raise InputError(f"{path} is an exported file, which runs on the CPU: leave --device {device} out")
        return Exported.load(path, engine, threads)
    if engine != "auto":
        raise InputError(f"{path} is no exported file, so there is nothing for --engine {engine}: see `gannext export -h`")
    try:
        import torch

        from gannext.detection import Detector
    except ImportError as error:
        raise InputError(
            f"{path} is no exported file, and a detector as trained takes {error.name}, which is not installed: export it by "
            "`gannext export` where it was trained, or pip install 'gannext[train]'"
        ) from None
    if threads:
        torch.set_num_threads(threads)
    return Detector.load(path, device)
