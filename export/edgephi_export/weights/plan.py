"""Where every weight will lie, decided before any is read.

Nothing is read or written here: graphs are built against the plan, its size is known before the first byte is written,
and `verify` compares a finished bundle with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgephi.base.errors import ConfigError
from edgephi.bundle.manifest import FloatName
from edgephi.bundle.tensor_index import Part, StoredTensorInfo
from edgephi.bundle.tensor_ref import TableInfo, TensorRef
from edgephi_export.checkpoint.lazy_tensor import LazyTensor
from edgephi_export.weights.solved import SolvedTensors
from edgephi_quantize.formats import BlockFormat, FloatFormat, Format, RowFormat
from edgephi_quantize.recipe import Recipe, Rule

#: Mapped pages start at multiples of this on every system that ONNX Runtime runs on, 64 KiB pages aside.
ALIGNMENT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Allocation:
    """One tensor and its place."""

    tensor: LazyTensor
    format: Format
    info: StoredTensorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNames:
    """The files that tensors go to.

    Attributes:
        path: The path of a file; `{part}` stands for the part of the model.
        most_bytes: Where a file would grow beyond it, the next is begun: `path` with `_1`, `_2` and so on behind it. A
            larger tensor has a file of its own. None for no limit.
    """

    path: str = "weights/{part}.bin"
    most_bytes: int | None = None

    def of(self, part: Part, number: int) -> str:
        """The path of a part's file of this number, counted from 0."""
        return self.path.format(part=part) + (f"_{number}" if number else "")


class WeightPlan:
    """Gives tensors their places, by default in one file per part of the model.

    Args:
        recipe: Gives the format of each linear.

    Attributes:
        names: The files; set it before the first tensor has a place.
        solved: Tensors that are written as they were solved, and not as their source is; None for none.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.names = FileNames()
        self.solved: SolvedTensors | None = None
        self._files: dict[Part, list[_PlannedFile]] = {}
        self._placed: dict[Part, dict[str, StoredTensorInfo]] = {}
        self._linears: set[str] = set()
        self._apart: list[WeightPlan] = []

    def apart(self) -> WeightPlan:
        """A plan for tensors that this one's files do not hold; rules of the recipe may be about either."""
        other = WeightPlan(self.recipe)
        other._linears = self._linears
        self._apart.append(other)
        return other

    @property
    def files(self) -> dict[str, tuple[Allocation, ...]]:
        """The contents of each file, in order, by its path in the bundle."""
        return {file.path: tuple(file.allocations) for files in self._files.values() for file in files}

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for files in self._files.values() for file in files)

    @property
    def bytes_apart(self) -> int:
        """Bytes of the tensors of plans apart, which a device derives and an export writes for a while."""
        return sum(other.num_bytes for other in self._apart)

    @property
    def source_bytes(self) -> int:
        """Bytes of the checkpoint that will be read."""
        return sum(allocation.tensor.source_bytes for held in self.files.values() for allocation in held)

    def place_array(self, part: Part, tensor: LazyTensor, dtype: FloatName) -> StoredTensorInfo:
        """A place for floats of any shape. A name that has a place keeps it: several graphs may share a weight."""
        return self._place(part, tensor, FloatFormat(dtype=dtype))

    def place_linear(self, part: Part, tensor: LazyTensor) -> StoredTensorInfo:
        """A place for the matrix [outputs, inputs] of a linear, in the recipe's format."""
        return self._place(part, tensor, self.format_of(tensor.name))

    def format_of(self, linear: str) -> Format:
        """The recipe's format of a linear of this model, which rules may be about."""
        self._linears.add(linear)
        return self.recipe.format_of(linear)

    def check_rules(self, rules: tuple[Rule, ...]) -> None:
        """Refuse a rule that no linear of this model follows.

        Raises:
            ConfigError: There is one.
        """
        for rule in rules:
            if not any(rule.matches(name) for name in self._linears):
                some = ", ".join(sorted(self._linears)[:: max(len(self._linears) // 5, 1)][:5])
                raise ConfigError(f"pattern {rule.pattern!r} matches no linear of this model; there are {some}, ...")

    def check_method(self, method: str | None) -> None:
        """Refuse a method that was asked for where no weight of this model has codes to choose.

        Raises:
            ConfigError: So it is.
        """
        formats = (allocation.format for held in self.files.values() for allocation in held)
        if method is not None and not any(isinstance(format_, BlockFormat) for format_ in formats):
            raise ConfigError(f"--method {method} has nothing to choose: no weight is stored in blocks; leave it out")

    def _place(self, part: Part, tensor: LazyTensor, format_: Format) -> StoredTensorInfo:
        placed = self._placed.setdefault(part, {})
        if tensor.name not in placed:
            placed[tensor.name] = self._place_anew(part, tensor, format_)
        return placed[tensor.name]

    def _place_anew(self, part: Part, tensor: LazyTensor, format_: Format) -> StoredTensorInfo:
        """Behind the part's tensors so far, or at the beginning of its next file where that one would be too large."""
        files, limit = self._files.setdefault(part, []), self.names.most_bytes
        following = _PlannedFile(self.names.of(part, len(files)), self.recipe.activations)
        info = following.place(part, tensor, format_)
        if files and (limit is None or files[-1].end + following.size <= limit):
            return files[-1].place(part, tensor, format_)
        files.append(following)
        return info


class _PlannedFile:
    def __init__(self, path: str, scale_dtype: FloatName) -> None:
        self.path = path
        self.scale_dtype = scale_dtype  # MatMulNBits wants scales of the activations' type
        self.size = 0
        self.allocations: list[Allocation] = []

    @property
    def end(self) -> int:
        """The first byte that a further tensor may have."""
        return self.size + -self.size % ALIGNMENT_BYTES

    def place(self, part: Part, tensor: LazyTensor, format_: Format) -> StoredTensorInfo:
        values, scales, zero_points = self._parts(tensor.shape, format_)
        info = StoredTensorInfo(
            name=tensor.name,
            part=part,
            format=str(format_),
            shape=tensor.shape,
            values=values,
            scales=scales,
            zero_points=zero_points,
        )
        self.allocations.append(Allocation(tensor, format_, info))
        return info

    def _parts(self, shape: tuple[int, ...], format_: Format) -> tuple[TensorRef, TensorRef | None, TensorRef | None]:
        """Places of values, scales and zero points."""
        if isinstance(format_, FloatFormat):
            return self._reserve(format_.dtype, shape), None, None
        rows, columns = shape
        if isinstance(format_, RowFormat):  # MatMulIntegerToFloat wants [inputs, outputs]
            return self._reserve("int8", (columns, rows)), self._reserve(self.scale_dtype, (rows,)), None
        blocks, bits = -(-columns // format_.block_size), format_.bits
        values = self._reserve("uint8", (rows, blocks, format_.block_size * bits // 8))
        scales = self._reserve(self.scale_dtype, (rows, blocks))
        if format_.symmetric:
            return values, scales, None
        return values, scales, self._reserve("uint8", (rows, math.ceil(blocks * bits / 8)))

    def _reserve(self, dtype: str, shape: tuple[int, ...]) -> TensorRef:
        ref = TensorRef(file=self.path, offset=self.end, dtype=dtype, shape=shape)  # type: ignore[arg-type]
        self.size = ref.offset + ref.num_bytes
        return ref


def as_table(info: StoredTensorInfo, format_: Format) -> TableInfo:
    """The same tensor as the runtime reads rows from it."""
    if isinstance(format_, BlockFormat):
        bits, block_size = format_.bits, format_.block_size
    else:
        bits, block_size = {"float32": 32, "float16": 16}[info.format], None
    return TableInfo(
        bits=bits,  # type: ignore[arg-type]
        block_size=block_size,
        values=info.values,
        scales=info.scales,
        zero_points=info.zero_points,
    )
