"""Memory of one tensor, of the vocabulary and of a pass, as measured with ONNX Runtime 1.31 on x86."""

from __future__ import annotations

import math

from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.tensor_index import StoredTensorInfo

#: Floats that a pass holds for each position and each unit of the hidden size.
WORK_FLOATS = 45
#: What the vocabulary takes in memory for each byte of `tokenizer.json`.
_TOKENIZER_FACTOR = 10
#: A block's scale and the sum of its codes, both float32 beside the codes.
_BLOCK_BYTES = 8


def tokenizer_bytes(manifest: Manifest) -> int:
    """Memory of the vocabulary."""
    return _TOKENIZER_FACTOR * next(file.bytes for file in manifest.files if file.path == TOKENIZER_NAME)


def is_quantized(tensor: StoredTensorInfo) -> bool:
    """Whether a session packs it into another form."""
    return tensor.scales is not None


def packed_bytes(tensor: StoredTensorInfo) -> int:
    """Memory of one tensor once a session has packed it, which is what a pass reads; the mapped original is released.

    Floats, and codes with one scale for each row, take what they take on disk. Codes in blocks are stored, packed and
    read in whole blocks, also where a row does not fill its last one.
    """
    if tensor.scales is None or len(tensor.scales.shape) == 1:
        return tensor.num_bytes
    return tensor.values.num_bytes + _BLOCK_BYTES * math.prod(tensor.scales.shape)
