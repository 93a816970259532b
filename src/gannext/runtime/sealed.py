"""The exported file: a network's graph with its metadata in it, and a seal at its end.

An ONNX file is a protocol buffer, in which fields may come in any order and further ones may follow: behind the graph stand
two entries of the model's `metadata_props`, the metadata as JSON and the seal, a SHA-256 of all that is before it. Any ONNX
tool reads both; we read them without one, before a graph is looked at. An OpenVINO file, two files in truth, has the
metadata in its `rt_info` and the seal in a last comment. A seal tells what was cut short or altered; it is no signature
against someone who seals anew.
"""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gannext.runtime.errors import InputError
from gannext.runtime.files import write_atomically
from gannext.runtime.protobuf import entry

FORMAT = "gannext-export"
FORMAT_VERSION = 1
KEY, SEAL_KEY = "gannext", "gannext_seal"  # of ONNX's metadata_props; KEY of OpenVINO's rt_info too
PRODUCER = "gannext"  # what a graph says of its maker, near its beginning
LENGTH, DIGEST = 12, 64  # characters of the seal: the JSON's length, then the checksum
XML_SEAL = b"<!-- gannext seal %s -->\n"
XML_METADATA = b'<%s value="%%s"' % KEY.encode()
XML_METADATA_FOUND = re.compile(XML_METADATA % b'([^"]*)')
AGAIN = "export or copy it again"


@dataclass(frozen=True)
class ExportedContent:
    """What an exported file holds: its metadata, the graph's bytes, and, where they are a file of their own, the weights'."""

    metadata: dict[str, Any]
    graph: bytes
    weights: bytes | None = None

    def with_metadata(self, metadata: dict[str, Any]) -> "ExportedContent":
        """The same networks with other metadata, sealed anew."""
        if self.weights is None:
            before, text, _ = parts_of_graph(self.graph)
            bare = before[: -len(entry(KEY, text.decode()))]
            return ExportedContent(metadata, seal_graph(bare, metadata))
        place = XML_METADATA % html.escape(json.dumps(metadata)).encode()
        bare = XML_METADATA_FOUND.sub(lambda _: place, self.graph[: -len(XML_SEAL % (b"0" * DIGEST))], count=1)
        return ExportedContent(metadata, seal_xml(bare, self.weights), self.weights)

    def save(self, path: str | Path) -> None:
        """Writes it, OpenVINO's weights first, beside it and with the ending .bin.

        Raises:
            InputError: the place may not be written, or the disk is full; the old file stays.
        """
        weights = self.weights
        if weights is not None:
            write_atomically(Path(path).with_suffix(".bin"), lambda file: file.write(weights))
        write_atomically(path, lambda file: file.write(self.graph))


def is_exported(path: str | Path) -> bool:
    """Whether a file is to be read as an exported one: by its first bytes, and where they tell nothing, by its name."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        start = b""
    if start.startswith((b"PK", b"\x80")):  # a zip, a pickle
        return False
    return start.startswith(b"\x08") or path.suffix.lower() in (".onnx", ".xml")  # 8: the field that ONNX files begin with


def seal_graph(graph: bytes, metadata: Mapping[str, Any]) -> bytes:
    """An ONNX file of a graph without metadata."""
    text = json.dumps(metadata)
    content = graph + entry(KEY, text)
    return content + entry(SEAL_KEY, f"{len(text.encode()):0{LENGTH}d}{hashlib.sha256(content).hexdigest()}")


def seal_xml(xml: bytes, weights: bytes) -> bytes:
    """An OpenVINO file, its metadata in it, with the seal."""
    return xml + XML_SEAL % hashlib.sha256(xml + weights).hexdigest().encode()


def read_exported(path: str | Path) -> ExportedContent:
    """Reads and checks an exported file.

    Raises:
        InputError: it is missing, not ours, cut short, altered, or of a newer version.
    """
    path = Path(path)
    content = read_bytes(path)
    if path.suffix.lower() == ".xml":
        text, weights = unseal_xml(path, content)
    else:
        text, weights = unseal_graph(path, content), None
    try:
        metadata = json.loads(text)
        version = metadata["format_version"]
        if metadata["format"] != FORMAT or not isinstance(version, int):
            raise KeyError("format")
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is no file of `gannext export`: its metadata are not ours") from None
    if version > FORMAT_VERSION:
        raise InputError(
            f"{path} was exported by gannext {metadata.get('gannext_version', 'of a newer version')} in format {version}, and "
            f"this one reads up to {FORMAT_VERSION}: upgrade gannext"
        )
    return ExportedContent(metadata, content, weights)


def read_bytes(path: Path) -> bytes:
    """A whole file; raises InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: name a file that `gannext export` made") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name the exported file in it") from None
    except OSError as error:
        raise InputError(f"{path} may not be read ({error.strerror})") from None


def unseal_graph(path: Path, content: bytes) -> bytes:
    """The JSON in an ONNX file, once its seal is found to fit."""
    try:
        before, text, digest = parts_of_graph(content)
    except ValueError:
        ours = PRODUCER.encode() in content[:64]
        raise InputError(
            f"{path} is cut short or was altered (its seal is missing): {AGAIN}"
            if ours
            else f"{path} is no file of `gannext export`: it has no metadata of ours"
        ) from None
    if hashlib.sha256(before).hexdigest().encode() != digest:
        raise InputError(f"{path} was altered after it was written (its checksum differs): {AGAIN}")
    return text


def parts_of_graph(content: bytes) -> tuple[bytes, bytes, bytes]:
    """An ONNX file up to its seal, the JSON that this ends in, and the seal's checksum.

    Raises:
        ValueError: it ends in no seal.
    """
    seal = entry(SEAL_KEY, "0" * (LENGTH + DIGEST))
    before, end = content[: -len(seal)], content[-len(seal) :]
    length, digest = end[-LENGTH - DIGEST : -DIGEST], end[-DIGEST:]
    if end[: -LENGTH - DIGEST] != seal[: -LENGTH - DIGEST] or not length.isdigit():
        raise ValueError("no seal")
    return before, before[-int(length) :], digest


def unseal_xml(path: Path, content: bytes) -> tuple[bytes, bytes]:
    """The JSON in an OpenVINO file, and its weights, once the seal is found to fit."""
    found = XML_METADATA_FOUND.search(content)
    if found is None:
        raise InputError(f"{path} is no file of `gannext export`, or is cut short: it has no metadata of ours")
    weights_path = path.with_suffix(".bin")
    if not weights_path.exists():
        raise InputError(f"{path} has its weights in {weights_path.name}, which is not beside it: copy both")
    weights = read_bytes(weights_path)
    length = len(XML_SEAL % (b"0" * DIGEST))
    if seal_xml(content[:-length], weights) != content:
        raise InputError(
            f"{path} or {weights_path.name} is cut short or was altered (the checksum differs), or they are not of one "
            f"export: {AGAIN}"
        )
    return html.unescape(found[1].decode()).encode(), weights
