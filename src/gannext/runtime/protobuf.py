"""As much of protocol buffers as ONNX files take here: to add an entry of metadata, and to leave outputs away.

A message is a row of fields, each a tag and then a value; those of interest are of the kind that begins with its length.
"""

from collections.abc import Collection, Iterator

GRAPH, METADATA = b"\x3a", b"\x72"  # tags of a model's fields
NODE, OUTPUT = b"\x0a", b"\x62"  # of a graph's
NODE_INPUT, NODE_OUTPUT = b"\x0a", b"\x12"  # of a node's
FIRST, SECOND = b"\x0a", b"\x12"  # an entry's key and value; an output's name is its first field too


def varint(value: int) -> bytes:
    """A whole number, 7 bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """The whole number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def field(tag: bytes, value: bytes) -> bytes:
    """A field with its length."""
    return tag + varint(len(value)) + value


def entry(key: str, value: str) -> bytes:
    """One entry of a model's metadata_props; its last bytes are the value's."""
    return field(METADATA, field(FIRST, key.encode()) + field(SECOND, value.encode()))


def fields(data: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """A message's fields: tag, value, and both together as they stand there.

    Raises:
        ValueError, IndexError: the bytes are no message.
    """
    place = 0
    while place < len(data):
        start = place
        tag, place = read_varint(data, place)
        begin, kind = place, tag & 7
        if kind == 0:
            _, place = read_varint(data, place)
        elif kind == 2:
            length, begin = read_varint(data, place)
            place = begin + length
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        yield varint(tag), data[begin:place], data[start:place]


def with_outputs(model: bytes, names: Collection[str]) -> bytes:
    """An ONNX model with these of its outputs alone, and with the nodes that lead to them.

    ONNX Runtime would compute what leads nowhere. A graph's nodes stand in the order in which they are computed; ours have
    no graphs within.

    Raises:
        ValueError, IndexError: the bytes are no model.
    """
    parts: list[bytes | memoryview] = []
    for tag, value, whole in fields(memoryview(model)):
        if tag != GRAPH:
            parts.append(whole)
            continue
        wanted, kept = set(names), []
        for kind, inside, both in reversed(list(fields(value))):
            if kind == OUTPUT and texts(inside, FIRST)[0] not in names:
                continue
            if kind == NODE:
                if wanted.isdisjoint(texts(inside, NODE_OUTPUT)):
                    continue
                wanted.update(texts(inside, NODE_INPUT))
            kept.append(both)
        parts += [GRAPH, varint(sum(map(len, kept))), *reversed(kept)]
    return b"".join(parts)


def texts(message: memoryview, tag: bytes) -> list[str]:
    """The values of a message's text fields of that tag."""
    return [bytes(text).decode() for kind, text, _ in fields(message) if kind == tag]
