"""The overview of an image, computed in vision.onnx from its tiles.

onnxruntime-genai's processor shrinks the overview with antialiasing, the model was trained on one without: cubic
convolution with a = -0.75 of the padded image (see runtime/edgephi/images/crops.py). The rows and the columns of the
image are mixed one after the other, and the image lies in tiles, so

    overview = sum over tiles of  R(row of the tile) @ tile @ K(column of the tile)^T

where R and K are the parts of the two matrices that belong to a tile.

    N images, V views (the overview and tiles), C pixels along a side
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi_export.graphs.builder import Attribute, GraphBuilder

FLOAT = ir.DataType.FLOAT
_TO_THE_END = np.iinfo(np.int64).max
#: Of the pixels that an output mixes, relative to the one at or before its centre.
_TAPS = (-1, 0, 1, 2)
#: Keys' kernel with a = -0.75, by powers of the distance, the highest first: up to 1, and from 1 to 2.
_NEAR, _FAR = (1.25, -2.25, 0.0, 1.0), (-0.75, 3.75, -6.0, 3.0)


class Overview:
    """Adds the nodes to a graph.

    Args:
        graph: The graph.
        crop_size: C.
    """

    def __init__(self, graph: GraphBuilder, crop_size: int) -> None:
        self._graph = graph
        self._crop_size = crop_size

    def replaced(self, views: ir.Value, down: ir.Value, across: ir.Value) -> ir.Value:
        """The views with the first of each image computed anew.

        Args:
            views: float32 [N, V, 3, C, C]; tiles beyond an image's own are not read.
            down: int64 [N, 1], tiles one above the other.
            across: int64 [N, 1], tiles side by side.
        """
        constant = self._graph.constant
        tiles = self._op("Slice", views, constant([1]), constant([_TO_THE_END]), constant([1]))
        count = self._op("Squeeze", self._op("Shape", tiles, start=1, end=2))
        number = self._op("Range", constant(0), count, constant(1))
        row = self._op("Div", number, across)
        column = self._op("Sub", number, self._op("Mul", row, across))
        rows = self._op("Unsqueeze", self._matrices(down, row), constant([2]))
        columns = self._op("Transpose", self._matrices(across, column), perm=[0, 1, 3, 2])
        columns = self._op("Unsqueeze", columns, constant([2]))
        mixed = self._op("MatMul", self._op("MatMul", rows, tiles), columns)
        overview = self._op("ReduceSum", mixed, constant([1]), keepdims=1)
        return self._op("Concat", overview, tiles, axis=1)

    def _matrices(self, tiles: ir.Value, tile: ir.Value) -> ir.Value:
        """Each tile's part of the matrix along one side, float32 [N, V - 1, C, C].

        Args:
            tiles: int64 [N, 1], tiles along the side.
            tile: int64 [N, V - 1], the place of each tile along it.
        """
        size = self._crop_size
        places = np.arange(size, dtype=np.float32)
        scale = self._op("Cast", tiles, to=FLOAT.value)
        centre = self._op("Sub", self._op("Mul", scale, self._float(places + np.float32(0.5))), self._float(0.5))
        first = self._op("Floor", centre)
        last = self._op("Sub", self._op("Mul", scale, self._float(size)), self._float(1))
        start = self._op("Mul", self._op("Cast", tile, to=FLOAT.value), self._float(size))
        parts = []
        for tap in _TAPS:
            pixel = self._op("Add", first, self._float(tap))
            weight = self._kernel(self._op("Abs", self._op("Sub", centre, pixel)))
            pixel = self._op("Min", self._op("Max", pixel, self._float(0)), last)  # pixels at the edge are repeated
            local = self._op(
                "Sub", self._op("Unsqueeze", pixel, self._axes(1)), self._op("Unsqueeze", start, self._axes(2))
            )
            is_it = self._op("Equal", self._op("Unsqueeze", local, self._axes(3)), self._float(places))
            part = self._op("Cast", is_it, to=FLOAT.value)
            parts.append(self._op("Mul", part, self._op("Unsqueeze", weight, self._axes(1, 3))))
        return self._op("Sum", *parts)

    def _kernel(self, distance: ir.Value) -> ir.Value:
        near, far = (self._polynomial(distance, factors) for factors in (_NEAR, _FAR))
        return self._op("Where", self._op("LessOrEqual", distance, self._float(1)), near, far)

    def _polynomial(self, x: ir.Value, factors: tuple[float, ...]) -> ir.Value:
        value = self._op("Mul", x, self._float(factors[0]))
        for factor in factors[1:-1]:
            value = self._op("Mul", self._op("Add", value, self._float(factor)), x)
        return self._op("Add", value, self._float(factors[-1]))

    def _op(self, kind: str, *inputs: ir.Value, **attributes: Attribute) -> ir.Value:
        return self._graph.op(kind, *inputs, name="overview", domain="", **attributes)

    def _float(self, values: float | NDArray[np.float32]) -> ir.Value:
        return self._graph.constant(np.asarray(values, np.float32))

    def _axes(self, *axes: int) -> ir.Value:
        return self._graph.constant(list(axes))
