"""The overview of an image, computed in vision.onnx from its tiles.

onnxruntime-genai's processor shrinks the overview with antialiasing, the model was trained on one without: cubic
convolution with a = -0.75 of the padded image. The operations are those of `resize_bicubic` in
runtime/edgephi/images/crops.py in the same order, so that the same tiles give the same bits: linears that round their
inputs to 8 bits make much of a last bit.

    N images, V views (the overview and tiles), C pixels along a side
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgephi_export.graphs.builder import Attribute, GraphBuilder

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
_TO_THE_END = np.iinfo(np.int64).max
#: Pixels that an output mixes, relative to the one at or before its centre.
_TAPS = (-1, 0, 1, 2)
#: Keys' kernel with a = -0.75, by powers of the distance, the highest first: up to 1, and from 1 to 2.
_NEAR, _FAR = (1.25, -2.25, 0.0, 1.0), (-0.75, 3.75, -6.0, 3.0)


def with_overviews(graph: GraphBuilder, crop_size: int, views: ir.Value, down: ir.Value, across: ir.Value) -> ir.Value:
    """The views with the first of each image computed anew.

    Args:
        graph: Gets the nodes.
        crop_size: C.
        views: float32 [N, V, 3, C, C]; tiles beyond an image's own are not read.
        down: int64 [N, 1], tiles one above the other.
        across: int64 [N, 1], tiles side by side.
    """
    second, end, axis = graph.constant([1]), graph.constant([_TO_THE_END]), graph.constant([1])
    tiles = graph.op("Slice", views, second, end, axis, name="tiles")
    count = graph.op("Squeeze", graph.op("Shape", views, name="images", start=0, end=1), name="images")

    def one(branch: GraphBuilder, index: ir.Value) -> ir.Value:
        own = [branch.op("Gather", values, index, name="image", axis=0) for values in (tiles, down, across)]
        return _Overview(branch, crop_size).shrunk(*own)

    overviews = graph.op("Unsqueeze", graph.repeat(count, one, name="overview"), axis, name="overviews")
    return graph.op("Concat", overviews, tiles, name="views", axis=1)


class _Overview:
    """Adds the nodes for one image."""

    def __init__(self, graph: GraphBuilder, crop_size: int) -> None:
        self._graph = graph
        self._crop_size = crop_size

    def shrunk(self, tiles: ir.Value, down: ir.Value, across: ir.Value) -> ir.Value:
        """float32 [3, C, C] of the tiles [V - 1, 3, C, C], of which down x across, int64 [1] each, are the image's."""
        constant, size = self._graph.constant, self._crop_size
        own = self._op("Slice", tiles, constant([0]), self._op("Mul", down, across), constant([0]))
        grid = self._op("Reshape", own, self._op("Concat", down, across, constant([3, size, size]), axis=0))
        rows = self._op("Transpose", grid, perm=[2, 0, 3, 1, 4])
        height, width = (self._op("Mul", tiles_along, constant([size])) for tiles_along in (down, across))
        image = self._op("Reshape", rows, self._op("Concat", constant([3]), height, width, axis=0))
        return self._mixed(self._mixed(image, down, 1), across, 2)

    def _mixed(self, image: ir.Value, tiles: ir.Value, axis: int) -> ir.Value:
        """The image shrunk to C pixels along one axis, of which it has `tiles` times as many."""
        size = self._crop_size
        scale = self._op("Cast", tiles, to=FLOAT.value)
        places = np.arange(size, dtype=np.float32) + np.float32(0.5)
        centre = self._op("Sub", self._op("Mul", scale, self._float(places)), self._float(0.5))
        first = self._op("Floor", centre)
        beyond = self._op("Sub", centre, first)
        start = self._op("Cast", first, to=INT64.value)
        last = self._op("Sub", self._op("Mul", tiles, self._graph.constant([size])), self._graph.constant([1]))
        mixed: ir.Value | None = None
        for tap in _TAPS:
            pixel = self._op("Add", start, self._graph.constant([tap]))
            pixel = self._op("Min", self._op("Max", pixel, self._graph.constant([0])), last)  # edges are repeated
            weight = self._kernel(self._op("Abs", self._op("Add", beyond, self._float(-tap))))
            if axis == 1:
                weight = self._op("Unsqueeze", weight, self._graph.constant([1]))
            part = self._op("Mul", self._op("Gather", image, pixel, axis=axis), weight)
            mixed = part if mixed is None else self._op("Add", mixed, part)
        if mixed is None:
            raise AssertionError("the kernel has taps")
        return mixed

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
