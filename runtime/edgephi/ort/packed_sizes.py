"""What one tensor, the vocabulary and a pass take in memory, as measured with ONNX Runtime 1.31 on x86."""

from __future__ import annotations

import math
import re

from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_index import StoredTensorInfo

#: Floats that a pass holds for each position and each unit of the hidden size.
WORK_FLOATS = 45
#: What the vocabulary takes in memory for each byte of `tokenizer.json`.
_TOKENIZER_FACTOR = 10
#: A block's scale and the sum of its codes, both float32 beside the codes.
_BLOCK_BITS = 64
_QUANTIZED = re.compile(r"int(\d+):(\d+|rows)\b")


def tokenizer_bytes(manifest: Manifest) -> int:
    """Memory of the vocabulary."""
    return _TOKENIZER_FACTOR * next(file.bytes for file in manifest.files if file.path == TOKENIZER_NAME)


def is_quantized(tensor: StoredTensorInfo) -> bool:
    """Whether a session packs it into another form."""
    return _QUANTIZED.match(tensor.format) is not None


def packed_bytes(tensor: StoredTensorInfo) -> int:
    """Memory of one tensor once a session has packed it; the mapped original is released then."""
    count = math.prod(tensor.shape)
    if found := _QUANTIZED.match(tensor.format):
        bits, block = int(found[1]), found[2]
        per_weight = bits if block == "rows" else bits + _BLOCK_BITS / int(block)
        return round(count * per_weight / 8)
    return tensor.num_bytes
