"""Which of a graph's constants lie in weight files, and where: read from the ONNX file itself.

Owns as much of the format as that takes (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and
https://protobuf.dev/programming-guides/encoding), so that a device needs no `onnx` package. Knows nothing about the
files' contents. Whether a graph is a good one is for ONNX Runtime to say: what cannot be read here is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Numbers of fields in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 13, 14
_KEY, _VALUE = 1, 2
_EXTERNAL = 1  # TensorProto.DataLocation
#: TensorProto.DataType, of those that exports write.
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A constant of a graph whose values lie in a file.

    Attributes:
        name: In the graph, or in one of its branches.
        file: Path, relative to the graph's folder.
        offset: First byte.
        dtype: NumPy name.
        shape: Axes, outermost first.
        length: Bytes that the graph says it has; None where it does not say.
    """

    name: str
    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    length: int | None


def external_tensors(model: bytes) -> tuple[ExternalTensor, ...]:
    """The constants of a serialized ModelProto that lie in files, those of branches too; empty if it is none.

    A name that stands for anything else as well, in another branch, is left out.
    """
    try:
        found = list(_of_model(memoryview(model)))
    except (ValueError, IndexError, RecursionError):  # UnicodeDecodeError is one of the first
        return ()
    meanings: dict[str, set[ExternalTensor | None]] = {}
    for name, tensor in found:
        meanings.setdefault(name, set()).add(tensor)
    only = (next(iter(of_name)) for of_name in meanings.values() if len(of_name) == 1)
    return tuple(tensor for tensor in only if tensor is not None)


#: A constant's name, and what it is if it lies in a file and has a known type.
_Named = tuple[str, ExternalTensor | None]


def _of_model(model: memoryview) -> Iterator[_Named]:
    for number, value in _fields(model):
        if number == _MODEL_GRAPH:
            yield from _of_graph(_message(value))


def _of_graph(graph: memoryview) -> Iterator[_Named]:
    for number, value in _fields(graph):
        if number == _GRAPH_INITIALIZER:
            yield _tensor(_message(value))
        elif number == _GRAPH_NODE:
            yield from _of_node(_message(value))


def _of_node(node: memoryview) -> Iterator[_Named]:
    attributes = (_message(value) for number, value in _fields(node) if number == _NODE_ATTRIBUTE)
    for attribute in attributes:
        for number, value in _fields(attribute):
            if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                yield from _of_graph(_message(value))


def _tensor(tensor: memoryview) -> _Named:
    dims, dtype, name, location = list[int](), None, "", 0
    places = dict[str, str]()
    for number, value in _fields(tensor):
        if number == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else _varints(value)
        elif number == _TENSOR_TYPE:
            dtype = _DTYPES.get(_whole(value))
        elif number == _TENSOR_NAME:
            name = _text(value)
        elif number == _TENSOR_EXTERNAL:
            entry = {key: _text(content) for key, content in _fields(_message(value))}
            places[entry.get(_KEY, "")] = entry.get(_VALUE, "")
        elif number == _TENSOR_LOCATION:
            location = _whole(value)
    if location != _EXTERNAL or dtype is None or "location" not in places:
        return name, None
    length = int(places["length"]) if "length" in places else None
    return name, ExternalTensor(name, places["location"], int(places.get("offset", "0")), dtype, tuple(dims), length)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: a whole number, or the bytes of anything longer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("a field ends behind its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where the next thing begins."""
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = message[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number does not end")


def _varints(packed: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value)
    return values


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _whole(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value


def _text(value: int | memoryview) -> str:
    return str(_message(value), "utf-8")
