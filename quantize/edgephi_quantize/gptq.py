"""GPTQ (Frantar et al. 2022, arXiv 2210.17323): codes chosen input after input, each error spread over later inputs.

    x the inputs, C their damped covariance, inverse of C = U' U with U upper triangular
    for input i, the largest first:     e = (w_i - its stored value) / U_ii       w_j -= e U_ij for every j > i

Scales and zero points of all blocks are found before (static groups), on the matrix as it is, so the order of the
inputs is free, and the codes lie where they would in any other method: no index of groups is stored.

The scales with the least squared error make weights smaller: at 2 bits outputs have 0.86 of their size. Spreading gives
frequent inputs their size back and rare ones not, so that two layers on, a rare token had half of its size beside
others, and was taken for one of them. Wider steps keep the size of whatever comes in, and leave room for the errors
that are added to a weight before it is rounded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgephi_quantize.block_codes import BlockCodes
from edgephi_quantize.formats import BlockFormat
from edgephi_quantize.input_statistics import InputStatistics, required
from edgephi_quantize.rtn import inverses
from edgephi_quantize.search import WeightedSearch
from edgephi_quantize.search_tiles import Floats

#: Inputs whose errors reach the inputs after them together, in one product.
_SPAN = 128
#: Steps, relative to those with the least squared error. At 2 bits, outputs of inputs that calibration did not see keep
#: over 0.9 of their size; nano's KL is least with 1.3 to 1.6. At 4 bits they keep it without.
_WIDER = {2: np.float32(1.3), 4: np.float32(1), 8: np.float32(1)}


class Gptq:
    """The least error of the outputs that is known for the same bytes; needs the inputs of calibration."""

    name = "gptq"
    needs_inputs = True

    def quantize(self, weights: Floats, fmt: BlockFormat, inputs: InputStatistics | None = None) -> BlockCodes:
        """Quantize float32 [N, K]; see `Method.quantize`."""
        inputs = required(inputs, weights)
        groups = WeightedSearch().quantize(weights, fmt, inputs)
        groups = replace(groups, scales=groups.scales * _WIDER[fmt.bits])
        codes = np.zeros((len(weights), groups.codes.shape[1] * fmt.block_size), np.uint8)
        codes[:, inputs.order] = _propagate(weights, groups, fmt, inputs).T
        return BlockCodes(codes=codes.reshape(groups.codes.shape), scales=groups.scales, zero_points=groups.zero_points)


def _propagate(weights: Floats, groups: BlockCodes, fmt: BlockFormat, inputs: InputStatistics) -> Floats:
    """The codes [K, N], inputs in the order of `inputs`."""
    order, factor = inputs.order, inputs.factor
    left = np.ascontiguousarray(weights.T[order])  # what is to be stored, errors so far included
    scales, points = (np.ascontiguousarray(values.T, np.float32) for values in (groups.scales, groups.zero_points))
    reciprocals, blocks, most = inverses(scales), order // fmt.block_size, np.float32(fmt.max_code)
    codes = np.empty(left.shape, np.float32)
    for start in range(0, len(left), _SPAN):
        stop = min(start + _SPAN, len(left))
        errors = np.empty((stop - start, left.shape[1]), np.float32)
        for index in range(start, stop):
            block, row = blocks[index], codes[index]
            np.rint(left[index] * reciprocals[block] + points[block], out=row)
            np.clip(row, 0, most, out=row)
            error = (left[index] - (row - points[block]) * scales[block]) / factor[index, index]
            errors[index - start] = error
            left[index + 1 : stop] -= factor[index, index + 1 : stop, None] * error
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return codes
