"""A GGUF file of Phi-4-mini's shape with random weights, for measuring llama.cpp.

There is no vocabulary in it, only its size: the file measures speed and memory and says nothing. Codes repeat one block
of random bytes; scales are small and positive.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from edgephi.base.atomic_write import writing
from edgephi.base.output_file import staged_file
from edgephi_bench.synthetic.configs import long_factors
from edgephi_bench.synthetic.sizes import Sizes

HeadFormat = Literal["q4_0", "q6_k"]
OnBytes = Callable[[int], None]
_ALIGNMENT = 32
_MOSTLY_Q4_0 = 2  # llama_ftype
_UINT32, _FLOAT32, _STRING = 4, 6, 8  # types of settings
_CONTEXT, _SHORT_CONTEXT = 131_072, 4096
_PART_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class _Format:
    """How values are stored: type number, values per block, bytes per block, where in a block its float16 scale is."""

    number: int
    values: int
    bytes: int
    scale_at: int | None


_FORMATS = {
    "f32": _Format(0, 1, 4, None),
    "q4_0": _Format(2, 32, 18, 0),
    "q6_k": _Format(14, 256, 210, 208),
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Name, axes with the innermost first as GGUF has them, and a key of _FORMATS; `floats` where it is one."""

    name: str
    shape: tuple[int, ...]
    format: str
    floats: tuple[float, ...] = ()

    @property
    def num_bytes(self) -> int:
        kind = _FORMATS[self.format]
        return math.prod(self.shape) // kind.values * kind.bytes


def gguf_bytes(sizes: Sizes, head: HeadFormat) -> int:
    """Bytes of the weights."""
    return sum(_padded(tensor.num_bytes) for tensor in _tensors(sizes, head))


def write_gguf(path: Path, sizes: Sizes, head: HeadFormat, on_bytes: OnBytes = lambda _: None) -> None:
    """Write the file.

    Args:
        path: New.
        sizes: Of the model; widths must be multiples of 256.
        head: Format of the embedding, which is the head as well: `q4_0` like all other weights, or `q6_k` as
            llama.cpp's own quantizer chooses for it.
        on_bytes: Called with the size of each part as it is written.

    Raises:
        CapacityError: The disk filled up; no file of that name is left.
        EdgeError: The operating system refused to write.
    """
    tensors = _tensors(sizes, head)
    with writing(path), staged_file(path) as stream:
        stream.write(_header(sizes, tensors))
        stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
        for tensor in tensors:
            _write_values(stream, tensor, on_bytes)
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))


def _tensors(sizes: Sizes, head: HeadFormat) -> list[_Tensor]:
    hidden = sizes.hidden
    long = tuple(long_factors(sizes.rotary_factors))
    found = [
        _Tensor("token_embd.weight", (hidden, sizes.vocab), head),
        _Tensor("output_norm.weight", (hidden,), "f32", (1.0,) * hidden),
        _Tensor("rope_factors_long.weight", (len(long),), "f32", long),
        _Tensor("rope_factors_short.weight", (len(long),), "f32", (1.0,) * len(long)),
    ]
    for layer in range(sizes.layers):
        prefix = f"blk.{layer}"
        found += [
            _Tensor(f"{prefix}.attn_norm.weight", (hidden,), "f32", (1.0,) * hidden),
            _Tensor(f"{prefix}.ffn_norm.weight", (hidden,), "f32", (1.0,) * hidden),
            _Tensor(f"{prefix}.attn_qkv.weight", (hidden, sizes.qkv), "q4_0"),
            _Tensor(f"{prefix}.attn_output.weight", (sizes.heads * sizes.head_size, hidden), "q4_0"),
            _Tensor(f"{prefix}.ffn_up.weight", (hidden, 2 * sizes.intermediate), "q4_0"),
            _Tensor(f"{prefix}.ffn_down.weight", (sizes.intermediate, hidden), "q4_0"),
        ]
    return found


def _header(sizes: Sizes, tensors: list[_Tensor]) -> bytes:
    settings = list(_settings(sizes))
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(settings)), *settings]
    offset = 0
    for tensor in tensors:
        axes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts += [_string(tensor.name), axes, struct.pack("<IQ", _FORMATS[tensor.format].number, offset)]
        offset += _padded(tensor.num_bytes)
    return b"".join(parts)


def _settings(sizes: Sizes) -> Iterator[bytes]:
    texts = {"general.architecture": "phi3", "general.name": "synthetic", "tokenizer.ggml.model": "no_vocab"}
    counts = {
        "general.file_type": _MOSTLY_Q4_0,
        "phi3.vocab_size": sizes.vocab,
        "phi3.context_length": _CONTEXT,
        "phi3.rope.scaling.original_context_length": _SHORT_CONTEXT,
        "phi3.embedding_length": sizes.hidden,
        "phi3.feed_forward_length": sizes.intermediate,
        "phi3.block_count": sizes.layers,
        "phi3.attention.head_count": sizes.heads,
        "phi3.attention.head_count_kv": sizes.kv_heads,
        "phi3.rope.dimension_count": 2 * sizes.rotary_factors,
    }
    stretch = _CONTEXT / _SHORT_CONTEXT
    numbers = {
        "phi3.attention.layer_norm_rms_epsilon": 1e-5,
        "phi3.rope.freq_base": 10_000.0,
        # LongRoPE's, equation 6 of arXiv 2402.13753.
        "phi3.rope.scaling.attn_factor": math.sqrt(1 + math.log(stretch) / math.log(_SHORT_CONTEXT)),
    }
    for key, text in texts.items():
        yield _string(key) + struct.pack("<I", _STRING) + _string(text)
    for key, count in counts.items():
        yield _string(key) + struct.pack("<II", _UINT32, count)
    for key, number in numbers.items():
        yield _string(key) + struct.pack("<If", _FLOAT32, number)


def _write_values(stream: IO[bytes], tensor: _Tensor, on_bytes: OnBytes) -> None:
    if tensor.floats:
        stream.write(np.array(tensor.floats, "<f4").tobytes())
        on_bytes(tensor.num_bytes)
        return
    part = _random_blocks(tensor)
    left = tensor.num_bytes
    while left:
        piece = part[: min(left, part.size)]
        stream.write(piece.data)
        on_bytes(piece.size)
        left -= piece.size


def _random_blocks(tensor: _Tensor) -> NDArray[np.uint8]:
    """uint8 [bytes of whole blocks], at most some megabytes."""
    kind = _FORMATS[tensor.format]
    count = min(math.prod(tensor.shape) // kind.values, _PART_BYTES // kind.bytes)
    blocks = np.random.default_rng(0).integers(0, 256, (count, kind.bytes), np.uint8)
    if kind.scale_at is not None:  # random bits could be an infinity
        scale = np.frombuffer(np.float16(1e-3).tobytes(), np.uint8)
        blocks[:, kind.scale_at : kind.scale_at + 2] = scale
    return blocks.reshape(-1)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(count: int) -> int:
    return count + -count % _ALIGNMENT
