"""The tensors of a checkpoint by canonical name, read on demand.

Owns the mapping from names to places in files, and the conversion to float32. Holds no tensor: what it gives out is
freed when the caller drops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgephi_export.safetensors_file import StoredTensor

_BLOCK_BYTES = 64 << 20


class WeightSource:
    """Reads tensors of one checkpoint.

    Args:
        tensors: Where each tensor lies, by canonical name.
    """

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = dict(tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by canonical name."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        """Axes of a tensor, outermost first."""
        return self._tensors[name].shape

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as a new float32 array; bfloat16 and float16 convert exactly.

        Raises:
            ArtifactError: The tensor has another dtype or its file cannot be read.
        """
        return self._tensors[name].map().astype(np.float32)

    def read_blocks(self, name: str) -> Iterator[NDArray[np.float32]]:
        """The same in consecutive blocks along the first axis, each of at most 64 MB where a row allows it.

        Raises:
            ArtifactError: The tensor has another dtype or its file cannot be read.
        """
        mapped = self._tensors[name].map()
        row_bytes = max(4 * (mapped.size // max(len(mapped), 1)), 1)
        rows = max(_BLOCK_BYTES // row_bytes, 1)
        for start in range(0, len(mapped), rows):
            yield mapped[start : start + rows].astype(np.float32)
