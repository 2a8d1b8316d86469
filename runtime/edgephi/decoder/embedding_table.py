"""The embedding table: one row of floats for each token, from the mapped weight files in any format.

    V vocabulary | H hidden size | ids int64 [n] -> rows float32 [n, H]

The decoder's head computes with the same bytes, so there is one table on disk; only the pages of the rows that are
asked for are ever read here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_ref import TableInfo
from edgephi.decoder.dequantize import dequantize


class EmbeddingTable:
    """A table of a bundle, mapped.

    Args:
        bundle: Holds the files.
        info: Where the parts are. Of the decoder's sizes, which the manifest has checked.

    Raises:
        ArtifactError: A file cannot be mapped.
    """

    def __init__(self, bundle: Bundle, info: TableInfo) -> None:
        self._hidden_size = bundle.manifest.decoder.hidden_size
        self._bits = info.bits
        self._values = bundle.tensor(info.values)
        self._scales = None if info.scales is None else bundle.tensor(info.scales)
        self._zero_points = None if info.zero_points is None else bundle.tensor(info.zero_points)

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, H] of these ids, each within the table; a new array."""
        if self._scales is None:
            return _taken(self._values, ids).astype(np.float32, copy=False)
        zero_points = None if self._zero_points is None else _taken(self._zero_points, ids)
        values, scales = _taken(self._values, ids), _taken(self._scales, ids)
        return dequantize(values, scales, zero_points, bits=self._bits, size=self._hidden_size)


def _taken(mapped: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[Any]:
    """The rows `ids`, copied out of the map."""
    return np.asarray(mapped[ids])
