"""One linear as GPTQ's files hold it, read as codes of blocks without changing any.

K inputs, N outputs, groups of gs inputs; eight codes in a word, the first in its lowest bits

    qweight  int32 [K / 8, N]       codes, packed along the inputs
    qzeros   int32 [K / gs, N / 8]  zero points, packed along the outputs; less one in `checkpoint_format` gptq
    scales   float [K / gs, N]
    g_idx    int32 [K]              the group of each input, if it is there

    weight = (code - zero point) * scale
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.folder_check import TAKE_ORIGINAL
from edgephi_export.checkpoint.gptq_config import GptqConfig
from edgephi_export.checkpoint.lazy_tensor import LazyTensor, StoredCodes
from edgephi_export.checkpoint.safetensors_file import StoredTensor
from edgephi_export.checkpoint.tensor_names import GPTQ_PARTS
from edgephi_quantize.block_codes import BlockCodes

_IN_WORD = 8
_MIDDLE, _LARGEST = 8, 15
_SHIFTS = np.arange(0, 32, 4, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class GptqLinear:
    """Where the parts of one linear lie.

    Attributes:
        config: How they are stored.
        shape: (N, K).
        codes: `qweight`.
        zero_points: `qzeros`.
        scales: `scales`.
    """

    config: GptqConfig
    shape: tuple[int, int]
    codes: StoredTensor
    zero_points: StoredTensor
    scales: StoredTensor

    @property
    def num_bytes(self) -> int:
        """Bytes in the checkpoint."""
        return self.codes.num_bytes + self.zero_points.num_bytes + self.scales.num_bytes

    def lazy(self, name: str) -> LazyTensor:
        """The matrix [N, K] under its canonical name: its codes, and the values that they stand for."""
        size = self.shape[1]
        return LazyTensor(
            name=name,
            shape=self.shape,
            read_rows=lambda start, stop: self.read(start, stop).values(size),
            source_bytes=self.num_bytes,
            codes=StoredCodes(self.config.format, self.read),
        )

    def read(self, start: int, stop: int) -> BlockCodes:
        """The codes of the outputs from `start` up to `stop`.

        Raises:
            ArtifactError: The file became shorter, a scale is not finite, or a zero point is not what the config says.
        """
        outputs, size = stop - start, self.config.format.block_size
        words = self.codes.read_columns(start, stop).view("<u4")
        codes = (words.T[:, :, None] >> _SHIFTS & _LARGEST).astype(np.uint8)
        return BlockCodes(
            codes=codes.reshape(outputs, self.shape[1] // size, size),
            scales=np.ascontiguousarray(self.scales.read_float_columns(start, stop).T),
            zero_points=self._zero_points(start, stop),
        )

    def _zero_points(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 [outputs, groups]."""
        first, last = start // _IN_WORD, -(-stop // _IN_WORD)
        words = self.zero_points.read_columns(first, last).view("<u4")
        stored = (words[:, :, None] >> _SHIFTS & _LARGEST).astype(np.uint8).reshape(len(words), -1)
        stored = stored[:, start - first * _IN_WORD : stop - first * _IN_WORD]
        where = f"{self.zero_points.file}: tensor {self.zero_points.name}"
        if self.config.less_one and (stored == _LARGEST).any():
            raise ArtifactError(
                f"{where} holds zero points that format gptq cannot tell from 16, and tools read differently; save the "
                "checkpoint in format gptq_v2"
            )
        found = stored + np.uint8(self.config.less_one)
        if self.config.format.symmetric and (found != _MIDDLE).any():
            raise ArtifactError(f"{where} holds other zero points than 8, though the config says sym; fetch it again")
        return np.ascontiguousarray(found.T)


def take_linears(
    tensors: dict[str, StoredTensor], config: GptqConfig, shapes: dict[str, tuple[int, ...]]
) -> dict[str, GptqLinear]:
    """Take the parts of quantized linears out of a checkpoint's tensors.

    Args:
        tensors: By canonical name; what is taken is removed.
        config: How codes are stored.
        shapes: Of all matrices that the model has, by canonical name.

    Returns:
        The linears by the canonical names of their matrices.

    Raises:
        ArtifactError: A part is missing, has another shape or type, or inputs are in an order of their own.
    """
    found = {}
    for part in [name for name in tensors if name.endswith(".qweight")]:
        stem = part.removesuffix("qweight")
        outputs, inputs = shapes.get(f"{stem}weight", (0, 0))
        if not outputs or f"{stem}weight" in tensors:
            continue  # refused with all other tensors that the model has no place for
        parts = {name: tensors.pop(stem + name, None) for name in GPTQ_PARTS}
        found[f"{stem}weight"] = _linear(parts, config, (outputs, inputs))
    return found


def _linear(parts: dict[str, StoredTensor | None], config: GptqConfig, shape: tuple[int, int]) -> GptqLinear:
    (outputs, inputs), size = shape, config.format.block_size
    codes = parts["qweight"]
    if codes is None:
        raise AssertionError("the name of the linear comes from it")
    if outputs % _IN_WORD or inputs % size:
        raise ArtifactError(
            f"{codes.file}: tensor {codes.name}: {outputs} outputs and {inputs} inputs do not fill words of 8 and "
            f"groups of {size}; {TAKE_ORIGINAL}"
        )
    wanted = {
        "qweight": (inputs // _IN_WORD, outputs),
        "qzeros": (inputs // size, outputs // _IN_WORD),
        "scales": (inputs // size, outputs),
    }
    held = {name: _checked(codes, name, parts[name], axes) for name, axes in wanted.items()}
    held["scales"].check_dtype()
    _check_order(parts["g_idx"], inputs, size)
    return GptqLinear(config, shape, codes, held["qzeros"], held["scales"])


def _checked(beside: StoredTensor, name: str, part: StoredTensor | None, shape: tuple[int, int]) -> StoredTensor:
    if part is None:
        raise ArtifactError(f"{beside.file}: {name} beside tensor {beside.name} is missing; fetch the checkpoint again")
    if part.shape != shape or (name != "scales" and part.dtype != "I32"):
        raise ArtifactError(
            f"{part.file}: tensor {part.name} is {part.dtype} {list(part.shape)}; the config asks for "
            f"{'a float' if name == 'scales' else 'I32'} {list(shape)}"
        )
    return part


def _check_order(groups: StoredTensor | None, inputs: int, size: int) -> None:
    """Refuse groups that are not runs of neighbouring inputs: no kernel of ONNX Runtime reads others."""
    if groups is None:
        return
    if groups.shape != (inputs,) or groups.dtype != "I32":
        raise ArtifactError(f"{groups.file}: tensor {groups.name} is {groups.dtype} {list(groups.shape)}; one I32 each")
    stored = groups.read_bytes(0, inputs).view("<i4")
    if not np.array_equal(stored, np.arange(inputs) // size):
        raise ArtifactError(
            f"{groups.file}: tensor {groups.name} puts inputs into groups by activation order (desc_act); only groups "
            f"of neighbours are read; quantize with desc_act false or static groups, or {TAKE_ORIGINAL}"
        )
