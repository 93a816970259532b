"""The detector's file: a zip of `metadata.json`, `weights.safetensors` and `sha256.json`.

Nothing in it is ever executed: weights are safetensors, all else is JSON. The checksums cover both,
so that an altered file is noticed; they are no signature against someone who recomputes them.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gannext import __version__
from gannext.runtime import InputError, is_exported, write_atomically

FORMAT = "gannext-detector"
FORMAT_VERSION = 1
METADATA, WEIGHTS, CHECKSUMS = "metadata.json", "weights.safetensors", "sha256.json"


@dataclass(frozen=True)
class DetectorContent:
    """What a detector's file holds: its metadata, and tensors named `<network>.<parameter>`."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self, network: str) -> dict[str, Tensor]:
        """The state dict of one network."""
        prefix = f"{network}."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def write_detector(path: str | Path, metadata: Mapping[str, Any], networks: Mapping[str, nn.Module]) -> None:
    """Writes a detector's file atomically, from its metadata and its networks by name.

    Raises:
        InputError: as `Detector.save` says.
    """
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "gannext_version": __version__}
    tensors = {
        f"{name}.{key}": tensor.cpu().contiguous()
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    parts = {METADATA: json.dumps({**header, **metadata}, indent=1).encode(), WEIGHTS: safetensors.torch.save(tensors)}
    parts[CHECKSUMS] = json.dumps({name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}).encode()

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, part in parts.items():
                archive.writestr(name, part)

    write_atomically(path, write)


def read_detector(path: str | Path) -> DetectorContent:
    """Reads and checks a detector's file; raises InputError as `Detector.load` says."""
    path = Path(path)
    parts = _read_parts(path)
    try:
        metadata = json.loads(parts[METADATA])
        version = metadata["format_version"]
        if metadata["format"] != FORMAT or not isinstance(version, int):
            raise KeyError("format")
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is no GanNeXt detector: make one with `gannext train`") from None
    if version > FORMAT_VERSION:
        made_by = metadata.get("gannext_version", "a newer version")
        raise InputError(
            f"{path} was written by gannext {made_by} in format {version}, and this gannext {__version__} reads up to "
            f"{FORMAT_VERSION}: upgrade gannext"
        )
    try:
        checksums = json.loads(parts[CHECKSUMS])
        if any(hashlib.sha256(parts[name]).hexdigest() != checksums[name] for name in (METADATA, WEIGHTS)):
            raise InputError(f"{path} was altered after it was written (its checksums differ): train or copy it again")
        return DetectorContent(metadata, safetensors.torch.load(parts[WEIGHTS]))
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error}): train or copy it again") from None


def _read_parts(path: Path) -> dict[str, bytes]:
    """The three parts' bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if METADATA not in names:
                kind = "a torch or pickle file" if any(n.endswith(".pkl") for n in names) else "another kind of zip"
                raise InputError(f"{path} is {kind}, not a GanNeXt detector, and was not opened further")
            return {name: archive.read(name) for name in (METADATA, WEIGHTS, CHECKSUMS)}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: name a detector that `gannext train` made") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name the detector file in it") from None
    except PermissionError:
        raise InputError(f"{path} may not be read: check its permissions") from None
    except zipfile.BadZipFile as error:
        raise InputError(_not_a_zip(path, str(error))) from None
    # zipfile raises NotImplementedError for a compression, and RuntimeError for an encryption, that it does not know.
    except (KeyError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is damaged ({error}): train or copy it again") from None


def _not_a_zip(path: Path, reason: str) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        return f"{path} is cut short or damaged ({reason}): train or copy it again"
    if start[:1] == b"\x80":
        return f"{path} is a pickle, which could run any code and was not opened: a detector is a zip of safetensors"
    if is_exported(path):
        return (
            f"{path} is an exported file, which can only predict and be calibrated: name the detector that it was exported from"
        )
    return f"{path} is no GanNeXt detector: make one with `gannext train`"
