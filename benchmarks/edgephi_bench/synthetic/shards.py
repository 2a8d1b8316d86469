"""Weight files: tensors in, safetensors shards and their index out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from edgephi_bench.synthetic.tensors import TensorSpec
from edgephi_bench.synthetic.values import ValueSource

OnBytes = Callable[[int], None]
_INDEX = "model.safetensors.index.json"
_BUFFER_BYTES = 1 << 22  # norms and biases are a few kilobytes each


def split(tensors: Iterable[TensorSpec], shard_bytes: int) -> tuple[tuple[TensorSpec, ...], ...]:
    """Neighbours together, as transformers cuts: a file ends before a tensor that would take it over the limit."""
    shards: list[list[TensorSpec]] = [[]]
    held = 0
    for tensor in tensors:
        if shards[-1] and held + tensor.num_bytes > shard_bytes:
            shards.append([])
            held = 0
        shards[-1].append(tensor)
        held += tensor.num_bytes
    return tuple(tuple(shard) for shard in shards)


def shard_names(count: int) -> tuple[str, ...]:
    """File names of `count` shards; one alone has no number."""
    if count == 1:
        return ("model.safetensors",)
    return tuple(f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1))


def write_index(path: Path, shards: tuple[tuple[TensorSpec, ...], ...]) -> None:
    """Write into the folder `path` which tensor is in which file, where there are several."""
    if len(shards) == 1:
        return
    names = shard_names(len(shards))
    places = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    total = sum(tensor.num_bytes for shard in shards for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (path / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_shard(path: Path, tensors: Iterable[TensorSpec], values: ValueSource, on_bytes: OnBytes) -> None:
    """Write one safetensors file; `on_bytes` is called with the size of each part as it is written."""
    ordered = sorted(tensors, key=lambda tensor: tensor.name)
    with path.open("wb", buffering=_BUFFER_BYTES) as stream:
        stream.write(_header(ordered))
        for tensor in ordered:
            for part in values.parts(tensor):
                stream.write(part.data.cast("B"))
                on_bytes(2 * part.size)


def _header(tensors: Iterable[TensorSpec]) -> bytes:
    """The header, padded so that the data is aligned to 8 bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.num_bytes
        header[tensor.name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
