"""The tensors of a checkpoint by canonical name, read on demand.

No tensor is held: what it gives out is freed when the caller drops it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgephi_export.checkpoint.gptq_linear import GptqLinear
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.checkpoint.lora_merge import LoraBlock, with_changes
from edgephi_export.checkpoint.safetensors_file import StoredTensor
from edgephi_quantize.formats import BlockFormat


class WeightSource:
    """Reads tensors of one checkpoint. May be used by several threads.

    Args:
        tensors: Where each tensor lies, by canonical name.
        changes: What an adapter that is merged changes, by canonical name of the matrix.
        coded: Matrices that the checkpoint holds as codes, by canonical name; no adapter is merged into them.
    """

    def __init__(
        self,
        tensors: Mapping[str, StoredTensor],
        changes: Mapping[str, tuple[LoraBlock, ...]] | None = None,
        coded: Mapping[str, GptqLinear] | None = None,
    ) -> None:
        self._coded = dict(coded or {})
        self._tensors: dict[str, StoredTensor | GptqLinear] = {**tensors, **self._coded}
        self._changes = dict(changes or {})

    @property
    def coded(self) -> dict[str, BlockFormat]:
        """The formats of matrices that the checkpoint holds as codes, by canonical name."""
        return {name: linear.config.format for name, linear in self._coded.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by canonical name."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        """Axes of a tensor, outermost first."""
        return self._tensors[name].shape

    def num_bytes(self, name: str) -> int:
        """Bytes of a tensor in the checkpoint."""
        return self._tensors[name].num_bytes

    def read(self, name: str) -> NDArray[np.float32]:
        """A whole tensor as a new float32 array; bfloat16 and float16 convert exactly.

        Raises:
            ArtifactError: The tensor has another dtype, its file cannot be read, or a value is not finite.
        """
        return self.lazy(name).whole()

    def lazy(self, name: str) -> LazyTensor:
        """A tensor that is read when its rows are asked for."""
        tensor = self._tensors[name]
        if isinstance(tensor, GptqLinear):
            return tensor.lazy(name)
        lazy = LazyTensor(name=name, shape=tensor.shape, read_rows=tensor.read, source_bytes=tensor.num_bytes)
        return with_changes(lazy, self._changes[name]) if name in self._changes else lazy
