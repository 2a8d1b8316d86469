"""An embedding table without a model folder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArrayTable:
    """The rows of an array [V, H]."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, H], a new array."""
        return self._array[ids].astype(np.float32)
