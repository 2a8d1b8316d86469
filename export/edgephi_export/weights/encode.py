"""From a chunk of float32 rows to its stored form and back, one pair of functions per format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.manifest import FloatName
from edgephi.decoder.dequantize import dequantize
from edgephi.decoder.row_codes import quantize_rows
from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat, FloatFormat, Format, RowFormat
from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.methods import get_method
from edgephi_quantize.packing import pack_codes, pack_zero_points
from edgephi_quantize.recipe import DEFAULT_METHOD, Recipe


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some rows of a tensor in stored form; scales and zero points as far as the format has them.

    The codes of `int8:rows` are [n, inputs] here; the file holds them transposed.
    """

    values: NDArray[Any]
    scales: NDArray[Any] | None = None
    zero_points: NDArray[np.uint8] | None = None

    def rows(self, start: int, stop: int) -> StoredRows:
        """Those from `start` up to `stop`: views."""
        rest = (None if part is None else part[start:stop] for part in (self.scales, self.zero_points))
        return StoredRows(self.values[start:stop], *rest)


class Encoder:
    """Encodes chunks of rows as a recipe wants it. Holds no state that changes, so threads may share one."""

    def __init__(self, recipe: Recipe) -> None:
        self._method = get_method(recipe.method or DEFAULT_METHOD)
        self._plain_method = get_method(DEFAULT_METHOD) if self._method.needs_inputs else self._method
        self._scale_dtype: FloatName = recipe.activations

    @property
    def needs_inputs(self) -> bool:
        """Whether the recipe's method chooses codes by the inputs of calibration."""
        return self._method.needs_inputs

    def encode(
        self, name: str, rows: NDArray[np.float32], format_: Format, inputs: InputStatistics | None = None
    ) -> StoredRows:
        """The stored form of `rows`.

        Args:
            name: Of the tensor, for messages.
            rows: float32 [n, ...]; [n, inputs] for all formats but floats.
            format_: How to store them.
            inputs: What the matrix is multiplied by; without them a method that needs them gives way to the default.

        Raises:
            ArtifactError: A value is infinite or not a number, as sums of huge ones are, or the values of a block lie
                too far apart for any scale.
            ConfigError: A value is too large for float16.
        """
        try:
            return self._encode(name, rows, format_, inputs)
        except ArtifactError as error:
            raise ArtifactError(f"tensor {name}: {error}") from error

    def _encode(
        self, name: str, rows: NDArray[np.float32], format_: Format, inputs: InputStatistics | None
    ) -> StoredRows:
        if isinstance(format_, FloatFormat):
            return StoredRows(_narrowed(name, rows, format_.dtype))
        if isinstance(format_, RowFormat):
            codes, row_scales = quantize_rows(rows)
            return StoredRows(codes, _narrowed(name, row_scales, self._scale_dtype))
        method = self._plain_method if inputs is None else self._method
        return self.pack(name, method.quantize(rows, format_, inputs), format_)

    def pack(self, name: str, blocks: BlockCodes, format_: BlockFormat) -> StoredRows:
        """The stored form of codes that are found.

        Raises:
            ArtifactError: A scale is infinite or not a number.
            ConfigError: A scale is too large for float16.
        """
        return StoredRows(
            pack_codes(blocks.codes, format_.bits),
            _narrowed(name, blocks.scales, self._scale_dtype),
            None if format_.symmetric else pack_zero_points(blocks.zero_points, format_.bits),
        )


def joined(parts: Sequence[StoredRows]) -> StoredRows:
    """Rows that follow each other, in one piece.

    Raises:
        ValueError: There are none.
    """
    values, scales, zero_points = zip(*((part.values, part.scales, part.zero_points) for part in parts), strict=True)
    rest = (None if held[0] is None else np.concatenate(held) for held in (scales, zero_points))
    return StoredRows(np.concatenate(values), *rest)


def decode(stored: StoredRows, format_: Format, size: int) -> NDArray[np.floating]:
    """The values that `stored` stands for; [n, size], or floats of any shape as they are.

    Raises:
        ValueError: The format has scales, and there are none.
    """
    if isinstance(format_, FloatFormat):
        return stored.values
    if stored.scales is None:
        raise ValueError(f"rows stored as {format_} have no scales")
    if isinstance(format_, BlockFormat):
        return dequantize(stored.values, stored.scales, stored.zero_points, bits=format_.bits, size=size)
    rows: NDArray[np.float32] = stored.values.astype(np.float32) * stored.scales[:, None]
    return rows


def _narrowed(name: str, values: NDArray[np.float32], dtype: FloatName) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ArtifactError("a weight is infinite or not a number; the checkpoint is damaged: fetch it again")
    if dtype == "float32":
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if not np.isfinite(narrow).all():
        raise ConfigError(
            f"tensor {name} holds {np.abs(values).max():g}, float16 ends at 65504; choose a recipe that computes with "
            "float32"
        )
    return narrow
