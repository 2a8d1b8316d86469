"""The ways to choose codes, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError
from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.gptq import Gptq
from edgephi_quantize.input_statistics import InputStatistics
from edgephi_quantize.rtn import Rtn
from edgephi_quantize.search import Search, WeightedSearch


class Method(Protocol):
    """Chooses codes, scales and zero points. Holds no state: threads share one."""

    @property
    def name(self) -> str:
        """Its name for `--method`."""

    @property
    def needs_inputs(self) -> bool:
        """Whether it chooses by the inputs of calibration, so that a matrix can be quantized only where they are."""

    def quantize(
        self, weights: NDArray[np.float32], fmt: BlockFormat, inputs: InputStatistics | None = None
    ) -> BlockCodes:
        """Quantize the rows of a matrix; the result for a row depends on that row and the inputs alone.

        Args:
            weights: float32 [N, K], finite. Not modified.
            fmt: Bits, block size, symmetry.
            inputs: What the matrix is multiplied by; None only for methods that do not need it.

        Raises:
            ArtifactError: A weight is infinite or not a number, or a block spans more than float32 holds.
            ValueError: `weights` is not a matrix of float32, or there are no inputs of its size though they are needed.
        """


#: Every method under its name.
METHODS: MappingProxyType[str, Method] = MappingProxyType(
    {method.name: method for method in (Rtn(), Search(), WeightedSearch(), Gptq())}
)


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        ConfigError: There is none; the message names those there are.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown quantization method {name!r}; use {' or '.join(METHODS)}")
    return METHODS[name]
